"""A tournament from the command line, and its table: kept in a file, summed up, printed. Plain module."""

import json
import statistics
from pathlib import Path

from contrastive_nb import devices, files
from contrastive_nb.book import tables
from contrastive_nb.timing.contestants import CONTESTANTS, learns
from contrastive_nb.timing.tournament import Plan, compare

FORMATS = {"ms": ".3g", "wall_ms": ".3g", "mb": ",.0f", "to_floor": ".2f", "to_torch": ".2f", "value": ".0e", "gradient": ".0e"}

LIMITS = {  # by batch size: how many times plain PyTorch a call on the dense pairs may take, one thread, 128 dimensions
    "infonce": {256: 1.5, 512: 1.25, 1024: 1.1},
    "ntxent": {512: 1.3, 1024: 1.3, 4096: 1.3},
    "decoupled": {512: 1.3, 1024: 1.3, 4096: 1.3},
    "supcon": {512: 1.3, 1024: 1.3, 4096: 1.3},
    "mw": {256: 3.0, 1024: 1.75},
    "ranknet": {256: 2.0},
}


def _order(cell: dict) -> tuple:
    "By size, then as the contestants are listed; who is no longer listed comes first."
    place = list(CONTESTANTS).index(cell["contestant"]) if cell["contestant"] in CONTESTANTS else -1
    return cell["rows"], cell["dims"], cell["threads"], place


def _quartiles(values: list[float]) -> list[float]:
    return statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3


def _summed(cell: dict, agreement: dict) -> dict:
    row = {key: cell[key] for key in ("contestant", "rows", "dims", "threads")}
    if not cell["seconds"]:
        nothing = dict.fromkeys(("ms", "quartiles", "wall_ms", "mb", "to_floor", "to_torch", "value", "gradient"))
        return row | nothing | dict(why=cell["failed"])
    low, middle, high = (1e3 * x for x in _quartiles(cell["seconds"]))
    gradients = 2 * (2 if cell["precision"] == "bf16" else 4) * cell["rows"] * cell["dims"] if learns(cell["group"]) else 0
    held = statistics.median(cell["bytes"]) - gradients
    ratios = {key: statistics.median(cell[key]) if None not in cell[key] else None for key in ("to_floor", "to_torch")}
    return row | dict(
        ms=middle, quartiles=f"{low:.3g} to {high:.3g}", wall_ms=1e3 * statistics.median(cell["wall"]), mb=max(0.0, held) / 1e6, **ratios,
        value=agreement.get("value"), gradient=agreement.get("gradient"), why=cell["failed"],
    )  # fmt: skip


def summary(table: dict) -> list[dict]:
    "A row a contestant and size: medians, quartiles, memory over inputs and gradients, ratios within rounds, disagreement; or why not."
    return [_summed(cell, table["agreement"].get(cell["contestant"], {})) for cell in sorted(table["cells"], key=_order)]


def front_door(table: dict) -> list[dict]:
    "A row a limit: what the call on the dense pairs takes over plain PyTorch, median of the ratios within rounds, and whether the limit holds."
    measured = {(row["contestant"], row["rows"]): row["to_torch"] for row in summary(table) if (row["dims"], row["threads"]) == (128, 1)}
    rows = []
    for group, limits in LIMITS.items():
        for size, limit in limits.items():
            ratio = measured.get((f"{group}/dense", size))
            holds = "not measured" if ratio is None else "yes" if ratio <= limit else "no"
            rows.append(dict(value=group, B=size, ratio=ratio, limit=limit, holds=holds))
    return rows


def read(path: Path) -> dict:
    "A table that `write` wrote. Raises `ValueError` naming the file if it is none."
    try:
        table = json.loads(Path(path).read_text(encoding="utf-8"))
        wanted = {key: table[key] for key in ("facts", "temperature", "agreement", "missing", "cells")}
        [(cell["contestant"], cell["seconds"], cell["failed"]) for cell in wanted["cells"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{Path(path).name}: no table of a benchmark ({error!r})") from None
    return table


def write(table: dict, path: Path) -> None:
    "The table in its file, whole or not at all: a line a cell, so that two of them can be compared."
    cells = ",\n".join("  " + json.dumps(cell) for cell in table["cells"])
    head = json.dumps({key: value for key, value in table.items() if key != "cells"}, indent=1)
    files.write_whole(path, head[:-2] + f',\n "cells": [\n{cells}\n ]\n}}\n')


def place(device: str, *, saved: bool) -> Path:
    "Where a device's table lies: among the facts of the project, or in the build folder. Raises `ValueError` outside a checkout."
    if saved and files.checkout() is None:
        raise ValueError("--save: the table is kept in the repository, not in the installed package; say --output PATH here")
    return (files.shared("data") if saved else files.build()) / "benchmarks" / f"{device}.json"


def run(plan: Plan, path: Path) -> tuple[dict, bool]:
    """Run the plan with a progress bar, keeping what is done in the file after every measurement; the table, and whether it is whole.

    A table that is there already is gone on with. Raises `ValueError` naming a file that is no table, or a device that is not here.
    """
    from tqdm import tqdm

    if plan.device == "cuda":
        devices.pick_device("cuda")
    before = read(path) if path.exists() else None
    count = len(plan.names) * len(plan.sizes) * len(plan.dims) * len(plan.threads)
    with tqdm(total=count, unit="cell", disable=None, dynamic_ncols=True) as bar:
        try:
            return compare(plan, table=before, save=lambda table: write(table, path), watch=bar.set_postfix_str, step=bar.update), True
        except KeyboardInterrupt:
            if not path.exists():
                raise ValueError("timing: stopped before anything was measured") from None
            return read(path), False


def text(table: dict, plan: Plan | None = None) -> str:
    "The summary as lines, of the plan's part of the table or of all of it, and who did not take part."
    names = list(table["missing"]) + [cell["contestant"] for cell in table["cells"]] if plan is None else plan.names
    rows = [row for row in summary(table) if row["contestant"] in names]
    if plan is not None:
        rows = [row for row in rows if row["rows"] in plan.sizes and row["dims"] in plan.dims and row["threads"] in plan.threads]
    said = {key: value for key, value in table["facts"].items() if key != "versions"}
    lines = [", ".join(f"{key} {value}" for key, value in said.items()), "", repr(tables.table(rows, FORMATS))]
    return "\n".join(lines + [f"{name}: {why}" for name, why in table["missing"].items() if name in names])
