"""The website's settings, and what else is YAML: the sidebar has every page once, workflows and citation fit their schemas."""

import copy
import os
import re
import shutil
import subprocess
import sys

import anatomy
import IPython
import pytest
import yaml
from IPython.core.interactiveshell import InteractiveShell

import contrastive_nb
from contrastive_nb.book.site import api, drafts, links, notebooks, prose, reference, render, sources
from contrastive_nb.book.site.drafts import Draft
from contrastive_nb.lab import Claim, open_run

ROOT = anatomy.ROOT
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def hrefs(contents) -> list[str]:
    found = []
    for item in contents:
        if isinstance(item, str):
            found.append(item)
        else:
            found += [item["href"]] if "href" in item else []
            found += hrefs(item.get("contents", []))
    return found


def site_problems(site: dict, pages: set) -> list[str]:
    "What is wrong with the site's settings, given the pages there are (paths under nbs/)."
    listed = hrefs(site["website"]["sidebar"]["contents"])
    wrong = [f"{page} stands {listed.count(page)} times in the sidebar" for page in sorted(pages) if listed.count(page) != 1]
    wrong += [f"{href} is in the sidebar and does not exist" for href in sorted(set(listed) - pages)]
    html = site["format"]["html"]
    wrong += [] if html["html-math-method"] == "mathml" else ["formulas are fetched from elsewhere: html-math-method must be mathml"]
    wrong += [] if set(html["theme"]) == {"light", "dark"} else ["a light and a dark theme are wanted"]
    files = [name for names in html["theme"].values() for name in names if name.endswith("scss")]
    wrong += [f"{name} does not exist" for name in {*files, site["bibliography"]} if not (ROOT / "nbs" / name).exists()]
    wrong += ["something is fetched from elsewhere"] if re.search(r"https?://", yaml.dump(site)) else []
    return wrong


def site():
    return yaml.safe_load((ROOT / "_quarto.yml").read_text(encoding="utf-8"))


PAGES = {f"{name}.ipynb" for name in anatomy.pages()}


def test_every_page_stands_once_in_the_sidebar_and_nothing_is_fetched():
    assert site_problems(site(), PAGES) == []


def sections(site):
    return site["website"]["sidebar"]["contents"]


