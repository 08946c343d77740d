"""The website as a reader sees it: every page in Chromium, and three notebooks run in JupyterLab. Nothing leaves this machine."""

import contextlib
import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from functools import partial
from pathlib import Path

import pytest

from contrastive_nb import files
from contrastive_nb.lab import outputs

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
RAW = re.compile(r"\\(?:frac|sum|mathcal|mathbb|begin|text|tag|left|log|quad|ell)\b|\$\$|^:::|\{#(?:eq|fig)-|(?<!\w)@fig-", re.M)
FRONT_BYTES, PAGE_BYTES = 300_000, 1_500_000
# One page of each kind is checked whole and in the dark too; elsewhere the colours of code and the insides
# of formulas, set by the same rules, are left out: they are nine tenths of the work.
WHOLE = {
    "index.html",
    "catalogue.html",
    "ledger.html",
    "references.html",
    "0_foundations/pairs.html",
    "1_objectives/infonce.html",
    "api/pairs.html",
}
DESK, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}

if CHROMIUM is None:
    pytest.skip("Chromium is not on PATH: neither the website nor JupyterLab is read in a browser", allow_module_level=True)
pytestmark = pytest.mark.browser
axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed: the website is not read in a browser"
)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: the website is not read in a browser")


# --- a site and a browser ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def browser():
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


RENDERERS = ["pandoc", *([pytest.param("quarto", marks=pytest.mark.quarto)] if shutil.which("quarto") else [])]


@pytest.fixture(scope="session")
def tree(copy_tree, tmp_path_factory):
    "What a fresh clone would hold."
    return copy_tree(tmp_path_factory.mktemp("clone") / "tree")


@pytest.fixture(scope="session", params=RENDERERS)
def site(request, tree):
    "The folder of the built website; with Quarto on PATH its own as well."
    out = tree / f"_site-{request.param}"
    environment = os.environ | {"CONTRASTIVE_NB_BUILD": str(tree / "build"), "PYTHONPATH": str(tree)}
    kept = files.build() / "site" / "pandoc"  # pages that pandoc has made from the same text before
    kept.mkdir(parents=True, exist_ok=True)
    (tree / "build" / "site").mkdir(parents=True, exist_ok=True)
    (tree / "build" / "site" / "pandoc").symlink_to(kept)
    command = [sys.executable, "-m", "contrastive_nb.book.site", "--output", str(out), "--renderer", request.param]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@contextlib.contextmanager
def serve(folder):
    "The folder on this machine's own address, for a while."

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def send_error(self, code, *said):
            "As hosts of pages do: the site's own page, at the address that was asked for."
            lost = Path(folder) / "404.html"
            if code != 404 or not lost.exists():
                super().send_error(code, *said)
                return
            self.send_response(404)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(lost.read_bytes())

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder))
    threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def served(site):
    with serve(site) as address:
        yield address


SEEN = """() => ({
  ids: [...document.querySelectorAll("[id]")].map(e => e.id),
  links: [...document.querySelectorAll("a[href]")].map(a => a.href),
  broken: [...document.images].filter(i => !(i.complete && i.naturalWidth)).map(i => i.src),
  silent: [...document.querySelectorAll("main img")].filter(i => !i.alt.trim() || /without a description/.test(i.alt)).map(i => i.src),
  images: [...document.images].map(i => i.src),
  text: (() => { const copy = document.querySelector("main").cloneNode(true);
    copy.querySelectorAll("pre, code, annotation, script, style").forEach(e => e.remove()); return copy.textContent; })(),
})"""
LOADED = """() => Promise.all([...document.images].map(i => { i.loading = "eager"; return i.decode().catch(() => 0); }))"""
WIDE = """() => document.documentElement.scrollWidth <= innerWidth ? [] : [...document.querySelectorAll("main *")]
  .filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !e.parentElement.closest("pre, .scroll, .formula"))
  .slice(0, 3).map(e => e.outerHTML.slice(0, 120))"""

CUT = """() => [...document.querySelectorAll("main pre, main td, main th, main dd, main summary, #sidebar a, #sidebar summary, .claim")]
  .filter(e => e.clientWidth && e.scrollWidth > e.clientWidth + 1).slice(0, 3).map(e => e.outerHTML.slice(0, 120))"""

PLAIN = """() => { document.querySelectorAll("pre code").forEach(e => { e.textContent = e.textContent; });
  document.querySelectorAll("math").forEach(e => e.replaceChildren()); }"""


# Rows of a long table are set by the same rules: axe looks at the first of them, and every week at all.
FEW = """() => document.querySelectorAll("main tbody").forEach(body => [...body.rows].slice(12).forEach(row => row.remove()))"""


def unfold(page):
    page.evaluate("() => document.querySelectorAll('main details').forEach(d => { d.open = true; })")


def serious(page, within=None):
    "What axe-core calls serious or critical on the page, or in a part of it, as it is shown now."
    scheme = page.evaluate("() => matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light'")
    found = axe.Axe().run(page, context=within, options={"resultTypes": ["violations"]}).response["violations"]
    found = [(fault["id"], node) for fault in found if fault["impact"] in ("serious", "critical") for node in fault["nodes"][:3]]
    return [f"{scheme}: {rule}: {node['html'][:150]} {node['failureSummary'][:200]}" for rule, node in found]


def reader(context):
    "A function that looks at the page of an address, whole or without the insides of code and formulas, and returns what there is to see."
    page, said, asked = context.new_page(), [], []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))

    def look(address, whole, few=False):
        said.clear()
        asked.clear()
        page.set_viewport_size(DESK)
        page.emulate_media(color_scheme="light")
        page.goto(address)
        page.evaluate(LOADED)
        unfold(page)
        seen = page.evaluate(SEEN) | {"cut": page.evaluate(CUT)}
        page.set_viewport_size(PHONE)
        seen |= {"wide": page.evaluate(WIDE), "cut": seen["cut"] + page.evaluate(CUT)}
        page.set_viewport_size(DESK)
        faults = []
        if few:
            page.evaluate(FEW)
        if whole:
            faults += serious(page)
            page.emulate_media(color_scheme="dark")
        else:
            page.evaluate(PLAIN)
        return seen | {"faults": faults + serious(page), "said": list(said), "asked": list(asked), "raw": RAW.findall(seen["text"])}

    return look


