"""Reads what somebody has: pairs of texts in a file, a BEIR folder, or rows of numbers with labels. What is left out is counted and told."""

import codecs
import csv
import gzip
import json
import random
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from contrastive_nb import data
from contrastive_nb.checks import check_path

MOST = 20_000  # pairs, or rows with a label, that a contest works on; of more a random part is taken
SHARES = (0.6, 0.2, 0.2)  # of queries to learn from, to choose settings on, to judge on
PARTS = {"train": 0, "valid": 1, "dev": 1, "validation": 1, "test": 2}
BROKEN = (OSError, EOFError, zlib.error, zipfile.BadZipFile)  # what an archive that was cut short raises


class Unreadable(ValueError):
    "A file that cannot be used, told in one line with its row and column."


class Row(NamedTuple):
    "A pair with what stands beside it."

    query: str
    positive: str
    negatives: tuple[str, ...]
    split: str


@dataclass
class Given:
    "What a contest is held on, and what was seen while it was read."

    name: str
    kind: str  # "texts" or "labels"
    train: Tensor  # int64 numbers of queries, or of rows
    valid: Tensor
    test: Tensor
    retrieval: data.Retrieval = field(default_factory=lambda: data.Retrieval([], [], [], *torch.empty(3, 0, dtype=torch.long)))  # of texts
    negatives: dict[int, list[int]] = field(default_factory=dict)  # query -> documents that its rows name as wrong
    x: Tensor = field(default_factory=lambda: torch.empty(0, 0))  # (N, F) float32, of labels
    y: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))  # (N,) int64
    report: dict[str, Any] = field(default_factory=dict)  # what -> number or words, in the order in which it is shown