BROKEN = {
    "a page is missing": lambda site: sections(site).pop(0),
    "a page stands twice": lambda site: sections(site).append("index.ipynb"),
    "a dead link": lambda site: next(s for s in sections(site) if isinstance(s, dict))["contents"].append("0_foundations/99_none.ipynb"),
    "formulas from a CDN": lambda site: site["format"]["html"].update({"html-math-method": "katex"}),
    "one theme": lambda site: site["format"]["html"].update(theme={"light": ["default"]}),
    "a style that is not there": lambda site: site["format"]["html"]["theme"]["dark"].append("none.scss"),
    "a font from elsewhere": lambda site: site["format"]["html"].update(css="https://fonts.example/x.css"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_the_check_finds_a_broken_site(case):
    broken = copy.deepcopy(site())
    BROKEN[case](broken)
    assert len(set(site_problems(broken, PAGES)) - set(site_problems(site(), PAGES))) == 1


def test_the_shim_includes_the_site_and_what_nbdev_writes():
    shim = yaml.safe_load((ROOT / "nbs" / "_quarto.yml").read_text(encoding="utf-8"))
    assert shim == {"project": {"type": "website"}, "metadata-files": ["../_quarto.yml", "nbdev.yml"]}
    for name in shim["metadata-files"]:
        assert (ROOT / "nbs" / name).resolve().exists(), name


def test_nbdevs_part_is_what_nbdev_writes(copy_of_the_tree):
    code = "from nbdev.quarto import refresh_quarto_yml; refresh_quarto_yml()"
    subprocess.run([sys.executable, "-c", code], cwd=copy_of_the_tree, check=True)
    for name in ("nbdev.yml", "_quarto.yml"):
        assert (copy_of_the_tree / "nbs" / name).read_text() == (ROOT / "nbs" / name).read_text(), name


@pytest.mark.quarto
@pytest.mark.skipif(
    not shutil.which("quarto"),
    reason="Quarto is not on PATH: the site's settings are tested by their structure, the site as pandoc renders it",
)
def test_quarto_reads_the_settings():
    subprocess.run(["quarto", "inspect", str(ROOT / "nbs")], check=True, capture_output=True)


# --- what a build does to a page ----------------------------------------------------------------------------------------------------


def test_equations_get_their_number_and_are_linked():
    text, numbers = prose.equations("A\n\n$$x = 1 \\tag{3}$$\n\nand `$$y \\tag{4}$$` in code, $$z$$ without.")
    assert numbers == ["3"] and "[$$x = 1$$ [(3)]{.eqno}]{#eq-3 .numbered}" in text
    assert "`$$y \\tag{4}$$`" in text and "$$z$$" in text
    linked = prose.link_equations("By (3), not (5), f(3), $g(3)$ or `(3)`.", {"3"})
    assert linked == "By [(3)](#eq-3), not (5), f(3), $g(3)$ or `(3)`."


def test_references_become_the_places_that_citations_link_to():
    text = prose.anchor_references("See A<!-- @a2020b -->.\n\n## References\n\n- A. (2020). *B.* <!-- @a2020b -->\n- C. (2021). D.")
    assert (
        text
        == "See A<!-- @a2020b -->.\n\n## References\n\n- []{#ref-a2020b .reference}A. (2020). *B.* [[a2020b]](references.qmd#ref-a2020b){.key}\n- C. (2021). D."
    )


def test_folds_and_figures_are_what_both_renderers_know():
    text = "A\n\n<details><summary>Solution</summary>\n\nB `x`.\n\n</details>\n\n```\n</details>\n```"
    assert prose.folds(text) == 'A\n\n::: {.callout-tip collapse="true" title="Solution"}\n\nB `x`.\n\n:::\n\n```\n</details>\n```'
    said = "The figure above<!-- @fig-a --> and the figure *Two lines*<!-- @fig-b -->, `the figure above<!-- @fig-c -->`."
    assert prose.number_figures(said) == "@fig-a and @fig-b, `the figure above<!-- @fig-c -->`."


@pytest.mark.parametrize("source, metadata, wanted", [
    ("# Solution\nx = 1\nx", {"jupyter": {"source_hidden": True}}, '#| code-fold: true\n#| code-summary: "Solution"\nx = 1\nx'),
    ("import math", {"jupyter": {"source_hidden": True}}, '#| code-fold: true\n#| code-summary: "Set-up"\nimport math'),
    ("#| echo: false\nx", {"jupyter": {"source_hidden": True}}, "#| echo: false\nx"),
    ("# Seen\nx", {"alt": 'A "line" – up: 1.'}, '#| fig-alt: "A \\"line\\" – up: 1."\n# Seen\nx'),
])  # fmt: skip
def test_what_jupyterlab_hides_the_website_folds(source, metadata, wanted):
    assert notebooks.directives({"source": source, "metadata": metadata}) == wanted


CLAIM = Claim("S03-outcome-x", "S03", "a/b", "outcome", "A <b> is better.", "metric", "of old", "of new", "higher", 0.1, says="paper")


@pytest.mark.parametrize(
    "printed, count", [(repr(CLAIM), 1), (repr((CLAIM, CLAIM)), 2), (repr(CLAIM).replace("kind=", "sort="), 0), ("(1, 2)", 0)]
)
def test_claims_that_a_cell_printed_are_shown_as_cards(printed, count):
    shown = drafts._output(Draft("x.html"), {"output_type": "execute_result", "data": {"text/plain": printed}}, {})
    assert shown.count("class='claim'") == count and "<b>" not in shown
    assert ("<pre" in shown) == (count == 0)


def test_a_claim_is_a_card_in_jupyter_too_once_a_run_is_open(monkeypatch):
    shell = InteractiveShell()
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
    assert "text/html" not in shell.display_formatter.format(CLAIM)[0]
    open_run("index")
    assert "class='claim'" in shell.display_formatter.format(CLAIM)[0]["text/html"]


def test_a_boxed_equation_has_the_one_frame_that_every_browser_draws_and_code_hangs_from_where_it_began():
    body = '<math display="block"><menclose notation="box"><mi>x</mi></menclose></math><span id="cb1-2"><a href="#cb1-2"></a>    x</span>'
    done = render.finish(body, Draft("x.html"), {})
    assert '<mrow class="boxed"><mi>x</mi></mrow>' in done and "menclose" not in done and '<span id="cb1-2" style="--in: 4ch"><a' in done


def test_a_page_says_with_which_profile_it_ran():
    page = next(page for page in sources.pages(ROOT) if page.name == "1_objectives/01_infonce")
    made = notebooks.notebook(page, {"": {}}, set(), {}, sources.citation(ROOT), None, links.Known())
    texts = [sources.source(cell) for cell in made["cells"]]
    assert sum('<p class="ran">Run with profile <code>laptop</code>' in text for text in texts) == 1
    assert not any(re.search(r"^profile = ", text, re.M) for text in texts)


def test_pandocs_pages_are_kept_until_something_that_they_come_from_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("CONTRASTIVE_NB_BUILD", str(tmp_path))
    assets = ROOT / "nbs" / "_site_assets"
    made = [render.pandoc(Draft("x.html", parts=[text]), tmp_path, assets) for text in ("A *b*.", "A **b**.")]
    monkeypatch.setattr(render.subprocess, "run", None)
    assert [render.pandoc(Draft("x.html", parts=[text]), tmp_path, assets) for text in ("A *b*.", "A **b**.")] == made and made[0] != made[
        1
    ]
    (tmp_path / "assets").mkdir()
    for name in ("pandoc.html", "filter.lua"):
        (tmp_path / "assets" / name).write_text((assets / name).read_text() + "\n")
    with pytest.raises(TypeError):  # another template: pandoc is asked again
        render.pandoc(Draft("x.html", parts=["A *b*."]), tmp_path, tmp_path / "assets")


def test_what_pandoc_warns_of_is_said_each_time(tmp_path, monkeypatch):
    monkeypatch.setenv("CONTRASTIVE_NB_BUILD", str(tmp_path))
    for _ in range(2):
        with pytest.raises(ValueError, match=r"x\.html: pandoc says"):
            render.pandoc(Draft("x.html", parts=["$\\nothing{$"]), tmp_path, ROOT / "nbs" / "_site_assets")


def test_names_link_to_the_reference_only_where_they_are_meant():
    known = {"info_nce": "api/x.html#info_nce"}
    assert (
        prose.link_names("`info_nce` and `info_nce()`", known)
        == "[`info_nce`](api/x.html#info_nce){.api} and [`info_nce()`](api/x.html#info_nce){.api}"
    )
    assert (
        prose.link_names("[`info_nce`](y), `info_nce(x)`\n```\n`info_nce`\n```", known)
        == "[`info_nce`](y), `info_nce(x)`\n```\n`info_nce`\n```"
    )


def package_of(folder, modules):
    "The reference of a package with these modules."
    for name, text in ({"__init__": ""} | modules).items():
        path = folder / "pack" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return api.modules(folder / "pack")


def test_the_reference_reads_signatures_comments_and_docstrings(tmp_path):
    text = (
        '"""What it is."""\n\n\ndef f(\n    x: int,  # (N,) a "#" in it\n    y: str = "a, b",  # a choice\n    *,\n    z=None,\n) -> int:  # the sum\n'
        '    """Adds. Raises `ValueError`."""\n    return x\n\n\ndef _hidden(): ...\n'
    )
    (module,) = package_of(tmp_path, {"m": text})
    (f,) = module.definitions
    assert (f.signature, f.returns, f.returns_says) == ("def f(x: int, y: str = 'a, b', *, z=None) -> int", "int", "the sum")
    assert [(a.name, a.kind, a.default, a.says) for a in f.arguments] == [
        ("x", "int", None, '(N,) a "#" in it'), ("y", "str", "'a, b'", "a choice"), ("z", None, "None", ""),
    ]  # fmt: skip
    page = reference.page(module, {}, {}, sources.address, links.Known())
    assert "## `f` {#f}" in page and "<code>ValueError</code>" in page and "What it is." in page


def test_the_reference_reads_classes_constants_and_what_a_package_gathers(tmp_path):
    text = """
LIMIT: int = 2**10
_KEPT = 1

class Pair(tuple):
    "Two."

    left: int  # the first
    right: int = 0
    _own: int = 1

    @property
    def both(self) -> int:
        "The sum."
        return self.left + self.right

    def swapped(self, times: int = 1) -> "Pair": ...

def pair(*parts: int, choice: Annotated[str, Option("--choice", help="a, b")] = "some words that are long enough", **others): ...
"""
    gathers = "from . import other\nfrom .pair import Pair, pair\n"
    package, module = package_of(tmp_path, {"room/__init__": gathers, "room/pair": text, "room/other": "x = 1\n"})
    assert (package.name, package.gathers) == ("room", {"Pair": "room.pair", "pair": "room.pair"})  # not hidden by the module `pair`
    assert module.values == [("LIMIT", "2 ** 10")]
    one, function = module.definitions
    assert one.is_class and one.signature == "class Pair(tuple)" and one.doc == "Two."
    assert [(a.name, a.kind, a.default, a.says) for a in one.arguments] == [("left", "int", None, "the first"), ("right", "int", "0", "")]
    assert [d.signature for d in one.methods] == ["both: int", "def swapped(times: int = 1) -> Pair"]
    assert function.signature.split("\n") == [
        "def pair(",
        "    *parts: int,",
        "    choice: Annotated[str, Option('--choice', help='a, b')] = 'some words that are long enough',",
        "    **others,",
        ")",
    ]


def test_without_quarto_one_line_says_so(tmp_path):
    command = [sys.executable, "-m", "contrastive_nb.book.site", "--output", str(tmp_path / "site"), "--renderer", "quarto"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.strip() == "Quarto is not on PATH: leave --renderer out and pandoc renders the site."
    assert not (tmp_path / "site").exists()


def test_every_module_of_the_package_is_in_the_reference():
    modules = {module.name: module for module in api.modules(ROOT / "contrastive_nb")}
    assert {"pairs", "objectives", "objectives.infonce", "lab.claims", "book.catalogue", "book.site.stage"} <= set(modules)
    assert modules["objectives.infonce"].notebook == "1_objectives/01_infonce" and "info_nce" in modules["objectives"].gathers
    silent = [f"{module.name}.{d.name}" for module in modules.values() for d in module.definitions if module.notebook and not d.doc]
    assert silent == []


@pytest.mark.parametrize(
    "said, wanted", [("https://host.example/a/b.git", "https://host.example/a/b"), ("git@host.example:a/b.git", None), ("", None)]
)
def test_the_repository_is_named_or_unknown(said, wanted, monkeypatch, tmp_path):
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n')
    monkeypatch.setenv(sources.REPOSITORY, said)
    assert sources.repository(tmp_path) == wanted


def test_a_copy_for_colab_installs_first_and_changes_nothing_else():
    page = sources.pages(ROOT)[3]
    copy = notebooks.colab(page, "https://host.example/a/b")
    assert (
        "".join(copy["cells"][0]["source"]).endswith('%pip install -q "contrastive_nb @ git+{repository}"')
        and copy["cells"][1:] == page.book["cells"]
    )
    assert 'repository = ""' in "".join(notebooks.colab(page, None)["cells"][0]["source"])


def test_citations_have_their_entry():
    keys = set(re.findall(r"^@\w+\{([^,]+),", (ROOT / "data" / "references.bib").read_text(encoding="utf-8"), re.M))
    for page in sources.pages(ROOT):
        text = "\n".join(sources.source(cell) for cell in page.book["cells"] if cell["cell_type"] == "markdown")
        assert set(re.findall(r"<!-- @([a-z]+\d{4}\w*) -->", text)) <= keys, page.name


WITHOUT = {  # neither a DOI nor an arXiv number was found for these
    "airola2011linearithmic", "gutmann2010noise", "gutmann2012noise", "habermann1972parallel", "holm1979simple", "ke2017lightgbm",
    "marelli2014sick", "roy2007effective", "su2022cosent", "susmelj2020lightly", "vandermaaten2008visualizing", "voorhees1999trec", "weinberger2009distance",
}  # fmt: skip


def without_link(bib: str) -> set[str]:
    "The works that the list of works cannot link to."
    entries = re.findall(r"^@\w+\{([^,]+),(.*?)^\}", bib, re.M | re.S)
    named, of_arxiv = (
        r"^\s*(?:doi *= \{10\.|url *= \{https:)",
        r"^\s*eprint *= \{[\d.]+\}(?s:.*)^\s*(?:eprinttype|archiveprefix) *= \{(?i:arxiv)\}",
    )
    return {key for key, body in entries if not re.search(f"{named}|{of_arxiv}", body, re.M)}


def test_works_have_their_doi_or_arxiv_number():
    bib = (ROOT / "data" / "references.bib").read_text(encoding="utf-8")
    assert without_link(bib) == WITHOUT
    assert without_link(bib.replace("  eprint = {2002.05709},\n", "")) == WITHOUT | {"chen2020simple"}


# --- workflows and citation -------------------------------------------------------------------------------------------------------


def schema_check(schema, *paths):
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def triggers(workflow):
    return workflow.get("on", workflow.get(True))  # YAML 1.1 reads `on` as true


def test_workflows_and_citation_fit_their_schemas(tmp_path):
    done = schema_check("github-workflows", *WORKFLOWS)
    assert done.returncode == 0, done.stdout
    done = schema_check("citation-file-format", ROOT / "CITATION.cff")
    assert done.returncode == 0, done.stdout
    bad = tmp_path / "bad.yml"
    bad.write_text("on: pusch\njobs:\n  a:\n    runs-on: x\n    steps: []\n")
    assert schema_check("github-workflows", bad).returncode == 1


def test_what_runs_when():
    tests, nightly, weekly = (
        yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text()) for name in ("tests", "nightly", "weekly")
    )
    assert {path.stem for path in WORKFLOWS} == {"tests", "nightly", "weekly", "publish", "release"}
    assert "push" in triggers(tests) and "schedule" in triggers(nightly) and "schedule" in triggers(weekly)
    job = tests["jobs"]["two-commands"]
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    assert ".ci/run" in [step.get("run") for step in job["steps"]]
    assert ".venv/bin/python -m contrastive_nb nightly" in [step.get("run") for step in nightly["jobs"]["laptop"]["steps"]]
    publish = yaml.safe_load((ROOT / ".github" / "workflows" / "publish.yml").read_text())
    steps = publish["jobs"]["site"]["steps"]
    assert triggers(publish)["push"] == {"branches": ["main"]}
    assert any(step.get("uses", "").startswith("quarto-dev/quarto-actions/setup@") for step in steps)
    assert 'make site ARGS="--renderer quarto"' in [step.get("run") for step in steps]
    assert "make install CONSTRAINTS=" in [step.get("run") for step in weekly["jobs"]["newest-dependencies"]["steps"]]


def test_a_release_is_what_the_lock_names_and_what_was_tested():
    release = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())
    assert triggers(release) == {"push": {"tags": ["v*"]}} and release["jobs"]["upload"]["needs"] == "build"
    steps = [step["run"] for step in release["jobs"]["build"]["steps"] if "run" in step]
    done = "\n".join(steps)
    order = ["--require-hashes --no-deps -r requirements.lock", "--no-deps --no-build-isolation -e .", "-m build --no-isolation", "pytest"]
    places = [done.index(part) for part in order]
    assert places == sorted(places) and done.count("pip install") == 2
    assert "gh release upload" in release["jobs"]["upload"]["steps"][-1]["run"]
    version = subprocess.run(steps[0], shell=True, cwd=ROOT, env=os.environ | {"GITHUB_REF_NAME": f"v{contrastive_nb.__version__}"})
    other = subprocess.run(steps[0], shell=True, cwd=ROOT, env=os.environ | {"GITHUB_REF_NAME": "v999"})
    assert version.returncode == 0 and other.returncode == 1


def loose_ends(text: str) -> list[str]:
    "What a workflow leaves open: actions that can change under us, rights that are not needed, a token that stays in the checkout."
    workflow = yaml.safe_load(text)
    wrong = [
        f"{use} is not pinned by a whole hash with its version beside it"
        for use in re.findall(r"uses:[ ]*(.+)", text)
        if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}  # v\d+(\.\d+)+", use)
    ]
    if workflow.get("permissions") not in ({}, {"contents": "read"}):
        wrong.append("the workflow itself may do more than read")
    for name, job in workflow["jobs"].items():
        checkouts = [step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]
        if "write" in str(job.get("permissions", "")) and checkouts:
            wrong.append(f"{name} may write and checks out code")
        if any(step.get("with", {}).get("persist-credentials") is not False for step in checkouts):
            wrong.append(f"{name} keeps its token in the checkout")
    return wrong


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_leave_no_loose_ends(path):
    assert loose_ends(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("pattern, new, says", [
    (r"(actions/setup-python)@\S+", r"\1@v7", "not pinned"),
    (r"(actions/setup-python@[0-9a-f]{39})[0-9a-f]", r"\1", "not pinned"),
    (r"(actions/setup-python@[0-9a-f]{40})  # v\S+", r"\1", "not pinned"),
    (r"permissions:\n  contents: read\n", "", "more than read"),
    (r"permissions:\n  contents: read\n", "permissions: write-all\n", "more than read"),
    (r"permissions:\n  contents: read\n", "permissions:\n  contents: write\n", "more than read"),
    (r"(    timeout-minutes: 60\n)", r"\1    permissions:\n      contents: write\n", "may write and checks out"),
    (r"          persist-credentials: false\n", "          clean: true\n", "keeps its token"),
    (r"persist-credentials: false", "persist-credentials: true", "keeps its token"),
])  # fmt: skip
def test_the_check_of_workflows_finds(pattern, new, says):
    text = (ROOT / ".github" / "workflows" / "publish.yml").read_text(encoding="utf-8")
    wrong = loose_ends(re.sub(pattern, new, text, count=1))
    assert len(wrong) == 1 and says in wrong[0], wrong


@pytest.mark.parametrize("name", ["tests", "nightly", "weekly", "release"])
def test_where_records_are_judged_the_history_is_there(name):
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]
    assert steps and all(step["with"]["fetch-depth"] == 0 for step in steps)


