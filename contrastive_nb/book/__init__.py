"""The book: plots, tables, exercises, catalogue and website. Plain package."""