def read(
    path: str | Path,  # .csv, .tsv, .jsonl (also .gz), .parquet, .npz, or a folder with corpus.jsonl, queries.jsonl and qrels/
    seed: int = 0,  # of the split, where none is given, and of the part that is taken of too many rows
) -> Given:
    "Raises `Unreadable`, a `ValueError`, with file, row and column; `FileNotFoundError` where nothing is there."
    path = check_path("path", path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: nothing is there")
    kind = "folder" if path.is_dir() else path.name.removesuffix(".gz").rpartition(".")[2].lower()
    if kind == "npz":
        return _labelled(path, seed)
    if kind == "folder":
        return _folder(path, seed)
    if kind not in READERS:
        raise Unreadable(f"{path.name}: want .csv, .tsv, .jsonl, .parquet, .npz, or a folder with corpus.jsonl")
    report: dict[str, Any] = {}
    rows = READERS[kind](path, report)
    kept = _sampled(path.name, rows, report, seed)
    if not kept:
        raise Unreadable(f"{path.name}: no row has both a query and a positive")
    return _texts(path.name, kept, report, seed)


# --- rows of a file ------------------------------------------------------------------------------------------------


def _encoding(path: Path, raw, report: dict) -> str:
    "UTF-8, with or without a mark; UTF-16, where a mark says so; else the code page of Western Windows. The last two are told."
    decoder = codecs.getincrementaldecoder("utf-8")()
    with raw(path, "rb") as file:
        part = file.read(1 << 20)
        if part[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            report["encoding"] = "UTF-16"
            return "utf-16"
        try:
            while part:
                decoder.decode(part)
                part = file.read(1 << 20)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            report["encoding"] = "not UTF-8, read as Windows-1252"
            return "cp1252"
    return "utf-8-sig"


def _open(path: Path, report: dict):
    "The file as text. A letter that its encoding does not have becomes a question mark."
    raw = gzip.open if path.suffix == ".gz" else open
    try:
        return raw(path, "rt", encoding=_encoding(path, raw, report), errors="replace", newline="")
    except BROKEN as error:
        raise Unreadable(f"{path.name}, row 1: {' '.join(str(error).split())}") from None


def _columns(path: Path, found, row: int = 1) -> None:
    names = [str(name) for name in found or ()]
    for column in ("query", "positive"):
        if column not in names:
            shown = ", ".join(repr(name[:30]) for name in names[:8]) or "none"  # what is no text has long names
            raise Unreadable(f"{path.name}, row {row}: no column {column!r} among {shown}")


def _delimited(delimiter: str):
    def rows(path: Path, report: dict) -> Iterator[dict]:
        csv.field_size_limit(1 << 24)
        with _open(path, report) as file:
            table = csv.DictReader(file, delimiter=delimiter)
            table.fieldnames = [name.strip() for name in table.fieldnames or ()]
            _columns(path, table.fieldnames)
            try:
                yield from table
            except (csv.Error, *BROKEN) as error:
                raise Unreadable(f"{path.name}, row {table.line_num}: {error}") from None

    return rows


def _lines(path: Path, report: dict) -> Iterator[dict]:
    with _open(path, report) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line.rstrip())
            except ValueError as error:
                column = getattr(error, "colno", 1)
                raise Unreadable(f"{path.name}, row {number}, column {column}: no JSON") from None
            if not isinstance(row, dict):
                raise Unreadable(f"{path.name}, row {number}, column 1: got a {type(row).__name__}, want an object with query and positive")
            if number == 1:
                _columns(path, row)
            yield row


def _parquet(path: Path, report: dict) -> Iterator[dict]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise Unreadable(f"{path.name}: Parquet needs pyarrow, which is not installed: pip install 'contrastive_nb[parquet]'") from None
    try:
        file = parquet.ParquetFile(path)
        _columns(path, file.schema_arrow.names)
        for batch in file.iter_batches(4096):
            yield from batch.to_pylist()
    except (ArrowException, OSError) as error:
        raise Unreadable(f"{path.name}, row 1: {' '.join(str(error).split())[:120]}") from None


READERS = {"csv": _delimited(","), "tsv": _delimited("\t"), "jsonl": _lines, "parquet": _parquet}


def _text(value) -> str:
    return "" if value is None or isinstance(value, float) and value != value else str(value).strip()


def _told(raw: dict, column: str, where: str) -> str:
    "What a row says in a column that holds one text."
    if isinstance(raw.get(column), (list, dict)):
        raise Unreadable(f"{where}, column {column!r}: got a {type(raw[column]).__name__}, want a text; of several positives a row each")
    return _text(raw.get(column))


def _negatives(value) -> tuple[str, ...]:
    "One text, several as a list, or as a list in JSON."
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            value = [value]
    values = value if isinstance(value, (list, tuple)) else [value]
    return tuple(text for text in map(_text, values) if text)


def _sampled(name: str, rows: Iterator[dict], report: dict, seed: int) -> list[Row]:
    "Whole rows, each once; of more than `MOST` a random part (reservoir sampling), so that a file of any length is read once."
    draw, whole = random.Random(seed), 0
    seen: set[int] = set()
    kept: list[Row] = []
    count: Counter = Counter()
    for raw in rows:
        count["rows"] += 1
        query, positive, split = (_told(raw, column, f"{name}, row {count['rows']}") for column in ("query", "positive", "split"))
        if not (query and positive):
            count["without a query or a positive, left out"] += 1
            continue
        mark = hash((query, positive, split.lower()))  # a pair in two parts is no duplicate: see `_part`
        if mark in seen:
            count["duplicates, left out"] += 1
            continue
        seen.add(mark)
        row = Row(query, positive, _negatives(raw.get("negatives")), split.lower())
        whole += 1
        if len(kept) < MOST:
            kept.append(row)
        elif (at := draw.randrange(whole)) < MOST:
            kept[at] = row
    report |= {what: count[what] for what in ("rows", "without a query or a positive, left out", "duplicates, left out")}
    if whole > MOST:
        report["taken, at random"] = f"{MOST} of {whole}"
    return kept


# --- parts ---------------------------------------------------------------------------------------------------------


def _groups(relevance: list[set[int]], documents: int) -> list[int]:
    "Of each query its group: queries that share a document, directly or through others, are in one."
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    queries = len(relevance)
    links = [(q, queries + d) for q, found in enumerate(relevance) for d in found]
    graph = coo_array(([1] * len(links), tuple(zip(*links, strict=True))), shape=(queries + documents,) * 2)
    return connected_components(graph, directed=False)[1][:queries].tolist()


Parts = tuple[Tensor, Tensor, Tensor]


def _three(parts: list[list[int]]) -> Parts:
    train, valid, test = (torch.tensor(part, dtype=torch.long) for part in parts)
    return train, valid, test


def _hang_together(groups: list[int]) -> bool:
    "Whether one group has more than half of all queries, so that no parts can be drawn around it."
    return max(Counter(groups).values()) > 0.5 * len(groups)


def _drawn(groups: list[int], seed: int) -> Parts:
    "Three parts of whole groups, the largest first to the part that lacks most; a group above half of all is no group."
    sizes = Counter(groups)
    if _hang_together(groups):
        groups, sizes = list(range(len(groups))), Counter(range(len(groups)))
    order = sorted(sizes)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda group: -sizes[group])
    lacks = [share * len(groups) for share in SHARES]
    of = {}
    for group in order:
        part = max(range(3), key=lambda i: lacks[i] / SHARES[i])
        of[group] = part
        lacks[part] -= sizes[group]
    return _three([[i for i, group in enumerate(groups) if of[group] == part] for part in range(3)])


