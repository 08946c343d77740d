"Which objective is best on one's own data: messy files are read or refused in one line, nothing is lost, no winner is made up."

import concurrent.futures
import csv
import gzip
import json
import os
import random
import sys
import textwrap

import numpy as np
import pytest
import torch
from commands import CliRunner

from contrastive_nb import cli, data
from contrastive_nb.lab import compare, comparing
from contrastive_nb.lab.comparing import contest, given, seen

WORDS = [f"{a}{b}" for a in ("red", "blue", "old", "new", "big") for b in ("cat", "dog", "house", "tree", "ship", "road", "lamp", "book")]


def pairs(count: int = 60, seed: int = 0) -> list[dict]:
    "Queries that share two of their documents' words."
    draw = random.Random(seed)
    rows = []
    for i in range(count):
        words = draw.sample(WORDS, 8)
        rows.append({"query": " ".join(words[:3]), "positive": f"{' '.join(words[1:])} {i}"})
    return rows


def table(path, rows, encoding="utf-8"):
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


def quick(path, output, **options):
    return compare(path, **{"objectives": ("info_nce", "mw"), "steps": 2, "minutes": 0.001, "output": output, "page": False} | options)


def said(*arguments) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli.app, ["compare", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


# --- files ----------------------------------------------------------------------------------------------------------


def test_a_messy_table_is_read_and_what_is_left_out_is_told(tmp_path):
    rows = pairs()
    messy = [*rows, rows[3], rows[3], {"query": "", "positive": "x"}, {"query": "x", "positive": "  "}]
    found = given.read(table(tmp_path / "a.csv", messy))
    assert found.report["rows"] == 64 and found.report["duplicates, left out"] == 2
    assert found.report["without a query or a positive, left out"] == 2
    assert len(found.retrieval.queries) == 60 == len(found.train) + len(found.valid) + len(found.test)
    parts = [set(part.tolist()) for part in (found.train, found.valid, found.test)]
    assert not parts[0] & parts[1] and not parts[1] & parts[2] and not parts[0] & parts[2]


def test_queries_that_share_a_document_are_in_one_part(tmp_path):
    rows = pairs(40)
    rows += [{"query": f"{row['query']} again", "positive": row["positive"]} for row in rows]
    found = given.read(table(tmp_path / "a.csv", rows))
    of = [{d for q in part.tolist() for d in found.retrieval.relevance[q]} for part in (found.train, found.valid, found.test)]
    assert not of[0] & of[1] and not of[0] & of[2] and not of[1] & of[2] and all(of)
    assert seen.looked_at(found)["documents of the judged part that are learned from"].startswith("0 of")


def test_the_users_own_parts_win_and_leakage_is_counted(tmp_path):
    rows = [row | {"split": ("train", "test", "dev")[i % 3]} for i, row in enumerate(pairs())]
    rows[1]["positive"] = rows[0]["positive"]
    found = given.read(table(tmp_path / "a.csv", rows))
    assert [len(part) for part in (found.train, found.valid, found.test)] == [20, 20, 20]
    assert seen.looked_at(found)["documents of the judged part that are learned from"] == "1 of 20"
    no_valid = [row | {"split": "train" if row["split"] == "dev" else row["split"]} for row in rows]
    found = given.read(table(tmp_path / "b.csv", no_valid))
    assert [len(part) for part in (found.train, found.valid, found.test)] == [32, 8, 20]


def test_every_form_gives_the_same_pairs(tmp_path):
    rows = pairs()
    wanted = given.read(table(tmp_path / "a.csv", rows)).retrieval
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    paths = [tmp_path / "a.jsonl", tmp_path / "a.jsonl.gz"]
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text(
        "".join(json.dumps({"_id": f"d{i}", "text": row["positive"]}) + "\n" for i, row in enumerate(rows))
    )
    (folder / "queries.jsonl").write_text("".join(json.dumps({"_id": f"q{i}", "text": row["query"]}) + "\n" for i, row in enumerate(rows)))
    lines = "".join(f"q{i}\td{i}\t1\n" for i in range(len(rows)))
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n" + lines)
    paths.append(folder)
    if pyarrow := pytest.importorskip("pyarrow", reason="pyarrow is not installed"):
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
        paths.append(tmp_path / "a.parquet")
    for path in paths:
        found = given.read(path).retrieval
        assert (found.documents, found.queries, found.relevance) == (wanted.documents, wanted.queries, wanted.relevance), path


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    code, _, err = said(tmp_path / "a.parquet", "--output", tmp_path / "out")
    assert code == 2 and "a.parquet: Parquet needs pyarrow" in err and "contrastive_nb[parquet]" in err


def test_other_encodings_are_read_and_said(tmp_path):
    rows = pairs() + [{"query": "Käse größe", "positive": "naïve Œuvre"}]
    found = given.read(table(tmp_path / "a.csv", rows, "cp1252"))
    assert "Windows-1252" in found.report["encoding"] and "Käse größe" in found.retrieval.queries
    found = given.read(table(tmp_path / "b.csv", rows, "utf-8-sig"))
    assert "encoding" not in found.report and "Käse größe" in found.retrieval.queries


def test_a_table_of_another_program_is_read(tmp_path):
    rows = pairs() + [{"query": "größe", "positive": "Œuvre"}]
    found = given.read(table(tmp_path / "a.csv", rows, "utf-16"))
    assert found.report["encoding"] == "UTF-16" and "größe" in found.retrieval.queries and len(found.retrieval.queries) == 61
    plain = table(tmp_path / "b.csv", rows)
    plain.write_text(plain.read_text().replace("query,positive", " query, positive ", 1))
    assert given.read(plain).retrieval.queries == found.retrieval.queries


def test_a_query_in_two_parts_is_judged_and_not_learned_from(tmp_path):
    rows = [row | {"split": "train" if i < 40 else "test"} for i, row in enumerate(pairs())]
    same = [rows[i] | {"split": "test"} for i in range(3)]  # the same pair again
    more = [{"query": rows[i]["query"], "positive": f"another {i}", "split": "test"} for i in range(3, 5)]
    found = given.read(table(tmp_path / "a.csv", [*same, *rows, *more]))
    assert found.report["queries in two parts, kept in the later alone"] == 5 and found.report["duplicates, left out"] == 0
    judged = {found.retrieval.queries[i] for i in found.test.tolist()}
    assert judged == {row["query"] for row in rows[:5] + rows[40:]} and len(found.train) + len(found.valid) == 35
    assert "queries in two parts, kept in the later alone" not in given.read(table(tmp_path / "b.csv", rows)).report


def test_where_one_document_joins_most_queries_no_part_is_said_to_be_free_of_it(tmp_path):
    rows = pairs()
    apart = given.read(table(tmp_path / "a.csv", rows)).report["parts"]
    joined = given.read(table(tmp_path / "b.csv", [row | ({"positive": "the same"} if i < 45 else {}) for i, row in enumerate(rows)]))
    assert apart == "drawn, queries that share a document in one part" and joined.report["parts"].startswith("drawn query by query")
    assert seen.looked_at(joined)["documents of the judged part that are learned from"].startswith("1 of")


def test_rows_without_a_label_are_left_out_and_make_no_class(tmp_path):
    y = np.arange(120) % 4
    x = np.random.default_rng(0).normal(size=(120, 4))
    x[119] = x[0]
    x[118, 2] = np.inf
    for name, labels in (
        ("numbers", np.where(y * 0 + np.arange(120) < 10, np.nan, y)),
        ("words", np.where(np.arange(120) < 10, " ", y.astype(str))),
    ):
        np.savez(tmp_path / f"{name}.npz", x=x, y=labels)
        found = given.read(tmp_path / f"{name}.npz")
        assert found.report["with a missing number or label, left out"] == 11 and len(found.y.unique()) == 4
        assert found.report["duplicates, left out"] == 0 and len(found.x) == 109  # the first of the two alike has no label


ARRAYS = {
    "one class": (dict(x=np.eye(40), y=np.zeros(40)), "array 'y': got 1 class, want two"),
    "one number": (dict(x=np.float32(3), y=np.zeros(40)), "array 'x': got float32 of shape ()"),
    "words": (dict(x=np.array([["a"]] * 40), y=np.zeros(40)), "array 'x': got <U1 of shape (40, 1)"),
    "lengths": (dict(x=np.eye(40), y=np.zeros(39)), "array 'y': got shape (39,), want (40,)"),
    "no labels": (dict(x=np.eye(40)), "no array 'y' among 'x'"),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_that_are_no_labelled_rows_are_refused(tmp_path, case):
    arrays, part = ARRAYS[case]
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(given.Unreadable) as refused:
        given.read(tmp_path / "a.npz")
    assert part in str(refused.value) and str(refused.value).startswith("a.npz")


def test_files_that_were_cut_short_are_refused_in_one_line(tmp_path):
    packed = gzip.compress(table(tmp_path / "a.csv", pairs()).read_bytes())
    (tmp_path / "cut.csv.gz").write_bytes(packed[:-40])
    np.savez(tmp_path / "whole.npz", x=np.eye(40), y=np.arange(40))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:-60])
    (tmp_path / "beir").mkdir()
    for name in ("corpus", "queries"):
        (tmp_path / "beir" / f"{name}.jsonl.gz").write_bytes(packed[:-40])
    for name in ("cut.csv.gz", "cut.npz", "beir"):
        code, out, err = said(tmp_path / name, "--output", tmp_path / "out")
        assert code == 2 and not out and name in err and len(err.strip().splitlines()) == 1, (name, err)


