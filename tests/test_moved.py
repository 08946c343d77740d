"""Names of version 0.1: each imports for one version, from where it was, and says where it is now."""

import importlib
import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from contrastive_nb import _moved

NAMES = json.loads(Path(__file__).with_name("public_0_1.json").read_text(encoding="utf-8"))  # module -> its public names in 0.1


@pytest.mark.parametrize("module", NAMES)
def test_every_public_name_of_0_1_imports_and_a_moved_one_says_where_it_is(module):
    for name in NAMES[module]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            value = getattr(importlib.import_module(module), name)
        inside = module.partition(".")[2]
        if inside in _moved.MOVED or name in _moved.LEFT.get(inside, ()):
            said = next(str(w.message) for w in caught if issubclass(w.category, DeprecationWarning) and "is now" in str(w.message))
            home, _, new = re.fullmatch(rf"{module}\.{name} is now ([\w.]+)", said).group(1).rpartition(".")
            assert getattr(importlib.import_module(home), new) is value
        else:
            assert not [w for w in caught if "is now" in str(w.message) and module != "contrastive_nb.registry"]


def test_a_from_import_warns_where_it_stands(tmp_path):
    (tmp_path / "old.py").write_text("from contrastive_nb.profiles import open_run\nfrom contrastive_nb import plots\nplots.style\n")
    done = subprocess.run([sys.executable, "-W", "always::DeprecationWarning", tmp_path / "old.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "old.py:1: DeprecationWarning: contrastive_nb.profiles.open_run is now contrastive_nb.lab.open_run" in done.stderr
    assert "old.py:3: DeprecationWarning: contrastive_nb.plots.style is now contrastive_nb.book.plots.style" in done.stderr


def test_what_never_was_is_not_there():
    with pytest.raises(AttributeError, match="module 'contrastive_nb.manners' has no attribute 'modesty'"):
        importlib.import_module("contrastive_nb.manners").modesty
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("contrastive_nb.nowhere")


def test_the_changelog_has_the_table():
    text = (Path(__file__).parents[1] / "CHANGELOG.md").read_text(encoding="utf-8").split("## 0.1.0")[0]
    assert [module for module in _moved.MOVED if f"{module}`" not in text and f"`{module}`" not in text] == []


def test_help_shows_what_a_user_imports():
    import contrastive_nb

    for line in re.findall(r"^ {4}(from contrastive_nb[\w.]* import [\w, ]+?)(?:, \.\.\.)?  ", contrastive_nb.__doc__, re.M):
        exec(line, {})
    assert "from contrastive_nb.objectives import info_nce" in contrastive_nb.__doc__
