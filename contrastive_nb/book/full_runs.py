"""The claims most worth an hour of a GPU: what data/gpu.yml lists, joined with what the pages' gpu settings say. Plain module."""

import textwrap

from contrastive_nb import files
from contrastive_nb.book import catalogue, ledger
from contrastive_nb.lab import profiles
from contrastive_nb.lab.records import is_set_aside


def entries() -> list[dict]:
    "The rows of data/gpu.yml as they stand (see the file's head)."
    import yaml

    return yaml.safe_load(files.shared("data/gpu.yml").read_text(encoding="utf-8"))


def plan() -> list[dict]:
    """A row a claim, the most worth first: its name, paper, statement, page, set, size, why, the paper's setting, limit in minutes, done or not.

    Raises `ValueError` naming a row's claim, paper or size that is not there.
    """
    records, papers = {record["id"]: record for record in ledger.recorded()}, {entry["id"]: entry for entry in catalogue.entries()}
    return [_row(entry, records, papers) for entry in entries()]


def _row(entry: dict, records: dict[str, dict], papers: dict[str, dict]) -> dict:
    record = records.get(entry.get("claim", ""))
    if record is None and "claim" in entry:
        raise ValueError(f"gpu.yml: claim: got {entry['claim']!r}, want one of data/claims")
    if record is None and (entry.get("paper") not in papers or not entry.get("plan")):
        raise ValueError(f"gpu.yml: paper: got {entry.get('paper')!r}, want one of data/catalogue.yml, and plan, what is to be claimed")
    name, page = (record["id"], record["notebook"]) if record else (f"{entry['paper']}, planned", None)
    settings = profiles.settings("gpu", page)
    if missing := [key for key in entry["size"] if key not in settings]:
        raise ValueError(f"gpu.yml: size: got {', '.join(missing)} for {name}, want keys of the gpu settings of {page or 'settings.ini'}")
    setting = (record or {}).get("paper_setting") or {}
    return {
        "name": name,
        "page": page,
        "statement": record["statement"] if record else entry["plan"],
        "set": entry["set"],
        "size": {key: settings[key] for key in entry["size"]},
        "why": entry["why"],
        "paper_setting": {key: value for key, value in setting.items() if value is not None},
        "minutes": settings["minutes"],
        "done": bool(record and "gpu" in record["runs"] and not is_set_aside(record)),
    }


def text(rows: list[dict], width: int = 100) -> str:
    "The list for a terminal, numbered, what it costs at most last."
    lines, indent = [], " " * 4
    for i, row in enumerate(rows, 1):
        size = ", ".join(f"{key} {value}" for key, value in row["size"].items())
        setting = ", ".join(f"{key} {value}" for key, value in row["paper_setting"].items())
        state = "recorded" if row["done"] else f"at most {row['minutes']:g} min" if row["page"] else "no page yet"
        told = [f"{i:2}. {row['name']}: {state}; {row['set']}, {size}" + (f" (the paper: {setting})" if setting else "")]
        told += [indent + row["statement"], indent + row["why"]]
        lines += [line for piece in told for line in textwrap.wrap(piece, width, subsequent_indent=indent)]
    pages = {row["page"]: row["minutes"] for row in rows if row["page"] and not row["done"]}
    total = f"{len(rows)} claims, {len(pages)} pages still to run: contrastive-nb run {' '.join(sorted(pages))} --profile gpu --save"
    foot = f"Minutes are the pages' limits in settings.ini, {sum(pages.values()):g} in all: what they take was not measured."
    return "\n".join([*lines, "", *(line for piece in (total, foot) for line in textwrap.wrap(piece, width, break_on_hyphens=False))])
