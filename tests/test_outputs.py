"""Outputs and what made them: every page is bound to a run, a page saved by hand is found and mended."""

import json
import subprocess
import tomllib
from pathlib import Path

import pytest
from commands import CliRunner

from contrastive_nb import cli, files
from contrastive_nb.lab import freshness, outputs

ROOT = Path(__file__).resolve().parents[1]
PAGE = "1_a/01_page"
nbformat = pytest.importorskip("nbformat")


def code(number: int, source: str, *shown: dict) -> dict:
    return {"cell_type": "code", "id": f"cell{number}", "source": [source], "metadata": {}, "outputs": list(shown), "execution_count": None}


def text(words: str) -> dict:
    return {"output_type": "stream", "name": "stdout", "text": words.splitlines(True)}


def value(words: str, count: int | None = None) -> dict:
    return {"output_type": "execute_result", "data": {"text/plain": [words]}, "metadata": {}, "execution_count": count}


class Tree:
    "A git repository of one page, whose outputs a laptop run made."

    def __init__(self, home: Path):
        self.home, self.nbs = home, home / "nbs"
        self.path = self.nbs / f"{PAGE}.ipynb"
        cells = [code(0, "run", value("profile laptop: 8 seeds from 0")), code(1, "print(2)", text("2\n3\n")), code(2, "pass")]
        book = {"cells": cells, "metadata": {"kernelspec": {"name": "python3"}}, "nbformat": 4, "nbformat_minor": 5}
        outputs.bind(book, "laptop", "0123")
        outputs.write(book, self.path)
        self.git("init", "-q")
        self.commit()

    def git(self, *arguments: str) -> None:
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], cwd=self.home, check=True)

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "a page")

    def read(self) -> dict:
        return json.loads(self.path.read_text(encoding="utf-8"))

    def change(self, change) -> None:
        book = self.read()
        change(book)
        outputs.write(book, self.path)

    def said(self) -> list[str]:
        return [str(fault) for fault in outputs.faults(self.nbs)]


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


def show_ci(book):
    book["cells"][0]["outputs"] = [value("profile ci: 2 seeds from 0")]


def test_every_page_has_the_outputs_of_its_recorded_run():
    assert not (found := outputs.faults(ROOT / "nbs")), "\n".join(map(str, found))
    books = [freshness.read_book(ROOT / "nbs" / f"{name}.ipynb") for name in freshness.all_notebooks(ROOT / "nbs")]
    assert all("outputs" in book["metadata"][outputs.KEY] for book in books if any(cell.get("outputs") for cell in book["cells"]))


@pytest.mark.parametrize(
    "change, says",
    [
        (show_ci, "outputs that its recorded laptop run did not make (they say profile ci): it was saved by hand, as from JupyterLab"),
        (lambda book: book["cells"][1].update(outputs=[text("2\n4\n")]), "outputs that its recorded laptop run did not make"),
        (lambda book: book["cells"][1].update(outputs=[]), "outputs that its recorded laptop run did not make"),
        (lambda book: book["cells"][2].update(outputs=[text("2\n")]), "outputs that its recorded laptop run did not make"),
        (lambda book: book["metadata"][outputs.KEY].update(profile="gpu"), "outputs that its recorded gpu run did not make"),
        (lambda book: [cell.update(outputs=[]) for cell in book["cells"]], "has lost the outputs of its laptop run"),
        (lambda book: book["metadata"].pop(outputs.KEY), "has outputs that no recorded run made"),
    ],
)
def test_a_page_saved_by_hand_is_found_and_mended(tree, change, says):
    good = tree.path.read_bytes()
    tree.change(change)
    (said,) = tree.said()
    assert says in said and said.endswith(f"To mend it: contrastive-nb restore {PAGE}")
    assert list(outputs.restore([PAGE], tree.nbs)) == [(PAGE, True)]
    assert tree.path.read_bytes() == good and tree.said() == []
    assert list(outputs.restore([PAGE], tree.nbs)) == []


def test_what_is_no_output_may_change(tree):
    def change(book):
        book["cells"][1].update(source=["print(3)"], execution_count=4, metadata={"jupyter": {"source_hidden": True}})
        book["cells"][0]["outputs"] = [value("profile laptop: 8 seeds from 0", count=1)]
        book["cells"].insert(0, {"cell_type": "markdown", "id": "words", "source": ["words"], "metadata": {}})
        book["cells"].append(code(9, "1"))

    tree.change(change)
    assert tree.said() == []


