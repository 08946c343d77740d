"""What the website's search looks through: the sections of a page and their other names. The search itself is read in test_browser.py."""

import pytest
import yaml

from contrastive_nb.book import catalogue
from contrastive_nb.book.site import search

PAGE = """<html><body><nav>Elsewhere</nav><main id="content"><p class="chapter">Objectives</p><h1>A &amp; <code>b</code></h1><p class="lede">What it is.</p>
<div class="page-actions"><a>Download</a></div><h2 id="one">One</h2><p>Zero. Before the <em>loss</em>. It <b>pulls</b> by <math display="inline"><mi>t</mi>
<annotation encoding="tex">\\tau</annotation></math>:</p><p><span id="eq-2" class="numbered"><math display="block"><mi>x</mi></math></span> after.</p>
<pre>code</pre><details class="callout tip"><summary>Solution</summary><p>Secret.</p></details><h3 id="two"><code>two_views</code></h3>
<ul><li>left</li><li>right</li></ul><h2 id="references">References</h2><p>Somebody 2020.</p></main></body></html>"""


def test_a_page_falls_into_its_sections():
    found = search.sections("1_objectives/a.html", PAGE)
    assert [(s.place.partition("#")[2], s.page, s.heading, s.kind, s.text) for s in found] == [
        ("", "A & b", "A & b", "", "What it is."),
        ("one", "A & b", "One", "", "Zero. Before the loss. It pulls by t : after."),
        ("eq-2", "A & b", "One, equation (2)", "equation", "Before the loss. It pulls by t :"),
        ("two", "A & b", "two_views", "", "left right"),
    ]
    assert {s.kind for s in search.sections("api/a.html", PAGE)} == {"API", "equation"}
    assert search.sections("moved.html", "<html><body>Elsewhere</body></html>") == []


@pytest.mark.parametrize("address, row, kind, after", [
    ("catalogue.html", '<table><tr id="S01"><td>CACR</td><td>Its idea</td></tr></table>', "method", "CACR Its idea"),
    ("ledger.html", '<table><tr id="S01-x"><td>confirmed</td></tr></table>', "claim", "confirmed"),
    ("references.html", '<div id="ref-a" class="csl-entry">A. 2020.</div>', "work", "A. 2020."),
])  # fmt: skip
def test_a_row_and_a_work_are_places_of_their_own(address, row, kind, after):
    page, one = search.sections(address, f"<main><h1>All</h1><p>Before.</p>{row}<p>After.</p></main>")
    assert (one.kind, one.text) == (kind, after) and one.place.startswith(f"{address}#")
    assert page.text == "Before. After."


def site_of(folder, words):
    "A tree with these other names, and a site with a row a method and the page of words.yml."
    (folder / "nbs" / "_site_assets").mkdir(parents=True)
    (folder / search.WORDS).write_text(yaml.safe_dump(words))
    out = folder / "site"
    out.mkdir()
    rows = "".join(f'<tr id="{entry["id"]}"><td>x</td></tr>' for entry in catalogue.entries())
    (out / "catalogue.html").write_text(f"<main><h1>Catalogue</h1><table>{rows}</table></main>")
    (out / "start.html").write_text("<main><h1>Start</h1></main>")
    return out


def test_other_names_are_written_with_their_place_and_a_lost_place_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(search.registry, "methods", lambda: [])
    out = site_of(tmp_path / "right", {"start.html": ["install"]})
    entries = catalogue.entries()
    assert search.write(tmp_path / "right", out) == len(entries) + 2
    script = (out / "_site_assets" / "sections.js").read_text(encoding="utf-8")
    assert '["start.html", "Start", "Start", "", "install", ""]' in script
    assert f'"catalogue.html#S01", "Catalogue", "{entries[0]["aliases"][0]}", "method", "{", ".join(entries[0]["aliases"])}"' in script
    out = site_of(tmp_path / "wrong", {"gone.html": ["lost"], "start.html": ["install"]})
    with pytest.raises(ValueError, match="^gone.html: nbs/_site_assets/words.yml or the catalogue names a place"):
        search.write(tmp_path / "wrong", out)


@pytest.mark.parametrize("place, fits", [
    ("api/objectives.infonce.html#info_nce", True), ("api/objectives.html#info_nce", True),
    ("api/objectives.infonce.html#info", False), ("api/lab.objectives.infonce.html#info_nce", False),
])  # fmt: skip
def test_a_method_is_found_where_its_module_defines_it(place, fits):
    assert search._is_function(place, "contrastive_nb.objectives:info_nce") is fits