@pytest.fixture(scope="session", params=["kinds", pytest.param("every", marks=pytest.mark.slow)])
def read(request, site, served, browser):
    "What there is to see on one page of each kind, or on every page, read once: address -> findings."
    context = browser.new_context()
    look = reader(context)
    names = [path.relative_to(site).as_posix() for path in sorted(site.rglob("*.html"))]
    few = request.param == "kinds"
    found = {name: look(served + name, name in WHOLE, few) for name in names if name in WHOLE or not few}
    context.close()
    return found


def dead_links(read, site, served) -> list[str]:
    "Links and anchors of these pages that lead nowhere, or to a notebook in place of its page."
    dead = []
    for name, seen in read.items():
        for link in seen["links"]:
            where, anchor = urllib.parse.urldefrag(urllib.parse.unquote(link))
            if not where.startswith(served):
                continue
            target = where.removeprefix(served).partition("?")[0] or "index.html"
            target += "index.html" if target.endswith("/") else ""
            if not (site / target).is_file():
                dead.append(f"{name} -> {target}")
            elif anchor and not anchor.startswith("?") and target in read and anchor not in read[target]["ids"]:
                dead.append(f"{name} -> {target}#{anchor}")
            elif target.endswith(".ipynb") and not target.startswith(("notebooks/", "colab/")):
                dead.append(f"{name} -> {target}, a notebook instead of its page")
    return dead


def each(read, key):
    "The pages on which something of this kind was found."
    return {name: seen[key] for name, seen in read.items() if seen[key]}


# --- every page -------------------------------------------------------------------------------------------------------------------


def test_every_notebook_and_every_module_has_a_page(site, tree):
    from contrastive_nb.book.site import sources

    made = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    names = (path.relative_to(tree / "nbs") for path in (tree / "nbs").rglob("*.ipynb"))
    assert {sources.address(name.as_posix()) for name in names if name.parts[0][0] not in "_."} <= made
    assert {
        "404.html",
        "index.html",
        "catalogue.html",
        "ledger.html",
        "references.html",
        "api/index.html",
        "api/pairs.html",
        *WHOLE,
    } <= made


def test_links_and_anchors_lead_somewhere(read, site, served):
    assert dead_links(read, site, served) == []


def test_no_two_places_of_a_page_have_the_same_name(read):
    assert {
        name: sorted({i for i in seen["ids"] if seen["ids"].count(i) > 1})
        for name, seen in read.items()
        if len(set(seen["ids"])) < len(seen["ids"])
    } == {}


def test_images_load_and_say_what_they_show(read):
    assert each(read, "broken") == {}
    assert each(read, "silent") == {}
    assert any(seen["images"] for seen in read.values())


def test_no_raw_formula_and_no_raw_markup(read):
    assert each(read, "raw") == {}


def test_the_console_stays_silent(read):
    assert each(read, "said") == {}


def test_nothing_is_asked_of_another_host(read, served):
    assert {
        name: away
        for name, seen in read.items()
        if (away := [url for url in seen["asked"] if not url.startswith((served, "data:", "blob:"))])
    } == {}


def test_a_phone_needs_no_sideways_scrolling(read):
    assert each(read, "wide") == {}


def test_no_code_and_no_word_is_cut(read):
    assert each(read, "cut") == {}


def test_axe_finds_no_serious_fault_in_light_and_dark(read):
    assert each(read, "faults") == {}


def test_pages_are_light(read, site, served):
    heavy = {}
    for name, seen in read.items():
        files = {site / name, *(site / urllib.parse.unquote(src).removeprefix(served) for src in seen["images"] if src.startswith(served))}
        weight = sum(path.stat().st_size for path in files)
        if weight > (FRONT_BYTES if name == "index.html" else PAGE_BYTES):
            heavy[name] = weight
    assert heavy == {}


BAD = """<!DOCTYPE html><html lang="en"><head><title>Bad</title><meta name="viewport" content="width=device-width"></head><body><main>
<h1>Bad</h1><img src="none.png" alt="Gone"><img src="data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=" alt="">
<p>So $$\\frac{1}{2}$$ is left. <a href="none.html">Dead</a> <a href="bad.html#none">No place</a></p>
<pre style="width: 90px; overflow: hidden">a line that is longer than this</pre>
<p style="width: 900px; color: #ccc; background: #fff">Pale and wide.</p>
<script src="http://127.0.0.1:9/away.js"></script></main></body></html>"""


def test_the_reader_finds_the_faults_of_a_bad_page(tmp_path, browser):
    (tmp_path / "bad.html").write_text(BAD, encoding="utf-8")
    context = browser.new_context()
    with serve(tmp_path) as address:
        seen = reader(context)(address + "bad.html", False)
    context.close()
    assert len(seen["broken"]) == len(seen["silent"]) == len(seen["wide"]) == 1 and len(seen["cut"]) == 2  # at both widths
    assert seen["raw"] and seen["said"] and any("color-contrast" in fault for fault in seen["faults"])
    assert [url for url in seen["asked"] if not url.startswith((address, "data:"))] == ["http://127.0.0.1:9/away.js"]
    assert dead_links({"bad.html": seen}, tmp_path, address) == ["bad.html -> none.html", "bad.html -> bad.html#none"]


# --- what a reader does -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1300, "height": 900}, accept_downloads=True)
    yield context.new_page()
    context.close()


def rows(page, table):
    return page.locator(f"#{table} tbody tr:visible")


def test_the_catalogue_can_be_searched_filtered_and_sorted(page, served):
    page.goto(served + "catalogue.html")
    folded = rows(page, "catalogue").count()
    assert 0 < folded < 98 and all(
        "planned" not in text for text in page.locator("#catalogue tr:visible td:nth-child(5)").all_inner_texts()
    )
    page.get_by_label("planned").check()
    assert rows(page, "catalogue").count() == 98
    ids = page.locator("#catalogue tbody tr td:first-child").all_inner_texts()
    assert ids == [f"S{i:02d}" for i in range(1, 96)] + ["X01", "X02", "X03"]
    search = page.get_by_label("Search: All methods")
    search.fill("infonce")
    assert 0 < rows(page, "catalogue").count() < 98
    search.fill("")
    page.get_by_label("Filter by state").select_option("derived")
    derived = rows(page, "catalogue").count()
    assert 0 < derived < 98 and all("derived" in text for text in rows(page, "catalogue").all_inner_texts())
    page.get_by_label("Filter by state").select_option("")
    head = page.get_by_role("button", name="id", exact=True)
    head.click()
    head.click()
    assert page.locator("#catalogue tbody tr td:first-child").first.inner_text() == "X03"
    assert page.locator("#catalogue th[aria-sort]").get_attribute("aria-sort") == "descending"


