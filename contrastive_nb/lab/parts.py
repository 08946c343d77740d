"""A run in parts, on several machines: every Nth page each. Plain module; `join` brings together what they made."""

import json
import re
from pathlib import Path

from contrastive_nb import files
from contrastive_nb.lab.jobs import Refused

PARTS = "parts.json"  # beside the runs of a profile: part -> its pages


def parse(text: str) -> tuple[int, int]:
    "K and N of `--part K/N`."
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise Refused(f"--part: got {text!r}, want K/N with K from 1 to N, such as 2/3")
    return int(found[1]), int(found[2])


def take(names: list[str], part: str, profile: str, build: Path) -> list[str]:
    "The pages of a part, every Nth from the Kth on; which they are is noted beside the runs, so that `merge` misses none."
    k, n = parse(part)
    pages, path = names[k - 1 :: n], build / "runs" / profile / PARTS
    told = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    told = {other: pages for other, pages in told.items() if other.endswith(f"/{n}")} | {f"{k}/{n}": pages}
    files.write_whole(path, json.dumps(told, indent=1) + "\n")
    return pages
