"""`python -m cupel` is the `cupel` command."""

from .pipeline.cli import app

app()