def _parts(name: str, splits: list[str], groups: list[int], seed: int, report: dict) -> Parts:
    "The user's own parts, or drawn ones; a part that is wanted and missing is drawn from those to learn from."
    named = {split for split in splits if split}
    if odd := named - PARTS.keys():
        raise Unreadable(f"{name}, column 'split': got {min(odd)!r}, want train, valid (or dev) or test")
    if not named:
        report["parts"] = "drawn, queries that share a document in one part"
        if _hang_together(groups):
            report["parts"] = "drawn query by query: shared documents join more than half of them, and so stand in several parts"
        return _drawn(groups, seed)
    numbers = [PARTS[split or "train"] for split in splits]
    parts = [[i for i, part in enumerate(numbers) if part == wanted] for wanted in range(3)]
    if not parts[0] or not parts[2]:
        raise Unreadable(f"{name}, column 'split': no row is {'train' if not parts[0] else 'test'}")
    report["parts"] = "as the column split says"
    if not parts[1]:
        rest = parts[0]
        random.Random(seed).shuffle(rest)
        cut = max(1, round(0.2 * len(rest)))
        parts[0], parts[1] = sorted(rest[cut:]), sorted(rest[:cut])
        report["parts"] += "; to choose settings a fifth of train"
    return _three(parts)


def _part(splits: set[str]) -> str:
    "The last of a query's parts: what is judged is not learned from. A name that is none of ours comes first, to be refused."
    return max(splits, key=lambda split: PARTS.get(split or "train", len(PARTS)))


def _texts(name: str, rows: list[Row], report: dict, seed: int) -> Given:
    number = {text: i for i, text in enumerate(dict.fromkeys(t for row in rows for t in (row.positive, *row.negatives)))}
    found: dict[str, set[int]] = {}
    wrong: dict[str, set[int]] = {}
    for row in rows:
        found.setdefault(row.query, set()).add(number[row.positive])
        wrong.setdefault(row.query, set()).update(number[text] for text in row.negatives)
    named: dict[str, set[str]] = {}
    for row in rows:
        named.setdefault(row.query, set()).add(row.split)
    relevance, splits = list(found.values()), [_part(named[query]) for query in found]
    if twice := sum(len({PARTS.get(split or "train") for split in of}) > 1 for of in named.values()):
        report["queries in two parts, kept in the later alone"] = twice
    parts = _parts(name, splits, _groups(relevance, len(number)), seed, report)
    negatives = {i: sorted(wrong[query] - found[query]) for i, query in enumerate(found) if wrong[query] - found[query]}
    train, valid, test = parts
    held = data.Retrieval(list(number), list(found), relevance, train, valid, test)
    return _enough(Given(name, "texts", train, valid, test, held, negatives, report=report))