@pytest.mark.skipif(not shutil.which("actionlint"), reason="actionlint is not on PATH: workflows are checked against their schema alone")
def test_actionlint_finds_nothing():
    done = subprocess.run(["actionlint", *map(str, WORKFLOWS)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_citation_names_this_version():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == contrastive_nb.__version__


def test_the_check_of_the_citation_finds_another_version(monkeypatch):
    monkeypatch.setattr(contrastive_nb, "__version__", "0.0.1")
    with pytest.raises(AssertionError):
        test_the_citation_names_this_version()


@pytest.mark.parametrize("check, file, old, new", [
    (lambda: test_where_records_are_judged_the_history_is_there("tests"), "tests.yml", "fetch-depth: 0", "fetch-depth: 1"),
    (lambda: test_where_records_are_judged_the_history_is_there("nightly"), "nightly.yml", "fetch-depth: 0", "fetch-depth: 1"),
    (test_what_runs_when, "tests.yml", ".ci/run", "make test"),
    (test_what_runs_when, "nightly.yml", "contrastive_nb nightly", "contrastive_nb run"),
    (test_what_runs_when, "publish.yml", "--renderer quarto", "--renderer pandoc"),
    (test_what_runs_when, "weekly.yml", "make install CONSTRAINTS=", "make install"),
    (test_a_release_is_what_the_lock_names_and_what_was_tested, "release.yml", "--require-hashes ", ""),
    (test_a_release_is_what_the_lock_names_and_what_was_tested, "release.yml", "needs: build", "needs: []"),
])  # fmt: skip
def test_a_workflow_that_does_something_else_is_found(check, file, old, new, tmp_path, monkeypatch):
    shutil.copytree(ROOT / ".github", tmp_path / ".github")
    shutil.copytree(ROOT / "contrastive_nb", tmp_path / "contrastive_nb", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    check()
    path = tmp_path / ".github" / "workflows" / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises((AssertionError, ValueError)):
        check()


def test_a_shim_and_a_part_of_nbdev_that_differ_are_found(copy_of_the_tree, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", copy_of_the_tree)
    test_the_shim_includes_the_site_and_what_nbdev_writes()
    test_citations_have_their_entry()
    shim, works = copy_of_the_tree / "nbs" / "_quarto.yml", copy_of_the_tree / "data" / "references.bib"
    shim.write_text(shim.read_text().replace("nbdev.yml", "none.yml"))
    works.write_text(re.sub(r"^@\w+\{chen2020simple,", "@article{nobody1900x,", works.read_text(), flags=re.M))
    with pytest.raises(AssertionError):
        test_the_shim_includes_the_site_and_what_nbdev_writes()
    with pytest.raises(AssertionError, match="chen2020simple"):
        test_citations_have_their_entry()
