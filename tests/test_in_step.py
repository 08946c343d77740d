"""Notebooks, package, front page and website's settings in step: exporting and cleaning a copy of the tree changes nothing."""

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import anatomy
import pytest

from contrastive_nb.lab import profiles

ROOT = anatomy.ROOT
KEYS = 'allowed_cell_metadata_keys = ["tags", "jupyter", "alt"]'


def files(folder):
    "Every file's hash; llms.txt is nbdev's by-product and is not kept."
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "llms.txt" and "__pycache__" not in path.parts and ".git" not in path.parts
    }


def changed_by_export_and_clean(folder):
    before = files(folder)
    environment = os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    for command in ("nbdev-export", "nbdev-clean"):
        done = subprocess.run([command], cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    after = files(folder)
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def with_two_pages(folder):
    "The tree without its other pages: what the two commands do to a page takes no more than that page."
    for path in (folder / "nbs").rglob("*.ipynb"):
        if path.stem not in ("01_pairs", "01_infonce"):
            path.unlink()
    return folder


def edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_exporting_and_cleaning_change_nothing(copy_of_the_tree):
    assert changed_by_export_and_clean(copy_of_the_tree) == []


def test_a_hand_edit_of_the_package_and_a_page_without_export_are_found(copy_of_the_tree):
    with_two_pages(copy_of_the_tree)
    edit(copy_of_the_tree / "contrastive_nb" / "pairs.py", "class Pairs", "class Pears")
    edit(copy_of_the_tree / "nbs" / "1_objectives" / "01_infonce.ipynb", "def info_nce(", "def info_ncx(")
    found = changed_by_export_and_clean(copy_of_the_tree)
    assert {"contrastive_nb/pairs.py", "contrastive_nb/objectives/infonce.py"} <= set(found)


def test_without_the_key_cleaning_would_take_the_parameters_tag(copy_of_the_tree):
    "Why pyproject.toml allows tags: without them papermill runs on with the defaults."
    edit(copy_of_the_tree / "pyproject.toml", KEYS, KEYS.replace('"tags", ', ""))
    assert "nbs/1_objectives/01_infonce.ipynb" in changed_by_export_and_clean(with_two_pages(copy_of_the_tree))


@pytest.mark.parametrize("key", ["jupyter", "alt"])
def test_without_the_keys_cleaning_would_show_solutions_and_take_alt_texts(key, copy_of_the_tree):
    edit(copy_of_the_tree / "pyproject.toml", KEYS, KEYS.replace(f', "{key}"', ""))
    assert "nbs/1_objectives/01_infonce.ipynb" in changed_by_export_and_clean(with_two_pages(copy_of_the_tree))


@pytest.mark.parametrize("name", [name for name, path in anatomy.pages().items() if '"code"' in path.read_text(encoding="utf-8")])
def test_papermill_finds_the_parameters(name):
    cells = json.loads(anatomy.pages()[name].read_text(encoding="utf-8"))["cells"]
    assert ["".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", [])] == [anatomy.parameters_of(name)]


def test_nbdev_has_its_table():
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["nbdev"]
    assert table["nbs_path"] == "nbs" and "tags" in table["allowed_cell_metadata_keys"] and table["readme_nb"] == "none.ipynb"


def test_every_profile_parses():
    assert all(profiles.settings(profile, name)["steps"] >= 1 for profile in profiles.PROFILES for name in anatomy.pages())


def front():
    spec = importlib.util.spec_from_file_location("front", ROOT / "nbs" / "_front.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_front_page_is_the_readme():
    readme, page = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "nbs/index.ipynb"))
    assert front().page(readme) == page, "make front copies README.md into the front page"
    assert front().page(readme + "\nMore.\n") != page


def test_the_sidebar_lists_the_chapters_as_they_are():
    module, text = front(), (ROOT / "_quarto.yml").read_text(encoding="utf-8")
    assert module.settings(text, module.pages(ROOT / "nbs")) == text, "make front lists new pages in the sidebar"
    more = module.settings(text, [*module.pages(ROOT / "nbs"), "9_scaling/01_streaming.ipynb", "10_neighbours/01_x.ipynb"])
    scaling, neighbours, guides = (more.index(f"- section: {name}") for name in ("Scaling", "Neighbours", "Guides"))
    assert scaling < neighbours < guides and more.endswith(text[text.index("\nformat:") :])


def test_links_of_the_front_page_hold_inside_the_notebooks_folder():
    cells = front().cells("# T\n\nOne line.\n\nSee [a](nbs/0_x/00_y.ipynb), [b](LICENSE), [c](https://x.org) and [d](#e).\n\n## H\n\nText.")
    assert len(cells) == 3 and "".join(cells[0]["source"]) == "# T\n> One line."
    assert "".join(cells[1]["source"]) == "See [a](0_x/00_y.ipynb), `b`, [c](https://x.org) and [d](#e)."


@pytest.mark.parametrize("check, file, old, new", [
    (test_the_front_page_is_the_readme, "README.md", "\n## ", "\nMore.\n\n## "),
    (test_the_front_page_is_the_readme, "nbs/index.ipynb", "make run", "make ran"),
    (test_the_sidebar_lists_the_chapters_as_they_are, "_quarto.yml", "1_objectives/01_infonce.ipynb", "1_objectives/00_none.ipynb"),
    (test_nbdev_has_its_table, "pyproject.toml", 'readme_nb = "none.ipynb"', 'readme_nb = "index.ipynb"'),
    (lambda: test_papermill_finds_the_parameters("1_objectives/01_infonce"), "nbs/1_objectives/01_infonce.ipynb", '"parameters"', '"knobs"'),
    (lambda: test_papermill_finds_the_parameters("1_objectives/01_infonce"), "nbs/1_objectives/01_infonce.ipynb", "seed = 0", "seed = 1"),
])  # fmt: skip
def test_what_is_out_of_step_is_found(check, file, old, new, copy_of_the_tree, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", copy_of_the_tree)
    monkeypatch.setattr(anatomy, "ROOT", copy_of_the_tree)
    check()
    edit(copy_of_the_tree / file, old, new)
    with pytest.raises(AssertionError):
        check()


def test_a_profile_that_does_not_parse_is_found(copy_of_the_tree, monkeypatch):
    from contrastive_nb import files

    monkeypatch.setenv(files.NOTEBOOKS, str(copy_of_the_tree / "nbs"))
    test_every_profile_parses()
    edit(copy_of_the_tree / "nbs" / "1_objectives" / "settings.ini", "steps = ", "steps = x")
    with pytest.raises(ValueError, match="steps"):
        test_every_profile_parses()
