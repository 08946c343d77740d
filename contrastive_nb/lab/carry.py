"""Whether a record holds past a change of the library: the page runs at `ci` on the code that made it and on the code that stands. Plain module."""

# Three runs on the recorded commit: as it stands, with all weights one ulp off at the start (how far two equally right
# computations drift apart: the yardstick), and with steps that move nothing. Two on the work tree. All on this machine.

import ast
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from contrastive_nb import files
from contrastive_nb.lab import claims as ledger
from contrastive_nb.lab import freshness
from contrastive_nb.lab.processes import THREADS
from contrastive_nb.lab.profiles import OVERRIDES, RESUME

ROW = 3  # so often is a record carried before it must run again
TIMES, FLOOR, UNTRAINED = 10.0, 1e-6, 1e-5
NEVER = {  # what fits, feeds or chooses: functions of these modules, all of them or by name, are not told apart in a few steps
    "training.py": {
        "learning_rate",
        "parameter_groups",
        "_by_part",
        "_groups",
        "_optimizer",
        "_move",
        "fit",
        "alternate",
        "momentum_update",
    },
    "protocols.py": set(),
    "data.py": set(),
    "worlds.py": set(),
}


# --- what can never be carried ---------------------------------------------------------------------------------------------


def _costs(record: dict) -> bool:
    return record["kind"] == "cost" or bool(re.search(r"\b(seconds|minutes|bytes|memory|[KMG]i?B)\b", record["metric"]))


def _fits_outside(function: ast.AST) -> bool:
    "Whether a function hands the work to a library that fits by settings of its own."
    modules = [part.module or "" for part in ast.walk(function) if isinstance(part, ast.ImportFrom)]
    modules += [alias.name for part in ast.walk(function) if isinstance(part, ast.Import) for alias in part.names]
    return any(name.partition(".")[0] in ("sklearn", "scipy", "lightgbm") for name in modules)


def _why_not_function(key: str, then: ast.AST, now: ast.AST | None) -> str | None:
    name, _, part = key.partition(":")
    if name in NEVER and (not NEVER[name] or part in NEVER[name]):
        return f"{key} decides how a run is fitted, fed or chosen"
    if now is not None and freshness.canonical(then.args) != freshness.canonical(now.args):  # type: ignore[attr-defined]
        return f"the arguments of {key} or their defaults changed"
    if _fits_outside(then) or (now is not None and _fits_outside(now)):
        return f"{key} fits by settings that a trace does not see"
    return None


def why_never(record: dict, profile: str, changed: Iterable[str], then: Path, lines: dict[str, list[int]] | None = None) -> str | None:
    "What forbids that a run is carried past changes of these parts; `then` is the recorded tree, `lines` what ci executes there."
    run = record["runs"][profile]
    if run.get("depends") is None or not any("lines" in part for part in run["depends"].values()):
        return "it kept no executed lines"
    if _costs(record):
        return "it is about seconds or memory"
    if not run["clean"]:
        return "it was not made in a clean tree"
    if len(run["carried"]) >= ROW:
        return f"it was carried {ROW} times in a row"
    old, new = freshness.Library(then / "contrastive_nb"), freshness.Library()
    for key in changed:
        name, _, part = key.partition(":")
        if not part:  # imports: where a name comes from; what comes with it is executed, and seen
            if list(map(freshness.canonical, old.modules[name].effects)) != _effects(new, name):
                return f"what {name} does when it is imported changed"
            continue
        function = old.modules[name].functions.get(part)
        if function is None:
            return f"{key} is a constant or a class"
        if why := _why_not_function(key, function, new.modules[name].functions.get(part) if name in new.modules else None):
            return why
        recorded = freshness.from_ranges(run["depends"][key].get("lines", ""))
        if lines is not None and (missed := recorded - set(lines.get(name, []))):
            return f"ci does not reach lines {freshness.as_ranges(missed)} of {name}, which the recorded run executed in {part}"
    return None


def _effects(library: freshness.Library, name: str) -> list[str]:
    return [freshness.canonical(node) for node in library.modules[name].effects] if name in library.modules else []


def _check_commit(record: dict, run: dict, then: Path | None) -> str | None:
    "Why a run's commit is not the one that made it, or `None`."
    if then is None:
        return f"its commit {run['commit']} is not here"
    if files.git("merge-base", "--is-ancestor", run["commit"], "HEAD") is None:
        return f"its commit {run['commit']} is no ancestor of this one"
    page = then / "nbs" / f"{record['notebook']}.ipynb"
    if not page.is_file() or not freshness.Page(page).made(record["id"], run):
        return f"its commit {run['commit']} does not hold the claim as it was run"
    if freshness.changed_parts(run, freshness.Library(then / "contrastive_nb")):
        return f"its commit {run['commit']} does not hold the code that made it"
    return None