def test_restoring_keeps_what_was_written_and_is_possible_after_a_bad_commit(tree):
    def change(book):
        show_ci(book)
        book["cells"][1]["source"] = ["print(7)"]
        book["cells"].append(code(9, "1", value("1")))

    tree.change(change)
    tree.commit()
    tree.change(lambda book: book["cells"].pop(2))
    assert list(outputs.restore([PAGE], tree.nbs)) == [(PAGE, True)]
    shown = {"".join(cell["source"]): cell["outputs"] for cell in tree.read()["cells"]}
    assert shown == {"run": [value("profile laptop: 8 seeds from 0")], "print(7)": [text("2\n3\n")], "1": []} and tree.said() == []


def test_a_page_without_a_recorded_run_is_to_be_run(tree):
    tree.change(lambda book: book["metadata"].pop(outputs.KEY))
    tree.git("rm", "-rq", "--cached", "nbs")
    tree.git("commit", "-q", "--amend", "--allow-empty", "-m", "nothing")
    (said,) = tree.said()
    assert said.endswith(f"To mend it: contrastive-nb run {PAGE} --profile laptop --save")
    assert list(outputs.restore([PAGE], tree.nbs)) == [(PAGE, False)]


def test_the_commands_say_it_on_stderr_and_mend_it(tree, monkeypatch):
    monkeypatch.setenv(files.NOTEBOOKS, str(tree.nbs))
    monkeypatch.setattr(freshness, "readable", lambda: ([], []))
    tell = CliRunner().invoke
    assert tell(cli.app, ["stale"]).exit_code == 0
    tree.change(show_ci)
    told = tell(cli.app, ["stale"])
    assert (told.exit_code, told.stdout) == (1, "") and "saved by hand" in told.stderr and f"contrastive-nb restore {PAGE}\n" in told.stderr
    assert tell(cli.app, ["restore", "page"]).stdout == f"{PAGE}: its outputs are back\n"
    assert tell(cli.app, ["stale"]).exit_code == 0


def test_what_is_staged_counts_for_a_commit(tree):
    good = tree.read()
    tree.change(show_ci)
    assert outputs.staged(tree.nbs) == []
    tree.git("add", "-A")
    outputs.write(good, tree.path)
    (fault,) = outputs.staged(tree.nbs)
    assert (fault.page, fault.mend) == (PAGE, f"contrastive-nb restore {PAGE}")


def test_a_save_by_nbclient_is_found(tree):
    nbclient = pytest.importorskip("nbclient")
    tree.change(lambda book: book["cells"][0].update(source=["'profile ci: 2 seeds from 0'"]))
    nb = nbformat.read(tree.path, 4)
    nbclient.NotebookClient(nb, kernel_name="python3").execute()
    nbformat.write(nb, tree.path)
    (said,) = tree.said()
    assert "(they say profile ci)" in said
    assert list(outputs.restore([PAGE], tree.nbs)) == [(PAGE, True)] and tree.said() == []


def test_cleaning_twice_changes_nothing_and_no_digest(tmp_path):
    clean = pytest.importorskip("nbdev.clean")
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["nbdev"]
    assert (config["allowed_metadata_keys"], config["allowed_cell_metadata_keys"]) == (list(outputs.BOOK_KEYS), list(outputs.CELL_KEYS))
    keys = dict(allowed_metadata_keys=outputs.BOOK_KEYS, allowed_cell_metadata_keys=outputs.CELL_KEYS)
    for name in freshness.all_notebooks(ROOT / "nbs"):
        before = freshness.read_book(ROOT / "nbs" / f"{name}.ipynb")
        once = freshness.read_book(ROOT / "nbs" / f"{name}.ipynb")
        clean.clean_nb(once, **keys)
        assert once == before, name
    picture = {
        "output_type": "display_data",
        "metadata": {"needs": 1},
        "data": {"image/png": "iVBO\n", "text/plain": ["<A at 0x7f>\n", "b"]},
    }
    hidden = code(0, "x", picture, value("<B at 0x1a>", count=3)) | {"metadata": {"jupyter": {"source_hidden": True}, "collapsed": True}}
    book = {"cells": [hidden], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    raw = outputs.digest(book, "ci")
    clean.clean_nb(book, **keys)
    once = json.dumps(book)
    clean.clean_nb(book, **keys)
    assert json.dumps(book) == once and outputs.digest(book, "ci") == raw != outputs.digest(book, "laptop")
    assert book["cells"][0]["metadata"] == {"jupyter": {"source_hidden": True}} and "0x" not in once
