"""The page of a contest: the template beside this file, run by papermill, and the same as HTML."""

import os
import sys
from pathlib import Path

from contrastive_nb import files
from contrastive_nb.lab import processes

TEMPLATE = Path(__file__).with_name("page.ipynb")


def made(folder: Path) -> str | None:
    "Run the template on a folder's outcome; returns the HTML page, or the notebook, or None where papermill is not installed."
    try:
        import nbformat
        from papermill.execute import execute_notebook
    except ImportError:
        return None
    notebook = folder / "page.ipynb"
    before = dict(os.environ)
    os.environ["JUPYTER_PATH"] = str(processes.kernel_home(folder))
    os.environ["PYTHONPATH"] = os.pathsep.join(str(Path(place or ".").resolve()) for place in sys.path)  # the user's own module too
    os.environ["IPYTHONDIR"] = str(folder / "jupyter" / "ipython")
    try:
        execute_notebook(
            str(TEMPLATE), str(notebook), parameters={"folder": str(folder)}, kernel_name="python3", language="python",
            progress_bar=False, cwd=str(folder),
        )  # fmt: skip
    finally:
        os.environ.clear()
        os.environ.update(before)
    try:
        from nbconvert import HTMLExporter
    except ImportError:
        return str(notebook)
    exporter = HTMLExporter(exclude_input=True, exclude_input_prompt=True, exclude_output_prompt=True)
    page = folder / "page.html"
    files.write_whole(page, exporter.from_notebook_node(nbformat.read(notebook, as_version=4))[0])
    return str(page)