# --- traces ----------------------------------------------------------------------------------------------------------------


class Trees:
    "The trees of commits, unpacked where a run may write, and the traces of pages on them; gone when it is left."

    def __init__(self):
        (files.build() / "carry").mkdir(parents=True, exist_ok=True)
        self.home = Path(tempfile.mkdtemp(dir=files.build() / "carry"))
        self.trees: dict[str, Path | None] = {}
        self.traces: dict[tuple[Path, str], dict[str, dict]] = {}

    def __enter__(self):
        return self

    def __exit__(self, *error):
        shutil.rmtree(self.home, ignore_errors=True)

    def of(self, commit: str | None) -> Path | None:
        "The tree of a commit; `None` where git does not have it."
        if commit is not None and commit not in self.trees:
            self.trees[commit] = self._unpack(commit)
        return self.trees.get(commit) if commit is not None else None

    def _unpack(self, commit: str) -> Path | None:
        said = subprocess.run(["git", "-C", str(files.checkout()), "archive", commit], capture_output=True)
        if said.returncode:
            return None
        with tarfile.open(fileobj=io.BytesIO(said.stdout)) as packed:
            packed.extractall(self.home / commit, filter="data")
        return self.home / commit

    def trace(self, root: Path, page: str, modes: tuple[str, ...]) -> dict[str, dict]:
        "Runs of a page at ci, by mode. Raises `ValueError` where one fails."
        if (root, page) not in self.traces:
            self.traces[root, page] = self._trace(root, page, modes)
        return self.traces[root, page]

    def _trace(self, root: Path, page: str, modes: tuple[str, ...]) -> dict[str, dict]:
        folder, path = Path(tempfile.mkdtemp(dir=self.home)), root / "nbs" / f"{page}.ipynb"
        order: dict = {"package": str(root / "contrastive_nb"), "left_out": [*freshness.ROOMS, *freshness.MACHINERY]}
        order |= {"kept": freshness.INSTRUMENTS, "modes": modes, "folder": str(folder), "build": files.BUILD}
        order |= {"page": str(path), "cells": freshness.Page(path).last() + 1}
        env = (
            os.environ | dict.fromkeys(THREADS, "1") | {"PYTHONPATH": str(root), "PYTHONHASHSEED": "0", "IN_TEST": "1", "MPLBACKEND": "agg"}
        )
        env |= {files.NOTEBOOKS: str(root / "nbs"), OVERRIDES: "{}", RESUME: "0"}
        command = [sys.executable, "-P", str(Path(__file__).with_name("trace.py"))]
        said = subprocess.run(command, input=json.dumps(order) + "\n", capture_output=True, text=True, env=env, cwd=path.parent)
        if said.returncode:
            last = (said.stderr.strip() or f"exit code {said.returncode}").splitlines()[-1]
            where = "the work tree" if root == files.checkout() else "its commit"
            raise ValueError(f"at ci its page does not run on {where}: {last[:200]}")
        found = {mode: json.loads((folder / mode / "trace.json").read_text(encoding="utf-8")) for mode in modes}
        return {mode: found[mode] | {"values": dict(_values(folder / mode))} for mode in modes}


def _values(build: Path) -> Iterator[tuple[str, object]]:
    "What `once` returned, by its key, and the numbers of each claim."
    for path in sorted((build / "runs").rglob("*.json")):
        yield f"once {path.stem}", json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((build / "claims").rglob("*.json")):
        for run in json.loads(path.read_text(encoding="utf-8"))["runs"].values():  # none, where the claim was set aside
            yield f"claim {path.stem}", [run["baseline"], run["treatment"]]


# --- the comparison --------------------------------------------------------------------------------------------------------


def _agree(then, now) -> bool:
    "Whether two values are the same: numbers within 1e-5, counts and everything else exactly."
    if isinstance(then, float) and isinstance(now, float):
        return math.isclose(then, now, rel_tol=UNTRAINED, abs_tol=UNTRAINED) or (math.isnan(then) and math.isnan(now))
    if isinstance(then, list) and isinstance(now, list):
        return len(then) == len(now) and all(map(_agree, then, now))
    if isinstance(then, dict) and isinstance(now, dict):
        return then.keys() == now.keys() and all(_agree(then[key], now[key]) for key in then)
    return type(then) is type(now) and then == now