def test_negatives_of_a_row_are_kept_and_never_a_positive(tmp_path):
    rows = [row | {"negatives": "" if i else json.dumps(["wrong one", row["positive"]])} for i, row in enumerate(pairs())]
    rows[1]["negatives"] = "wrong two"
    found = given.read(table(tmp_path / "a.csv", rows))
    texts = found.retrieval.documents
    assert {q: [texts[d] for d in some] for q, some in found.negatives.items()} == {0: ["wrong one"], 1: ["wrong two"]}
    assert quick(found, tmp_path / "out").seeds == comparing.FEWEST


def test_of_a_long_table_a_random_part_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(given, "MOST", 50)
    rows = pairs(400)
    found = given.read(table(tmp_path / "a.csv", rows))
    assert found.report["taken, at random"] == "50 of 400" and len(found.retrieval.queries) == 50
    assert found.retrieval.queries != [row["query"] for row in rows[:50]]
    assert found.retrieval == given.read(tmp_path / "a.csv").retrieval._replace(
        **{part: getattr(found.retrieval, part) for part in ("train", "valid", "test")}
    )


@pytest.mark.slow
def test_a_million_lines_are_read_once(tmp_path):
    with (tmp_path / "a.csv").open("w") as file:
        file.write("query,positive\n")
        file.writelines(f"query {i},document {i} of many\n" for i in range(1_000_000))
    found = given.read(tmp_path / "a.csv")
    assert found.report["rows"] == 1_000_000 and len(found.retrieval.queries) == given.MOST