def test_the_cheat_sheet_is_printed_on_one_page(page, served):
    page.goto(served + "guides/cheat_sheet.html")

    def sheets():
        return len(re.findall(rb"/Type\s*/Page\b", page.pdf(prefer_css_page_size=True)))

    assert sheets() == 1
    page.emulate_media(media="print")
    assert page.locator("main table.when tbody tr:visible").count() == page.locator("main table.choices tbody tr:visible").count() >= 10
    assert page.locator("main math").first.is_visible() and not page.locator("#summary").is_visible()
    page.add_style_tag(content="body.sheet table { font-size: 16pt !important; }")  # what does not fit is seen
    assert sheets() > 1


def test_a_word_leads_to_its_entry_in_the_glossary(page, served):
    page.goto(served + "1_objectives/infonce.html")
    word = page.locator("main a.term").first
    assert word.get_attribute("title") and page.locator(":is(h1, h2, h3, pre, code, math, a) a.term").count() == 0
    word.click()
    assert page.url.startswith(served + "guides/glossary.html#term-")
    assert page.locator("dl.glossary dt:target").is_visible()


def test_what_is_only_planned_is_unfolded_by_a_link_and_found_by_a_search(page, served):
    page.goto(served + "catalogue.html")
    planned = page.locator("#catalogue tr.planned").first
    name = planned.get_attribute("id")
    assert not planned.is_visible()
    page.get_by_label("Search: All methods").fill(planned.locator("td").nth(2).evaluate("cell => cell.firstChild.textContent"))
    assert planned.is_visible()
    page.goto("about:blank")
    page.goto(f"{served}catalogue.html#{name}")
    playwright.expect(page.locator(f"#{name}")).to_be_in_viewport()


def test_method_function_paper_and_claim_lead_to_one_another(page, served):
    def follow(link, ends):
        link.first.click()
        assert page.url.endswith(ends), page.url

    page.goto(served + "catalogue.html#X01")
    row = page.locator("#X01")
    claim = row.locator("td:nth-child(8) a[href*='outcome-']").first.get_attribute("href")
    follow(row.locator("td:nth-child(7) a", has_text="info_nce"), "api/objectives.infonce.html#info_nce")
    follow(page.locator(".derived a", has_text="in the ledger"), "ledger.html#?paper=X01")
    page.locator("#ledger tbody tr:not(:visible)").first.wait_for(state="attached")  # the table was asked for one paper
    assert 0 < rows(page, "ledger").count() < page.locator("#ledger tbody tr").count()
    follow(page.locator(f"#{claim.partition('#')[2]} a code", has_text="info_nce"), "api/objectives.infonce.html#info_nce")
    follow(page.locator(".derived a", has_text="Catalogue"), "catalogue.html#X01")
    follow(row.locator("td:nth-child(3) a"), "references.html#ref-oord2018representation")
    assert page.locator(":target a").first.get_attribute("href") == "https://arxiv.org/abs/1807.03748"
    page.goto(served + "1_objectives/infonce.html")
    follow(page.locator(".page-actions a", has_text="Catalogue"), "catalogue.html#X01")


def test_a_row_of_the_catalogue_leads_to_its_page_and_its_function(page, served):
    page.goto(served + "catalogue.html")
    page.locator("#X01 td:nth-child(6) a").first.click()
    assert page.locator("h1").first.inner_text().startswith("InfoNCE")
    page.locator(".exported-note a", has_text="info_nce").first.click()
    assert page.url.endswith("api/objectives.infonce.html#info_nce")
    page.get_by_role("link", name="Where it is derived").first.click()
    assert page.url.endswith("1_objectives/infonce.html#def-info_nce")


def test_the_ledger_has_every_record(page, served, tree):
    from contrastive_nb.book import ledger

    claims = {row.record["id"]: row for row in ledger.rows(ledger.recorded())}
    assert set(claims) <= {path.stem for path in (tree / "data" / "claims").glob("*.json")}
    page.goto(served + "ledger.html")
    every = {
        name: page.locator(f"#{name} tbody tr").evaluate_all("lines => lines.map(line => line.id)")
        for name in ("ledger", "mechanism", "apart", "earlier")
    }
    assert sorted(sum(every.values(), [])) == sorted(claims) and rows(page, "ledger").count() == len(every["ledger"])
    name, row = next(iter(sorted((name, row) for name, row in claims.items() if row.run and name in every["ledger"])))
    text = page.locator(f"#{name}").inner_text()
    assert row.verdict in text and f"{row.run['effect']:.3g}".replace("-", "−") in text
    page.get_by_label("Filter by verdict").select_option(row.verdict)
    shown = rows(page, "ledger").all_inner_texts()
    assert len(shown) == sum(claims[name].verdict == row.verdict for name in every["ledger"]) and all(row.verdict in text for text in shown)


def test_a_paper_opens_to_its_claims_and_a_claim_to_what_stands_behind_it(page, served):
    page.goto(served + "ledger.html")
    paper = page.locator("table.papers tbody tr").first
    link = paper.locator("details a").first
    assert paper.locator("[role=img]").get_attribute("aria-label") and not link.is_visible()
    paper.locator("summary").click()
    name = link.inner_text()
    page.get_by_label("Search: Outcomes").fill("nothing has these words")
    assert rows(page, "ledger").count() == 0
    link.click()  # what was filtered out is there again, and in sight
    line = page.locator(f"#{name}")
    playwright.expect(line).to_be_in_viewport()
    assert not line.locator("dl").is_visible()
    line.locator("summary").click()
    assert "counts from" in line.locator("dl").inner_text()


def filters(page):
    "What is chosen and what is shown: search, verdict, paper, count."
    search, *chosen = (page.get_by_label(name).input_value() for name in ("Search: Outcomes", "Filter by verdict", "Filter by paper"))
    return search, *chosen, rows(page, "ledger").count()