def _drift(then: list, now: list, nudged: list) -> tuple[float, float, int | None]:
    """How far two trainings lie apart, in units of what is allowed at that step; how far the nudged one goes; the first step too far.

    Allowed are ten times what one ulp did to that training until then, or 1e-6 of the number, whichever is more.
    """
    widest, reach, first = 0.0, 0.0, None
    so_far: dict[tuple[float, int], float] = {}
    for i, (a, b, c) in enumerate(zip(then, now, nudged, strict=True)):
        for what in (1, 2):  # loss, norm of the gradients
            key = (a[0], what)
            so_far[key] = max(so_far.get(key, 0.0), abs(c[what] - a[what]))
            share = abs(b[what] - a[what]) / max(TIMES * so_far[key], FLOOR * max(1.0, abs(a[what])))
            widest, reach = max(widest, share), max(reach, so_far[key])
            if not share <= 1 and first is None:
                first = i
    return widest, reach, first


def compare(then: dict[str, dict], now: dict[str, dict]) -> tuple[dict, str | None]:
    "The evidence, and why it does not carry, or `None`. Traces by mode: plain, nudged, frozen then; plain, frozen now."
    before, after = then["plain"], now["plain"]
    if before["batches"] != after["batches"]:
        return {}, "the first batches are others"
    if any([s[0] for s in before["steps"]] != [s[0] for s in other["steps"]] for other in (after, then["nudged"])):
        return {}, "the trainings have other numbers of steps"
    widest, reach, first = _drift(before["steps"], after["steps"], then["nudged"]["steps"])
    evidence = {"steps": len(before["steps"]), "widest": widest, "one ulp": reach}
    if first is not None:
        return evidence, f"at step {first} of {len(before['steps'])} it is {widest:.3g} times farther off than one ulp allows"
    untrained = [{"losses": [[s[0], s[1]] for s in side["frozen"]["steps"]]} | side["frozen"]["values"] for side in (then, now)]
    if untrained[0].keys() != untrained[1].keys():
        return evidence, "other values are computed"
    evidence["untrained"] = len(untrained[0])
    apart = [key for key in untrained[0] if not _agree(untrained[0][key], untrained[1][key])]
    return evidence, f"untrained, {apart[0]} is another" if apart else None


def examine(record: dict, profile: str, library: freshness.Library, trees: Trees) -> tuple[dict | None, str]:
    "The entry of a record that can be carried past the changes since it was made, and why, or `None` and why not."
    run, page = record["runs"][profile], record["notebook"]
    then, root = trees.of(run["commit"]), files.checkout()
    why = _check_commit(record, run, then) if run.get("depends") else "it kept no executed lines"
    if why or then is None or root is None:
        return None, why or "there is no checkout"
    changed = freshness.changed_parts(run, library)
    if why := why_never(record, profile, changed, then):
        return None, why
    try:
        before = trees.trace(then, page, ("plain", "nudged", "frozen"))
        if why := why_never(record, profile, changed, then, before["plain"]["lines"]):
            return None, why
        after = trees.trace(root, page, ("plain", "frozen"))
    except ValueError as error:
        return None, str(error)
    evidence, why = compare(before, after)
    if why:
        return None, why
    commit = (files.git("rev-parse", "--short", "HEAD") or "").strip()
    return {
        "commit": commit,
        "definitions": changed,
        "evidence": evidence,
    }, f"{evidence['steps']} steps, {evidence['widest']:.2g} of what is allowed"


def carry(
    asked: Iterable[str] = (),  # ids of claims, or names of pages; all, if left out
    claims: Path | None = None,  # the folder of the records
) -> Iterator[tuple[str, str, str]]:  # id and profile, "carried" or "stale", why
    "Try to carry what is stale. Raises `ValueError` for a name that no record has."
    folder = Path(claims or files.shared("data/claims"))
    every = ledger.load(folder=folder)
    asked = [name.removesuffix(".ipynb").removeprefix("nbs/") for name in asked]
    known = {word for record in every for word in (record["id"], record["notebook"], record["notebook"].rpartition("/")[2])}
    if unknown := [name for name in asked if name not in known]:
        raise ValueError(f"{unknown[0]}: is no claim's id and no page with records")
    chosen = [r for r in every if not asked or {r["id"], r["notebook"], r["notebook"].rpartition("/")[2]} & set(asked)]
    library = freshness.Library()
    with Trees() as trees:
        for record, profile, state, why in list(freshness.states(chosen)):
            if state != "stale":
                continue
            entry, told = None, why
            if why.startswith(freshness.CHANGED):
                entry, told = examine(record, profile, library, trees)
            if entry is not None:
                record["runs"][profile]["carried"].append(entry)
                ledger.write(record, folder)
            yield f"{record['id']} {profile}", "stale" if entry is None else "carried", told
