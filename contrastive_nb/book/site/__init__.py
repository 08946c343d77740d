"""Builds the website from the notebooks as they are committed. Plain package: machinery.

`sources.py` says which pages there are, `stage.py` writes what nbdev processes (`notebooks.py` prepares a page's notebook, with
`prose.py` and `names.py`; `api.py` reads the package and `reference.py` makes its pages), `render.py` makes HTML with pandoc where
there is no Quarto (`drafts.py` makes the markdown, `search.py` what the search looks through), `__main__.py` is what `make site` runs.
"""