def test_what_is_chosen_stands_in_the_address(page, served):
    page.goto(served + "ledger.html")
    every = rows(page, "ledger").count()
    paper = page.locator("#ledger tbody tr td[data-value]").nth(every // 2).get_attribute("data-value")
    page.get_by_label("Filter by paper").select_option(paper)
    of_paper = rows(page, "ledger").count()
    assert 0 < of_paper < every and urllib.parse.urlsplit(page.url).fragment == "?" + urllib.parse.urlencode({"paper": paper})
    verdict = page.locator("#ledger tbody tr:visible .verdict").first.inner_text()
    page.get_by_label("Filter by verdict").select_option(verdict)
    page.get_by_label("Search: Outcomes").press_sequentially("the")
    asked = urllib.parse.parse_qs(urllib.parse.urlsplit(page.url).fragment.removeprefix("?"))
    assert asked == {"paper": [paper], "verdict": [verdict], "search": ["the"]}
    linked, whole = page.url, filters(page)
    assert whole[:3] == ("the", verdict, paper) and whole[3] <= of_paper
    page.go_back()  # three letters are one step
    assert filters(page)[:3] == ("", verdict, paper)
    page.go_back()
    assert filters(page) == ("", "", paper, of_paper)
    page.go_back()
    assert filters(page) == ("", "", "", every) and page.url == served + "ledger.html"
    for _ in range(3):
        page.go_forward()
    assert filters(page) == whole and page.url == linked
    other = page.context.new_page()  # a reader who was sent the link
    other.goto(linked)
    assert filters(other) == whole
    other.get_by_label("Filter by verdict").select_option("")
    other.get_by_label("Filter by paper").select_option("")
    other.get_by_label("Search: Outcomes").fill("")
    assert other.url == served + "ledger.html" and filters(other) == ("", "", "", every)


def test_an_address_that_asks_for_what_is_not_there_shows_all(page, served):
    page.goto(served + "ledger.html")
    every = rows(page, "ledger").count()
    page.goto("about:blank")
    page.goto(served + "ledger.html#?paper=S99&colour=red")
    assert filters(page) == ("", "", "", every)
    page.goto("about:blank")
    page.goto(served + "catalogue.html#?state=derived")
    assert page.get_by_label("Filter by state").input_value() == "derived" and 0 < rows(page, "catalogue").count() < 98


def test_a_notebook_page_can_be_downloaded_cited_and_taken_to_colab(page, served, site, tree):
    page.goto(served + "1_objectives/infonce.html")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download notebook").click()
    assert Path(download.value.path()).read_bytes() == (tree / "nbs/1_objectives/01_infonce.ipynb").read_bytes()
    page.locator("details.cite summary").click()
    assert "@misc{contrastive_nb_01_infonce," in page.locator("details.cite pre").inner_text()
    copy = json.loads((site / "colab/1_objectives/01_infonce.ipynb").read_text())
    assert (
        "%pip install" in "".join(copy["cells"][0]["source"])
        and len(copy["cells"]) == len(json.loads((tree / "nbs/1_objectives/01_infonce.ipynb").read_text())["cells"]) + 1
    )


def test_light_and_dark_can_be_chosen_and_are_remembered(page, served, site):
    if (site / "site_libs").exists():
        pytest.skip("Quarto brings its own switch")
    page.goto(served + "index.html")
    paper = "() => getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(paper)
    page.locator("#scheme").click()
    assert page.evaluate(paper) != before
    page.goto(served + "ledger.html")
    assert page.evaluate(paper) != before


def test_formulas_figures_and_folds_are_what_they_should_be(page, served):
    page.goto(served + "1_objectives/infonce.html")
    assert page.locator("math").count() > 20
    assert page.locator("#eq-2 math").count() == 1 and page.locator("#eq-2 .eqno").inner_text() == "(2)"
    assert page.locator("a[href$='#eq-2']").count() >= 1
    assert page.get_by_text("Solution", exact=True).count() >= 1


def test_the_front_page_says_in_one_screen_what_this_is(page, served):
    page.set_viewport_size(DESK)
    page.goto(served + "index.html")
    shown = [
        page.locator(name)
        for name in ("h1", ".hero img", ".hero > div:first-child > pre", ".hero pre.python", ".hero .verdict", ".bar .about")
    ]
    for box in (place.first.bounding_box() for place in shown):
        assert box and box["y"] + box["height"] <= 900
    assert page.locator(".hero pre").first.inner_text().split("\n")[:2] == ["make run", "make test"]
    assert "info_nce(" in shown[3].inner_text() and "Apache-2.0" in shown[5].inner_text()
    claim = page.locator(".one-verdict a").first.get_attribute("href")
    said = page.locator(".one-verdict").inner_text()
    page.locator(".one-verdict a").first.click()
    row = page.locator(f"#{claim.partition('#')[2]}")
    assert row.locator(".verdict").inner_text() in said and row.locator("td:nth-child(6)").inner_text() in said


def test_figures_are_on_a_card_that_is_dimmed_in_the_dark(page, served):
    page.goto(served + "1_objectives/infonce.html")
    look = "image => { const {filter, backgroundColor} = getComputedStyle(image); return [filter, backgroundColor]; }"
    light = page.locator("figure img").first.evaluate(look)
    page.emulate_media(color_scheme="dark")
    dark = page.locator("figure img").first.evaluate(look)
    assert light == ["none", "rgb(255, 255, 255)"] and dark[1] == light[1] and dark[0].startswith("brightness(0.")


BOXED = """const [box] = document.querySelectorAll("math .boxed"), frame = box.getBoundingClientRect();
return [document.querySelectorAll("menclose").length, getComputedStyle(box).borderTopWidth, [...box.children].every(part => {
  const inner = part.getBoundingClientRect();
  return inner.left > frame.left && inner.right < frame.right && inner.top > frame.top && inner.bottom < frame.bottom; })];"""


def test_a_boxed_equation_has_one_frame_around_it(page, served):
    page.goto(served + "3_debiasing/debiased.html")
    assert page.evaluate(f"() => {{ {BOXED} }}") == [0, "1px", True]


# --- the search ---------------------------------------------------------------------------------------------------------------------

# what a reader types, and a place that must be among the first three
QUERIES = {
    "SimCLR": "1_objectives/infonce.html",
    "MoCo": "2_hard_negatives/mochi.html",
    "two_views": "api/pairs.html#two_views",
    "AUC": "0_foundations/metrics.html#auc-how-often-is-a-positive-above-a-negative",
    "CLIP": "catalogue.html#S81",
    "hard negatives": "2_hard_negatives/hardness.html",
    "temperature": "1_objectives/temperature.html",
    "false negatives": "3_debiasing/debiased.html",
    "triplet loss": "1_objectives/triplet.html",
    "mean reciprocal rank": "0_foundations/metrics.html#mean-reciprocal-rank",
    "memory": "9_scaling/cached.html",
    "gradient cache": "9_scaling/cached.html",
    "ranking": "1_objectives/ranknet_ranklist.html",
    "learning rate": "0_foundations/training.html",
    "NaN": "0_foundations/training.html",
    "own data": "0_foundations/data.html#your-own-texts",
    "sentence-transformers": "0_foundations/encoders.html#a-sentence-encoder-that-somebody-has-trained",
    "mutual information equation": "1_objectives/infonce.html#eq-3",
    "how do I mine hard negatives?": "2_hard_negatives/mining.html",
}


def ask(page, query):
    "Type into the open search; what it says, and its options, once it has answered."
    status = page.locator("#finder [role=status]")
    page.get_by_role("combobox").fill(query)
    playwright.expect(status).not_to_have_text(re.compile("^(Type|Reading)"), timeout=60_000)
    return status.inner_text(), page.get_by_role("option")


@pytest.fixture
def offline(site, page):
    "A page of the site from the disk, with its search open."
    if site.name != "_site-pandoc":
        pytest.skip("Quarto's site has Quarto's search")
    page.goto((site / "404.html").as_uri())
    page.keyboard.press("/")
    return page


def test_a_reader_finds_what_a_reader_types(offline):
    missed = {}
    for query, place in QUERIES.items():
        said, options = ask(offline, query)
        places = [urllib.parse.unquote(where) for where in options.evaluate_all("all => all.map(a => a.getAttribute('href'))")]
        if "have it" not in said or place not in places[:3]:
            missed[query] = (said, places[:3])
    assert missed == {}
    for scheme, size in (("light", {"width": 1440, "height": 900}), ("dark", PHONE)):
        offline.emulate_media(color_scheme=scheme)
        offline.set_viewport_size(size)
        assert serious(offline, "#finder") == []


def test_what_is_not_there_is_said_and_the_nearest_is_offered(offline):
    said, options = ask(offline, "temprature")
    assert said == "Nothing has “temprature”. The nearest:"
    nearest = options.locator("b").all_inner_texts()[:3]
    assert len(nearest) == 3 and all("temperature" in name.lower() for name in nearest) and "What temperature does" in nearest
    said, options = ask(offline, "qwertz")
    assert said == "Nothing is like “qwertz”. Places to begin:" and options.first.inner_text().startswith("The catalogue")
    offline.get_by_role("combobox").fill("the")
    playwright.expect(offline.locator("#finder [role=status]")).to_have_text("Type a word that says more.")
    assert options.count() == 0 and offline.get_by_role("combobox").get_attribute("aria-expanded") == "false"


def test_the_search_is_used_by_keyboard_and_leads_to_the_section(offline):
    field = offline.get_by_role("combobox")
    _, options = ask(offline, "bound mutual information")
    first, second = (options.nth(i).get_attribute("id") for i in (0, 1))
    assert field.get_attribute("aria-activedescendant") == first and field.get_attribute("aria-expanded") == "true"
    field.press("ArrowDown")
    assert field.get_attribute("aria-activedescendant") == second == offline.locator("[aria-selected=true]").get_attribute("id")
    field.press("ArrowUp")
    field.press("ArrowUp")
    assert field.get_attribute("aria-activedescendant") == options.last.get_attribute("id")
    place = "#what-the-minimum-says-a-bound-on-mutual-information"
    aim = offline.locator(f"[role=option][href$='{place}']")
    assert "bound" in aim.locator("span mark").all_inner_texts() and "InfoNCE and NT-Xent" in aim.locator("small").inner_text()
    for _ in range(options.count()):
        field.press("ArrowDown")
        if field.get_attribute("aria-activedescendant") == aim.get_attribute("id"):
            break
    field.press("Enter")
    playwright.expect(offline.locator(place)).to_be_in_viewport()
    assert offline.url.endswith("1_objectives/infonce.html" + place) and not offline.locator("#finder").is_visible()
    offline.keyboard.press("/")
    playwright.expect(field).to_be_focused()
    offline.keyboard.press("Escape")
    playwright.expect(offline.locator("#finder")).not_to_be_visible()
    offline.goto(re.sub("1_objectives/.*", "catalogue.html", offline.url))
    offline.get_by_label("Search: All methods").press_sequentially("a/b")  # a field of the page keeps its letters
    assert not offline.locator("#finder").is_visible() and offline.get_by_label("Search: All methods").input_value() == "a/b"


def test_a_page_that_is_not_there_says_so_and_offers_what_is_near(page, served, site):
    page.goto(served + "1_objectives/deep/info_nce.html")
    assert page.locator("h1").inner_text() == "This page is not here"
    page.get_by_role("link", name="the catalogue").first.wait_for()
    if site.name == "_site-pandoc":
        assert page.locator(".bar").evaluate("bar => getComputedStyle(bar).position") == "sticky"
        near = page.locator("#nearest a")
        near.first.wait_for()
        assert "info_nce" in near.all_inner_texts()
        page.locator(".search-button").click()
        assert page.get_by_role("combobox").input_value() == "info nce"
        page.keyboard.press("Escape")
        near.filter(has_text="info_nce").first.click()
        assert page.url == served + "api/objectives.infonce.html#info_nce"


# --- in Firefox ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def firefox(tmp_path_factory):
    marionette = pytest.importorskip("marionette_driver.marionette", reason="marionette_driver is not installed: Firefox reads nothing")
    found = next(filter(None, map(shutil.which, ("firefox-esr", "firefox"))), None)
    if found is None:
        pytest.skip("Firefox is not on PATH: pages are read in Chromium alone")
    log = tmp_path_factory.mktemp("firefox") / "log"
    driver = marionette.Marionette(bin=os.path.realpath(found), headless=True, port=free_port(), gecko_log=str(log))
    driver.start_session()
    yield driver
    driver.quit()


def test_a_boxed_equation_has_one_frame_around_it_in_firefox(firefox, served):
    firefox.navigate(served + "3_debiasing/debiased.html")
    assert firefox.execute_script(BOXED) == [0, "1px", True]


def test_solutions_are_folded_in_firefox_until_they_are_asked_for(firefox, served):
    firefox.navigate(served + "1_objectives/infonce.html")
    folds = [fold for fold in firefox.find_elements("css selector", "main details") if "olution" in fold.text.split("\n")[0]]
    stubs = [code for code in firefox.find_elements("css selector", "main code.sourceCode") if "NotImplementedError" in code.text]
    assert len(folds) >= len(stubs) >= 3 and all(fold.get_attribute("open") is None for fold in folds)
    before = folds[0].text
    folds[0].find_element("css selector", "summary").click()
    assert len(folds[0].text) > len(before) + 50


def test_the_search_works_in_firefox(firefox, site):
    if site.name != "_site-pandoc":
        pytest.skip("Quarto's site has Quarto's search")
    firefox.navigate((site / "index.html").as_uri())
    firefox.find_element("css selector", "body").send_keys("/")
    field = firefox.find_element("css selector", "#finder input")
    field.send_keys("SimCLR")
    firefox.timeout.implicit = 20
    first = firefox.find_element("css selector", "#finder [role=option][aria-selected=true]")
    assert first.get_attribute("href") == "1_objectives/infonce.html" and "17 places" not in first.text
    field.send_keys("\ue007")
    firefox.find_element("css selector", "#derivation")
    assert firefox.get_url() == (site / "1_objectives" / "infonce.html").as_uri()


# --- on a phone ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def phone(browser, site, served):
    if site.name != "_site-pandoc":
        pytest.skip("Quarto's site has Quarto's menus and buttons")
    context = browser.new_context(viewport=PHONE, has_touch=True, permissions=["clipboard-read", "clipboard-write"])
    yield context.new_page()
    context.close()


def test_on_a_phone_the_contents_are_reached_from_any_place(phone, served):
    phone.goto(served + "1_objectives/infonce.html")
    main = phone.locator("main")
    for place in (0, 5000):
        phone.evaluate("place => scrollTo({top: place, behavior: 'instant'})", place)
        button = phone.get_by_role("button", name="Contents").bounding_box()
        phone.touchscreen.tap(button["x"] + 20, button["y"] + 20)  # where it is seen: to tap it by its name scrolls the page first
        menu = phone.locator("#sidebar")
        playwright.expect(menu.get_by_text("On this page")).to_be_in_viewport()
        box = menu.bounding_box()
        assert box["x"] == 0 and box["width"] == PHONE["width"] and round(box["y"] + box["height"]) == PHONE["height"]
        assert main.evaluate("main => main.inert") and phone.evaluate("scrollY") == place
        last = menu.get_by_role("link", name="Choosing an objective")
        last.scroll_into_view_if_needed()
        playwright.expect(last).to_be_in_viewport()
        phone.keyboard.press("Escape")
        assert not menu.is_visible() and not main.evaluate("main => main.inert") and phone.evaluate("scrollY") == place
        playwright.expect(phone.get_by_role("button", name="Contents")).to_be_focused()
    phone.get_by_role("button", name="Contents").tap()
    phone.locator("#sidebar #toc").get_by_role("link", name="Agreement").tap()
    playwright.expect(phone.locator("#agreement")).to_be_in_viewport()
    assert not phone.locator("#sidebar").is_visible()
    phone.set_viewport_size({"width": 1440, "height": 900})
    assert phone.locator("#sidebar #toc").count() == 0
    playwright.expect(phone.locator("#toc").get_by_role("link", name="Agreement")).to_be_in_viewport()


@pytest.mark.parametrize("name", ["catalogue", "ledger"])
def test_on_a_phone_cards_keep_their_labels(phone, served, name):
    phone.goto(served + f"{name}.html")
    heads = phone.locator(f"#{name} thead th button").all_inner_texts()
    said = phone.locator(f"#{name} tbody tr:first-child td").evaluate_all(
        "cells => cells.map(cell => getComputedStyle(cell, '::before').content.replaceAll('\"', ''))"
    )
    assert said == heads and len(heads) > 5
    inside = "cells => cells.filter(cell => cell.textContent && parseFloat(getComputedStyle(cell).paddingLeft) < 80).length"
    assert phone.locator(f"#{name} tbody td").evaluate_all(inside) == 0  # the label has room beside what it says


def test_on_a_phone_code_is_copied_by_touch(phone, served):
    phone.goto(served + "1_objectives/infonce.html")
    button = phone.locator(".cell:not(details *) button.copy").first
    box, code = button.bounding_box(), button.locator("..").locator("code").first
    assert box["width"] >= 40 and box["height"] >= 40 and button.evaluate("one => getComputedStyle(one).opacity") == "1"
    assert box["y"] + box["height"] <= code.bounding_box()["y"]
    button.tap()
    playwright.expect(button).to_have_text("Copied")
    assert phone.evaluate("navigator.clipboard.readText()") == code.evaluate("code => code.textContent")
    small = (
        "all => all.filter(b => b.checkVisibility()).map(b => b.getBoundingClientRect()).filter(b => b.width < 40 || b.height < 40).length"
    )
    assert phone.locator(".bar button, button.copy").evaluate_all(small) == 0


def test_a_figure_is_enlarged_by_touch_and_by_keyboard(phone, served):
    phone.goto(served + "1_objectives/infonce.html")
    figure, viewer = phone.locator("main figure img").first, phone.locator("#viewer")
    width, alt = figure.bounding_box()["width"], figure.get_attribute("alt")
    figure.tap()
    large = viewer.locator("img")
    assert large.bounding_box()["width"] >= 1.8 * width and large.get_attribute("alt") == alt
    assert viewer.evaluate("one => one.scrollWidth > one.clientWidth")  # and can be moved about in
    large.tap(position={"x": 50, "y": 50})
    assert not viewer.is_visible()
    figure.focus()
    phone.keyboard.press("Enter")
    assert viewer.is_visible() and serious(phone, "#viewer") == []
    phone.keyboard.press("Escape")
    playwright.expect(viewer).not_to_be_visible()
    playwright.expect(figure).to_be_focused()
    phone.set_viewport_size({"width": 1440, "height": 900})
    figure.click()
    box = large.bounding_box()
    assert box["width"] > figure.bounding_box()["width"] and box["width"] <= 1440 and box["height"] <= 900


SHOWN = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Sliders</title><link rel="icon" href="data:,"></head><body><main><h1>Sliders</h1>
<script>addEventListener("unhandledrejection", event => console.error(event.reason));</script>{}</main></body></html>"""


@pytest.fixture(scope="module")
def sliders(tmp_path_factory):
    "What the site makes of every page's sliders, on a page of their own by its address, and the sliders in their order."
    import test_sliders

    from contrastive_nb.book.site.drafts import Draft, _output

    made = [one for name in test_sliders.WITH_SLIDER for one in test_sliders.shown(name)]
    boxes = [_output(Draft("sliders.html"), {"output_type": "execute_result", "data": {"text/html": one.text}}, {}) for one in made]
    folder = tmp_path_factory.mktemp("sliders")
    shown = re.sub(r"^(```+)\{=html\}\n(.*?)^\1$", r"\2", "\n".join(boxes), flags=re.M | re.S)
    assert "```" not in shown
    (folder / "index.html").write_text(SHOWN.format(shown), encoding="utf-8")
    with serve(folder) as address:
        yield address, made


def steps(box, made):
    "Move one slider from its first value to its last by keyboard; what goes wrong on the way."
    image, moved = box.locator("img"), box.get_by_role("slider", name=made.name)
    box.locator("input:enabled").wait_for()
    moved.press("Home")
    looks = []
    for value, picture in made.frames:
        assert urllib.parse.unquote(image.get_attribute("src")) == f"data:image/svg+xml,{picture}"
        assert box.locator("output").inner_text() == moved.get_attribute("aria-valuetext") == value
        assert image.get_attribute("alt") == f"{made.name} {value}. {made.alt}"
        image.evaluate("image => image.decode()")
        looks.append(image.screenshot())
        moved.press("ArrowRight")
    return looks


def test_every_slider_moves_by_keyboard_and_shows_another_picture(page, sliders):
    address, made = sliders
    said = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(address)
    boxes = page.locator(".slider")
    assert boxes.count() == len(made) >= 8
    for box, one in zip(boxes.all(), made, strict=True):
        assert len(set(steps(box, one))) == len(one.frames), one.name
        assert box.locator("small").count() == 0
    assert said == [] and serious(page) == []
    boxes.first.get_by_role("slider").fill("0")  # as a mouse leaves it
    assert boxes.first.locator("output").inner_text() == made[0].frames[0][0]


def test_without_scripts_a_slider_shows_its_first_picture_and_says_so(browser, sliders):
    address, made = sliders
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    for box, one in zip(page.locator(".slider").all(), made, strict=True):
        assert box.locator("img").get_attribute("alt").startswith(f"{one.name} {one.frames[one.at][0]}. ")
        assert box.get_by_role("slider").is_disabled() and box.locator("small").is_visible()
    context.close()


# --- JupyterLab -------------------------------------------------------------------------------------------------------------------


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def lab(tmp_path_factory, tree):
    "JupyterLab on a copy of the tree, on this machine alone; its address."
    folder = tmp_path_factory.mktemp("lab")
    port, token = free_port(), os.urandom(12).hex()
    places = {
        f"JUPYTER{key}": str(folder / key.lower())
        for key in ("_CONFIG_DIR", "_DATA_DIR", "_RUNTIME_DIR", "LAB_SETTINGS_DIR", "LAB_WORKSPACES_DIR")
    }
    kernel = folder / "_data_dir" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    started = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": started, "display_name": "python3", "language": "python"}))
    environment = os.environ | places | {"CONTRASTIVE_NB_BUILD": str(folder / "build"), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tree)}
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", "--ServerApp.port_retries=0",
        f"--ServerApp.port={port}",        f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={tree}", "--LabApp.news_url=None",
        "--LabApp.expose_app_in_browser=True", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]  # fmt: skip
    log = (folder / "log").open("wb")
    server = subprocess.Popen(command, cwd=tree, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        for _ in range(240):
            assert server.poll() is None, (folder / "log").read_text()
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/lab/tree/nbs/{{}}.ipynb?token={token}&reset"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
        log.close()


def run_whole(page, path):
    "Run All on the open notebook, until every cell has run; an error in one of them fails."
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    count = sum(cell["cell_type"] == "code" and bool("".join(cell["source"]).strip()) for cell in cells)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    model = "() => window.jupyterapp?.shell?.currentWidget?.content?.model?.toJSON().cells ?? null"
    deadline, states = time.monotonic() + 240, None
    while time.monotonic() < deadline:
        states = page.evaluate(model)
        if states is None:
            break
        code = [cell for cell in states if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]
        wrong = [output for cell in code for output in cell["outputs"] if output["output_type"] == "error"]
        assert not wrong, wrong[0]["ename"] + ": " + wrong[0]["evalue"]
        if len(code) == count and all(cell["execution_count"] for cell in code):
            break
        time.sleep(0.5)
    assert states is not None and len(code) == count and all(cell["execution_count"] for cell in code)


@pytest.mark.parametrize(
    "name",
    [
        "index",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("0_foundations/01_pairs", "3_debiasing/01_debiased")),
    ],
)
def test_a_notebook_runs_whole_in_jupyterlab(lab, tree, page, name):
    "The front page, a derivation, an experiment at ci size, opened in a browser: Run All leaves no error."
    page.goto(lab.format(name), wait_until="domcontentloaded")
    page.get_by_text("| Idle").wait_for(timeout=180_000)  # earlier, Run All asks for a kernel
    run_whole(page, tree / "nbs" / f"{name}.ipynb")
    assert page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr']", has_text="Error").count() == 0


def test_a_page_saved_in_jupyterlab_is_found(lab, tree, page):
    "Opened and saved as it was, a page keeps its digest; run and saved, it shows ci results and is found."
    name = "guides/01_add_a_method"
    path = tree / "nbs" / f"{name}.ipynb"
    right = path.read_bytes()

    def menu(menu, entry):
        page.get_by_role("menuitem", name=menu, exact=True).click()
        page.get_by_role("menuitem", name=entry).first.click()

    def save_and_wait():
        before = path.stat().st_mtime_ns
        menu("File", re.compile("^Save Notebook( |$)"))
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            time.sleep(0.2)
            if path.stat().st_mtime_ns > before:
                with contextlib.suppress(json.JSONDecodeError):  # the server writes in place: a half-written file is waited for
                    return json.loads(path.read_text(encoding="utf-8"))
        raise AssertionError("JupyterLab saved no whole notebook within a minute")

    try:
        page.goto(lab.format(name), wait_until="domcontentloaded")
        page.get_by_text("| Idle").wait_for(timeout=180_000)
        assert outputs.why_not(save_and_wait()) is None
        run_whole(page, path)
        assert "did not make (they say profile ci): it was saved by hand" in outputs.why_not(save_and_wait())
    finally:
        path.write_bytes(right)


def go_to(page, path, wanted):
    "Scroll the open notebook to the first cell that `wanted` finds in its file; the cell's place on the page."
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    at = next(i for i, cell in enumerate(cells) if wanted(cell, "".join(cell["source"])))
    show = """async i => { const {content} = jupyterapp.shell.currentWidget; content.activeCellIndex = i; await content.scrollToItem(i, "center");
      content.widgets[i].node.id = `cell-${i}`; }"""
    page.evaluate(show, at)
    return page.locator(f"#cell-{at}")


def test_solutions_stay_hidden_in_jupyterlab_until_they_are_asked_for(lab, tree, page):
    "Set-up, a solution and what its check compares with show one line each; a text solution opens; no key is seen."
    name = "1_objectives/01_infonce"
    path = tree / "nbs" / f"{name}.ipynb"
    page.goto(lab.format(name), wait_until="domcontentloaded")
    page.get_by_text("| Idle").wait_for(timeout=180_000)
    for begins, secret in (
        ("# Solution", "return math.log(2 * items - 1)"),
        ("# Reference", "two_views(torch.zeros"),
        ("profile", "seed = 0"),
    ):
        cell = go_to(page, path, lambda cell, text, begins=begins, secret=secret: text.startswith(begins) and secret in text)
        folded = cell.locator(".jp-Placeholder-content")
        folded.wait_for()
        assert secret not in cell.inner_text() and begins in folded.inner_text()
        folded.click()
        cell.locator(".cm-content", has_text=secret).wait_for()
    stub = go_to(page, path, lambda cell, text: "def my_start" in text)
    stub.locator(".cm-content", has_text="raise NotImplementedError").wait_for()
    proof = go_to(page, path, lambda cell, text: "<details>" in text)
    inside = proof.locator("details").get_by_text("The sum in")
    proof.locator("summary", has_text="Solution").wait_for()
    assert not inside.is_visible() and proof.locator("mjx-container, .MathJax").count() > 0
    proof.locator("summary", has_text="Solution").click()
    inside.wait_for()
    references = go_to(page, path, lambda cell, text: "## References" in text)
    shown = references.locator(".jp-RenderedMarkdown")
    shown.get_by_text("A simple framework").wait_for()
    assert not re.search(r"@|<!--|chen2020simple", shown.inner_text())


def run_cell(page, cell, written=None):
    "Run one cell by its keys, with another text where one is given."
    cell.locator(".cm-content").click()
    if written is not None:
        page.keyboard.press("Control+a")
        page.keyboard.insert_text(written)
    page.keyboard.press("Control+Enter")


def test_an_exercise_is_failed_helped_and_solved_in_jupyterlab(lab, tree, page):
    "A wrong answer is told its place and values and gets one hint; the right one passes, in a form of its own, and is counted."
    name = "0_foundations/00_notation"
    path = tree / "nbs" / f"{name}.ipynb"
    page.goto(lab.format(name), wait_until="domcontentloaded")
    page.get_by_text("| Idle").wait_for(timeout=180_000)
    run_whole(page, path)

    def answered(line):
        run_cell(
            page, go_to(page, path, lambda cell, text: "def my_flat_loss" in text), f"def my_flat_loss(negatives, temperature):\n    {line}"
        )
        check = go_to(page, path, lambda cell, text: text.startswith("check(my_flat_loss"))
        shown = check.locator(".jp-OutputArea-output")
        run_cell(page, check)
        return check, shown

    check, shown = answered("raise NotImplementedError")
    shown.get_by_text("Not begun: 3 cases to pass.").wait_for()
    check, shown = answered("return torch.tensor(float(negatives)).log()")
    shown.get_by_text("case 1: yours 0, want 0.6931").wait_for()
    shown.get_by_text("Hint 1 of 2: Which share of the softmax").wait_for()
    assert "Hint 2" not in check.inner_text() and "solved" not in check.inner_text() and "log_softmax" not in check.inner_text()
    check, shown = answered("return negatives / 0")
    shown.get_by_text("line 2 of your code, return negatives / 0, raised ZeroDivisionError").wait_for()
    shown.get_by_text("Hint 2 of 2: How many keys").wait_for()
    check, shown = answered("return torch.tensor(1.0 + negatives).log()")
    shown.get_by_text("3 of 3 right. Well done.").wait_for()
    shown.get_by_text("1 of 4 exercises of this page solved.").wait_for()
    assert "Hint" not in check.inner_text()


def test_a_slider_moves_in_jupyterlab(lab, tree, page):
    "Run in Lab, the figure changes with the slider; no widget and no kernel has a part in it."
    name = "0_foundations/07_worlds"
    page.goto(lab.format(name), wait_until="domcontentloaded")
    page.get_by_text("| Idle").wait_for(timeout=180_000)
    run_whole(page, tree / "nbs" / f"{name}.ipynb")
    box = go_to(page, tree / "nbs" / f"{name}.ipynb", lambda cell, text: "fig-false-slider" in text).locator(".slider")
    box.locator("input:enabled").wait_for()
    before, value = box.locator("img").screenshot(), box.locator("output").inner_text()
    box.get_by_role("slider").press("End")
    assert box.locator("output").inner_text() == "1 in 2" != value
    box.locator("img").evaluate("image => image.decode()")
    assert box.locator("img").screenshot() != before
