"""`python -m contrastive_nb` is `contrastive-nb`. Plain module."""

from contrastive_nb.cli import app

app(prog_name="contrastive-nb")
