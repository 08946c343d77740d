"""The book: plots, sliders, tables, exercises, catalogue and website. Plain package."""
