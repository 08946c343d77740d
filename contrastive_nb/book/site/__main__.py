"""`python -m contrastive_nb.book.site`: the website from the committed notebooks, with Quarto or else with pandoc. `make site` runs it."""

import argparse
import gc
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from contrastive_nb import files
from contrastive_nb.book.site import notebooks, sources, stage


def process(work: Path) -> Path:
    "nbdev's part: front matter, hidden lines, cleaning. In this process: workers take longer to start than all pages do."
    from nbdev.serve import proc_nbs

    before = Path.cwd()
    os.chdir(work)
    try:
        proc_nbs(path="nbs", n_workers=0, force=True)
    finally:
        os.chdir(before)
    gc.freeze()  # each page leaves a shell behind, which at the end looks through all that there is: as long as building takes
    return work / "_proc"


def with_quarto(root: Path, processed: Path, out: Path) -> None:
    "Quarto's part, with the scripts and styles that both renderers share."
    assets = processed / "_site_assets"
    shutil.copytree(root / "nbs" / "_site_assets", assets)
    script = (assets / "shared.js").read_text(encoding="utf-8")
    (assets / "after.html").write_text(f"<script>\n{script}</script>\n", encoding="utf-8")
    for name in (root / "nbs").glob("*.scss"):
        shutil.copy(name, processed)
    subprocess.run(["quarto", "render", str(processed), "--no-execute"], check=True)
    shutil.copytree(processed / "_site", out)


def build(root: Path, out: Path, copies: Path | None, jobs: int, quarto: bool) -> int:
    "The website in `out`, in place of what was there; the number of its pages."
    work = files.build() / "site" / out.name
    pages = stage.stage(root, work, copies)
    processed = process(work)
    shutil.rmtree(out, ignore_errors=True)
    if quarto:
        with_quarto(root, processed, out)
    else:
        from contrastive_nb.book.site import render

        render.site(root, processed, out, jobs)
    repository = sources.repository(root)
    for page in pages:
        (out / "notebooks" / page.name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(page.path, out / "notebooks" / f"{page.name}.ipynb")
        colab = json.dumps(notebooks.colab(page, repository), indent=1, ensure_ascii=False) + "\n"
        sources.write(out / "colab" / f"{page.name}.ipynb", colab)
    (out / ".nojekyll").touch()
    return len(list(out.rglob("*.html")))


def main() -> int:
    "The command; its exit code."
    root = files.checkout()
    if root is None:
        print("The website is built from a checkout of the repository: this is an installed package.", file=sys.stderr)
        return 2
    said = argparse.ArgumentParser(prog="python -m contrastive_nb.book.site", description="Build the website from the committed notebooks.")
    said.add_argument("--output", type=Path, default=root / "_site", help="folder to write, in place of what it holds (_site)")
    said.add_argument("--notebooks", type=Path, help="folder with other copies of the notebooks, such as build/runs/laptop")
    said.add_argument("--jobs", type=int, default=2)
    said.add_argument("--renderer", choices=("quarto", "pandoc"), help="the default is Quarto where it is on PATH")
    asked = said.parse_args()
    start, found = time.monotonic(), shutil.which("quarto")
    if not found and asked.renderer == "quarto":
        print("Quarto is not on PATH: leave --renderer out and pandoc renders the site.", file=sys.stderr)
        return 2
    if not found and asked.renderer is None:
        print("Quarto is not on PATH: pandoc renders the same processed notebooks, with the same text, figures and tables.")
    if sources.repository(root) is None:
        print(f"No address of the repository is known ({sources.REPOSITORY}, pyproject.toml or git's origin): pages get no edit link.")
    count = build(
        root, asked.output.resolve(), asked.notebooks, asked.jobs, asked.renderer == "quarto" or bool(found and asked.renderer is None)
    )
    print(f"{asked.output}: {count} pages in {time.monotonic() - start:.0f} s. Open {asked.output / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