REFUSED = {
    "one column": ("a.csv", "query\nx\n", "a.csv, row 1: no column 'positive' among 'query'"),
    "nothing": ("a.csv", "", "a.csv, row 1: no column 'query' among none"),
    "no pair": ("a.csv", "query,positive\n,x\n", "a.csv: no row has both a query and a positive"),
    "few": ("a.csv", "query,positive\na,b\nc,d\n", "want 8 or more"),
    "a broken line": ("a.jsonl", '{"query": "a", "positive": "b"}\n{"query": \n', "a.jsonl, row 2, column 10: no JSON"),
    "a list": ("a.jsonl", "[1]\n", "a.jsonl, row 1, column 1: got a list"),
    "several positives": ("a.jsonl", '{"query": "a", "positive": ["b", "c"]}\n', "a.jsonl, row 1, column 'positive': got a list"),
    "no text": ("a.csv", "\x01" * 500, f"a.csv, row 1: no column 'query' among {chr(1) * 30!r}"),
    "no column": ("a.jsonl", '{"question": "a", "positive": "b"}\n', "a.jsonl, row 1: no column 'query' among 'question', 'positive'"),
    "another part": ("a.csv", "query,positive,split\na,b,tset\n", "a.csv, column 'split': got 'tset'"),
    "another form": ("a.txt", "x", "a.txt: want .csv"),
    "no arrays": ("a.npz", "x", "a.npz: no arrays can be read"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path, case):
    name, text, part = REFUSED[case]
    (tmp_path / name).write_text(text)
    code, out, err = said(tmp_path / name, "--output", tmp_path / "out")
    assert code == 2 and not out and part in err and len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "options, part",
    [
        (["--objective", "info_nce", "--objective", "infonce"], "objectives: infonce: objective: got 'infonce'"),
        (["--objective", "mw"], "objectives: got ['mw'], want two or more"),
        (["--smallest", "0"], "smallest: got 0"),
        (["--encoder", "nowhere:net"], "No module named 'nowhere'"),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_line(tmp_path, options, part):
    path = table(tmp_path / "a.csv", pairs())
    code, _, err = said(path, "--output", tmp_path / "out", "--steps", "2", *options)
    assert code == 2 and part in err and len(err.strip().splitlines()) == 1


# --- the contest ----------------------------------------------------------------------------------------------------


def test_the_command_reports_goes_on_and_names_no_winner(tmp_path):
    rows = [*pairs(), {"query": "", "positive": "x"}]
    path, output = table(tmp_path / "a.csv", rows), tmp_path / "out"
    code, out, _ = said(path, "--output", output, "--steps", "2", "--minutes", "0.001", "--smallest", "0.3")
    assert code == 0 and "no winner" in out and "without a query or a positive, left out: 1" in out
    assert "lie within 0.3 of each other" in out and "BM25" in out
    assert all(name in out for name in comparing.OBJECTIVES)
    html = (output / "page.html").read_text()
    assert (
        "No winner" in html
        and "features as they are" in html
        and html.count("<svg") + html.count("data:image/svg") >= 2
        and "Traceback" not in html
    )
    assert "contrastive_nb.adapters" in html


def small_digits(path):
    "Arrays with labels: scikit-learn's digits, at ci size."
    train = data.digits(0, train=300, valid=0, test=0).train
    np.savez(path / "digits.npz", x=train.x.flatten(1).numpy(), y=train.y.numpy())
    return path / "digits.npz"


def small_scifact(path):
    "A BEIR folder: some claims of SciFact, and the abstracts that bear on them."
    found = data.retrieval("scifact")
    asked = found.train[:120].tolist()
    stored = sorted(set().union(*(found.relevance[q] for q in asked)))
    (path / "qrels").mkdir()
    (path / "corpus.jsonl").write_text("".join(json.dumps({"_id": str(d), "text": found.documents[d]}) + "\n" for d in stored))
    (path / "queries.jsonl").write_text("".join(json.dumps({"_id": str(q), "text": found.queries[q]}) + "\n" for q in asked))
    lines = "".join(f"{q}\t{d}\t1\n" for q in asked for d in sorted(found.relevance[q]))
    (path / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n" + lines)
    return path


def small_banking77(path):
    "A table: some customers' questions, each beside another one with the same intent."
    train = data.intents("banking77").train
    of = {}
    for text, intent in zip(train.text, train.y.tolist(), strict=True):
        of.setdefault(intent, []).append(text)
    rows = [{"query": texts[i], "positive": texts[i + 1]} for texts in list(of.values())[:30] for i in (0, 2, 4, 6)]
    return table(path / "banking.csv", rows)


@pytest.mark.parametrize(
    ("make", "needs"),
    [(small_digits, None), (small_scifact, "scifact"), (small_banking77, "banking77")],
    ids=lambda x: getattr(x, "__name__", x),
)
def test_a_real_set_gets_a_page_that_names_what_it_could_not_tell(make, needs, tmp_path):
    if needs and not data.available(needs):
        pytest.skip(f"the set {needs} is not here")
    (tmp_path / "given").mkdir()
    code, out, _ = said(make(tmp_path / "given"), "--output", tmp_path / "out", "--steps", "2", "--minutes", "0.001", "--smallest", "0.3")
    assert code == 0 and "no winner" in out and "lie within 0.3 of each other" in out
    html = (tmp_path / "out" / "page.html").read_text()
    assert "No winner" in html and "Traceback" not in html and all(name in html for name in comparing.OBJECTIVES)


MINE = """
from contrastive_nb.encoders import text_tower

def net(width):
    return text_tower(width, hidden={hidden})
"""


@pytest.mark.slow
def test_an_encoder_of_ones_own_has_a_page_and_is_trained_again_when_it_was_changed(tmp_path, monkeypatch):
    path, output = table(tmp_path / "a.csv", pairs()), tmp_path / "out"
    (tmp_path / "mine_own.py").write_text(MINE.format(hidden=8))
    monkeypatch.syspath_prepend(tmp_path)
    try:
        found = quick(path, output, encoder="mine_own:net", page=True)
        assert "Traceback" not in (output / "page.html").read_text() and found.page == str(output / "page.html")
        count = len(list((output / "trainings").iterdir()))
        quick(path, output, encoder="mine_own:net")
        assert len(list((output / "trainings").iterdir())) == count
        (tmp_path / "mine_own.py").write_text(MINE.format(hidden=16))
        quick(path, output, encoder="mine_own:net")
        assert len(list((output / "trainings").iterdir())) == 2 * count
    finally:
        sys.modules.pop("mine_own", None)


def test_documents_are_embedded_once_however_many_queries_there_are(tmp_path, monkeypatch):
    found = given.read(table(tmp_path / "a.csv", pairs()))
    world = contest.world_of(str(contest.prepared(found, "tower", tmp_path)))
    model, embed, sizes = contest.network("tower", world), contest.encoders.embed, []
    monkeypatch.setattr(contest.encoders, "embed", lambda model, x: sizes.append(len(x)) or embed(model, x))
    world.test = torch.arange(60).repeat(10)  # three chunks
    many = contest.quality(model, world, "test")
    assert sizes == [600, 60]
    world.test = torch.arange(60)
    assert many == pytest.approx(contest.quality(model, world, "test"), abs=1e-9)


def test_minutes_that_did_not_suffice_are_told(tmp_path):
    path = table(tmp_path / "a.csv", pairs())
    said = "search, spread and 3 seeds are the least"
    assert said in " ".join(quick(path, tmp_path / "out").notes)
    enough = quick(path, tmp_path / "out", minutes=5, smallest=10.0)
    assert said not in " ".join(enough.notes) and enough.seeds == enough.wanted


def test_arrays_with_labels(tmp_path):
    y = np.arange(120) % 4
    x = np.eye(4)[y] + np.random.default_rng(0).normal(size=(120, 4))
    np.savez(tmp_path / "a.npz", x=x, y=np.array(list("abcd"))[y])
    found = quick(tmp_path / "a.npz", tmp_path / "out", steps=20)
    assert set(found.floors) == {"features as they are", "untrained", "largest class"} and found.report["classes"] == 4
    assert found.metric.startswith("accuracy") and all(value > 0.3 for value in found.means().values())


def test_a_contest_that_was_stopped_goes_on_and_ends_as_the_unbroken_one(tmp_path, monkeypatch):
    path, done = table(tmp_path / "a.csv", pairs()), []
    whole = quick(path, tmp_path / "whole")
    train_one = contest.train_one

    def until_the_ninth(task):
        done.append(json.dumps(task))
        if len(done) == 9:
            raise KeyboardInterrupt
        return train_one(task)

    monkeypatch.setattr(contest, "train_one", until_the_ninth)
    with pytest.raises(KeyboardInterrupt):
        quick(path, tmp_path / "out")
    found = quick(path, tmp_path / "out")
    assert found.scores == whole.scores and found.settings == whole.settings
    ninth = done.pop(8)
    assert len(done) == len(set(done)) == len(list((tmp_path / "out" / "trainings").iterdir())) and ninth in done


def test_the_judged_part_is_opened_once_and_decides_no_setting(tmp_path):
    quick(table(tmp_path / "a.csv", pairs()), tmp_path / "out")
    tasks = [json.loads(path.read_text())["task"] for path in (tmp_path / "out" / "trainings").iterdir()]
    judged = [task for task in tasks if "test" in task["parts"]]
    assert len(judged) == 2 * comparing.FEWEST and {task["seed"] for task in judged} == set(range(comparing.FEWEST))
    assert not {task["seed"] for task in tasks if "test" not in task["parts"]} & set(range(32))
    settings = {(task["objective"], task["temperature"], task["lr"]) for task in judged}
    assert len(settings) == 2


def test_a_narrower_stands_before_its_objective_and_all_have_as_many_settings(tmp_path):
    names = ("info_nce", "perc_pos+info_nce", "triplet")
    assert {len(contest.settings_of(name)) for name in names} == {9}
    found = quick(table(tmp_path / "a.csv", pairs()), tmp_path / "out", objectives=names)
    assert set(found.scores) == set(names) and found.settings["triplet"]["temperature"] is None


def test_a_setting_at_the_end_of_what_was_tried_is_said():
    assert comparing._ends("info_nce", {"temperature": 0.2, "lr": 1e-3}) == ["info_nce temperature 0.2"]
    assert comparing._ends("info_nce", {"temperature": 0.05, "lr": 1e-3}) == []
    assert comparing._ends("triplet", {"temperature": None, "lr": 1e-4}) == ["triplet lr 0.0001"]


def test_who_wins():
    near = {"a": [0.5, 0.51, 0.52, 0.5], "b": [0.505, 0.515, 0.52, 0.505]}
    winner, words = comparing._won(near, 0.01, 4, 8)
    assert winner is None and words.startswith("No winner: a and b lie within 0.01") and "the power asks for 8" in words
    noisy = {"a": [0.5, 0.3, 0.6, 0.4], "b": [0.6, 0.6, 0.4, 0.5]}
    winner, words = comparing._won(noisy, 0.01, 4, None)
    assert winner is None and "cannot tell this from chance" in words and "more than 32" in words
    clear = {"a": [0.5, 0.51, 0.52, 0.5], "b": [0.6, 0.61, 0.63, 0.6], "c": [0.1, 0.1, 0.12, 0.1]}
    winner, words = comparing._won(clear, 0.01, 4, 4)
    assert winner == "b" and "by 0.102 over the next, at least 0.0945 by the 95% interval" in words
    wide = {"a": [0.5, 0.5, 0.5, 0.5], "b": [0.6, 0.7, 0.65, 0.55]}
    assert comparing._against(wide, "a", 0.01)[0]["p"] < 0.05
    winner, words = comparing._won(wide, 0.01, 4, None)  # sure that there is a lead, and not how large
    assert winner is None and "intervals too wide for 0.01" in words and "more than 32" in words
    assert [row["objective"] for row in comparing._against(clear, "a", 0.01)] == ["b", "c"]


def test_differences_that_are_all_the_same_crown_nobody():
    scores = {"a": [0.1, 0.2, 0.7], "b": [0.35, 0.45, 0.95]}  # 0.25 each, but for the last digit
    assert comparing._won(scores, 0.01, 3, 3)[0] is None
    [row] = comparing._against(scores, "a", 0.01)
    assert row["p"] == 1 and row["verdict"] == "not resolved" and row["effect"] == pytest.approx(0.25)


def test_a_lead_of_less_than_one_query_crowns_nobody():
    clear = {"a": [0.5, 0.51, 0.52, 0.5], "b": [0.54, 0.55, 0.565, 0.54]}
    assert comparing._won(clear, 0.01, 4, 4, 200)[0] == "b"
    winner, words = comparing._won(clear, 0.01, 4, 4, 20)
    assert winner is None and "less than one of the 20 that are judged" in words


def test_a_contest_below_a_floor_says_so():
    scores = {"a": [0.5, 0.5], "b": [0.6, 0.6]}
    below = comparing._limits(scores, {"BM25": 0.7, "features": 0.1}, 50)
    assert "not of others: one of them moves a mean by 0.02" in below[0] and "No contestant lies above the floor 'BM25'" in below[1]
    assert len(comparing._limits(scores, {"BM25": 0.4}, 50)) == 1


def test_a_negative_that_is_nearer_than_the_positive_is_counted(tmp_path):
    found = given.read(table(tmp_path / "a.csv", pairs()))
    documents = torch.nn.functional.normalize(torch.randn(len(found.retrieval.documents), 8), dim=1)
    own = [next(iter(found_)) for found_ in found.retrieval.relevance]
    assert seen.nearer(found, (documents[own], documents)) == 0
    assert seen.nearer(found, (-documents[own], documents)) == 1


# --- elsewhere ------------------------------------------------------------------------------------------------------

DIES = """
import os
from pathlib import Path
from contrastive_nb.encoders import text_tower

def once(width):
    "A network; the first process that asks for one dies."
    marker = Path({marker!r})
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return text_tower(width)
    os._exit(1)
"""


@pytest.fixture
def dies(tmp_path, monkeypatch):
    "The name of an encoder that takes one worker with it."
    (tmp_path / "dying.py").write_text(textwrap.dedent(DIES.format(marker=str(tmp_path / "died"))))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    yield "dying:once"
    sys.modules.pop("dying", None)


def check_nothing_lost(path, dies, tmp_path, executor):
    counted = []
    found = quick(path, tmp_path / "out", encoder=dies, executor=executor, progress=lambda *told: counted.append(told))
    assert (tmp_path / "died").is_file()
    here = quick(path, tmp_path / "here", encoder=dies)
    assert found.scores == here.scores and found.settings == here.settings
    tasks = [json.loads(file.read_text())["task"] for file in (tmp_path / "out" / "trainings").iterdir()]
    wanted = [json.loads(file.read_text())["task"] for file in (tmp_path / "here" / "trainings").iterdir()]
    text = lambda tasks: sorted(json.dumps(task | {"world": ""}) for task in tasks)  # noqa: E731
    assert text(tasks) == text(wanted)
    for what in {told[0] for told in counted}:  # each training counts once
        done = [told[1] for told in counted if told[0] == what]
        assert done == list(range(1, len(done) + 1)) and done[-1] == next(told[2] for told in counted if told[0] == what)


def test_a_pool_that_loses_a_worker_loses_nothing(tmp_path, dies):
    path = table(tmp_path / "a.csv", pairs())
    import multiprocessing

    with concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        check_nothing_lost(path, dies, tmp_path, pool)


@pytest.mark.slow
def test_dask_loses_a_worker_and_nothing_else(tmp_path, dies):
    distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")
    path = table(tmp_path / "a.csv", pairs())
    options = dict(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, local_directory=str(tmp_path / "dask"))
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        check_nothing_lost(path, dies, tmp_path, client.get_executor())


def test_what_a_training_raises_is_not_tried_again(tmp_path):
    path = table(tmp_path / "a.csv", pairs())
    with concurrent.futures.ThreadPoolExecutor(1) as pool, pytest.raises(ModuleNotFoundError, match="nowhere"):
        quick(path, tmp_path / "out", encoder="nowhere:net", executor=pool)
