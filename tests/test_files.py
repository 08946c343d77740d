"""Files are whole: the old one or the new one, never a half, and nothing is left beside them."""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from contrastive_nb import files

ROOT = Path(files.__file__).parent


@pytest.mark.parametrize("content", ["Zürich\n", b"\x00\xff", ""])
def test_writes_text_and_bytes_into_a_new_folder(tmp_path, content):
    path = files.write_whole(tmp_path / "deep" / "x.bin", content)
    assert path.read_bytes() == (content.encode("utf-8") if isinstance(content, str) else content)
    files.write_whole(str(path), "second")
    assert path.read_text() == "second" and [p.name for p in path.parent.iterdir()] == ["x.bin"]


def test_what_goes_wrong_leaves_the_old_file_and_nothing_beside_it(tmp_path, monkeypatch):
    path = files.write_whole(tmp_path / "x.txt", "old")
    with pytest.raises(TypeError):
        files.write_whole(path, 3)

    def full(number):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)  # the disk is full when the bytes must go to it
    with pytest.raises(OSError, match="no space"):
        files.write_whole(path, "new")
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["x.txt"]


def test_the_bytes_are_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    order, sync, rename = [], os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda number: (order.append("disk"), sync(number)))
    monkeypatch.setattr(Path, "replace", lambda part, path: (order.append("name"), rename(part, path)))
    files.write_whole(tmp_path / "x.txt", "new")
    assert order == ["disk", "name"]


def test_threads_that_write_one_file_do_not_disturb_each_other(tmp_path):
    path, texts = tmp_path / "x.txt", [f"{k}" * 200_000 for k in range(8)]
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(partial(files.write_whole, path), texts * 4)) == {path}
    assert path.read_text() in texts and [p.name for p in tmp_path.iterdir()] == ["x.txt"]


def test_unfinished_files_of_one_path_and_of_no_other_are_found(tmp_path):
    for name in ("x.pt", "x.pt.12.part", "x.pt.3.part", "xx.pt.3.part", "x.pt.part", "x[1].pt.3.part"):
        (tmp_path / name).touch()
    assert [p.name for p in files.parts_of(tmp_path / "x.pt")] == ["x.pt.12.part", "x.pt.3.part"]
    assert [p.name for p in files.parts_of(tmp_path / "x[1].pt")] == ["x[1].pt.3.part"]


def test_nobody_else_writes_a_file_beside_its_place_and_renames_it():
    own = {"files.py", "lab/worker.py"}  # the worker runs without the package
    renames = re.compile(r"\b(part|os)\.(replace|rename)\(\w+[,)]")
    found = {p.relative_to(ROOT).as_posix() for p in ROOT.rglob("*.py") if renames.search(p.read_text(encoding="utf-8"))}
    assert found - own == set()