def _folder(path: Path, seed: int) -> Given:
    try:
        whole = data.read_retrieval(path)
    except (ValueError, KeyError, *BROKEN) as error:
        raise Unreadable(f"{path.name}: {' '.join(str(error).split())}") from None
    report = {"rows": sum(len(found) for found in whole.relevance)}
    names = ["train"] * len(whole.queries)
    for part, rows in (("valid", whole.valid), ("test", whole.test)):
        for i in rows.tolist():
            names[i] = part
    given = len(whole.test) > 0
    parts = _parts(path.name, names if given else [""] * len(names), _groups(whole.relevance, len(whole.documents)), seed, report)
    train, valid, test = parts
    return _enough(Given(path.name, "texts", train, valid, test, whole._replace(train=train, valid=valid, test=test), report=report))


def _arrays(path: Path) -> dict:
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as file:
            held = {name: file[name] for name in file.files}
    except (ValueError, AttributeError, *BROKEN) as error:  # an .npy under this name has no files
        raise Unreadable(f"{path.name}: no arrays can be read ({' '.join(str(error).split())[:80]})") from None
    for name in ("x", "y"):
        if name not in held:
            raise Unreadable(f"{path.name}: no array {name!r} among {', '.join(map(repr, held)) or 'none'}")
    x, y = held["x"], held["y"]
    if x.ndim < 2 or x.dtype.kind not in "fiub":
        raise Unreadable(f"{path.name}, array 'x': got {x.dtype} of shape {x.shape}, want a row of numbers an item")
    if y.shape != x.shape[:1]:
        raise Unreadable(f"{path.name}, array 'y': got shape {y.shape}, want {x.shape[:1]}, one label a row of x")
    return held


def _missing(y):
    "Which labels are none: not a number, or an empty text."
    import numpy as np

    return np.isnan(y) if y.dtype.kind == "f" else np.char.strip(y) == y.dtype.type() if y.dtype.kind in "US" else np.zeros(len(y), bool)


def _labelled(path: Path, seed: int) -> Given:
    import numpy as np

    held = _arrays(path)
    x, y = torch.from_numpy(np.asarray(held["x"], dtype="float32").reshape(len(held["x"]), -1)), held["y"]
    good = x.isfinite().all(1) & ~torch.from_numpy(_missing(y))
    report: dict[str, Any] = {"rows": len(x), "with a missing number or label, left out": int((~good).sum())}
    whole = good.nonzero()[:, 0]
    first = torch.from_numpy(np.sort(np.unique(x[whole].numpy(), axis=0, return_index=True)[1]))
    report["duplicates, left out"] = len(whole) - len(first)
    rows = whole[first]
    if len(rows) > MOST:
        report["taken, at random"] = f"{MOST} of {len(rows)}"
        rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:MOST]].sort().values
    names, classes = np.unique(y[rows.numpy()], return_inverse=True)
    if len(names) < 2:
        raise Unreadable(f"{path.name}, array 'y': got {len(names)} class{'es' * (len(names) != 1)}, want two or more")
    report["parts"] = "drawn at random"
    y = torch.from_numpy(classes).long()
    train, valid, test = _drawn(list(range(len(rows))), seed)
    return _enough(Given(path.name, "labels", train, valid, test, x=x[rows], y=y, report=report))


def _enough(given: Given) -> Given:
    for part, least in (("train", 8), ("valid", 4), ("test", 4)):
        if len(getattr(given, part)) < least:
            what = "queries" if given.kind == "texts" else "rows"
            raise Unreadable(f"{given.name}: {len(getattr(given, part))} {what} in the part {part!r}, want {least} or more")
    return given
