"""A small table that looks the same in JupyterLab, on the website and in a diff. Plain module."""

import html
import math


class Table:
    "Rows of named values, shown as HTML or Markdown; numbers take the format of their column, text stays as it is."

    def __init__(self, rows: list[dict], formats: dict | str = ".3g"):
        self.rows, self.formats = list(rows), formats
        self.columns = list(dict.fromkeys(key for row in self.rows for key in row))

    def _show(self, column, value) -> str:
        if value is None:
            return "–"
        if isinstance(value, float):
            spec = self.formats if isinstance(self.formats, str) else self.formats.get(column, ".3g")
            return "nan" if math.isnan(value) else format(value, spec)
        return str(value)

    def _cells(self):
        return [[self._show(column, row.get(column)) for column in self.columns] for row in self.rows]

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(str(column))}</th>" for column in self.columns)
        lines = ["".join(f"<td>{html.escape(cell)}</td>" for cell in cells) for cells in self._cells()]
        return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(f'<tr>{line}</tr>' for line in lines)}</tbody></table>"

    def __repr__(self) -> str:
        lines = [[str(column) for column in self.columns], *self._cells()]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def table(
    rows: list[dict],  # one dict a row, the same keys in each
    formats: dict | str = ".3g",  # format of the floats: one for all, or one a column
) -> Table:
    "A table of rows for the last line of a cell."
    return Table(rows, formats)
