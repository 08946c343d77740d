"""Builds the website from the notebooks as they are committed. Plain package: machinery.

`book.py` says which pages there are, `reference.py` writes the API pages, `stage.py` prepares the notebooks, `render.py` makes
HTML with pandoc where there is no Quarto, `__main__.py` is what `make site` runs.
"""
