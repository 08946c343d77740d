"""What is said of the data before anything is trained: how much, how long, how even, what leaks, how many negatives may be false."""

from typing import Any

import torch

from contrastive_nb.lab.comparing.given import Given


def looked_at(given: Given, features: tuple | None = None) -> dict[str, Any]:
    "The reader's counts and these, in the order in which they are shown; `features`: of queries and of documents, rows of length 1."
    sizes = {
        f"to {what}": len(getattr(given, part)) for part, what in (("train", "learn from"), ("valid", "choose on"), ("test", "judge on"))
    }
    return given.report | sizes | (_of_texts(given, features) if given.kind == "texts" else _of_labels(given))


def _of_texts(given: Given, features) -> dict[str, Any]:
    held = given.retrieval
    words = [sorted(len(text.split()) for text in texts) for texts in (held.queries, held.documents)]
    found: dict[str, Any] = {"documents": len(held.documents)}
    for name, counts in zip(("words of a query", "words of a document"), words, strict=True):
        found[name] = f"{counts[len(counts) // 2]} in the middle, {counts[int(0.95 * (len(counts) - 1))]} at most in 95 of 100"
    of = {part: {d for q in getattr(given, part).tolist() for d in held.relevance[q]} for part in ("train", "valid", "test")}
    found["documents of the judged part that are learned from"] = f"{len(of['test'] & (of['train'] | of['valid']))} of {len(of['test'])}"
    loads = torch.bincount(torch.tensor([d for found_ in held.relevance for d in found_]))
    found["pairs of the most frequent document"] = f"{int(loads.max())} of {int(loads.sum())}"
    if features is not None:
        found["negatives nearer than the positive, before training"] = f"{nearer(given, features):.1%}: at most so many are false"
    return found


def nearer(given: Given, features: tuple, most: int = 500) -> float:
    "Of queries to learn from and documents that are not theirs, the share that lies nearer than the query's own nearest."
    queries, documents = features
    rows = given.train[:most]
    scores, own = queries[rows] @ documents.T, given.retrieval.labels(rows)
    best = scores.masked_fill(~own, -2).amax(1, keepdim=True)
    return float(((scores > best) & ~own).sum() / (~own).sum())


def _of_labels(given: Given) -> dict[str, Any]:
    share = torch.bincount(given.y[given.train]).double() / len(given.train)
    return {
        "numbers a row": given.x.shape[1],
        "classes": int((share > 0).sum()),
        "largest and smallest class to learn from": f"{share.max():.1%}, {share[share > 0].min():.1%}",
        "pairs of two rows that share a class": f"{float((share**2).sum()):.1%}: so many negatives would be false without labels",
    }
