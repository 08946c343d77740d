"""The ledger's files judged again, when the rule or a bench has changed: verdicts move, numbers do not. Plain module."""

import json
from pathlib import Path

from contrastive_nb import files
from contrastive_nb.lab import claims, records


def judge_ledger(
    folder: Path | None = None,  # None: data/claims, the ledger
) -> list[tuple[dict, dict]]:  # each record that changed, as it was and as it is
    "Judge every file of the ledger by today's rule and benches and write those that change. Raises `ValueError`, and writes nothing then."
    place = folder or files.shared("data") / "claims"
    paths = sorted(place.glob("*.json"), key=lambda path: path.stem)
    new = [records.read(path, claims.judged_again) for path in paths]  # all of them before the first is written
    old = [json.loads(path.read_bytes()) for path in paths]
    changed = [(was, now) for was, now in zip(old, new, strict=True) if was != now]
    for _, now in changed:
        claims.write(now, place)
    return changed
