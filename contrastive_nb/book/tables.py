"""A small table that looks the same in JupyterLab, on the website and in a diff. Plain module."""

import html
import math
from pathlib import Path

from contrastive_nb.checks import check_is


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


def _scored(name: str, scores: list[float]) -> dict:
    from contrastive_nb.lab.claims import t_interval

    low, high = t_interval(scores)
    return {"": name, "mean": (low + high) / 2, "half-width": (high - low) / 2 if len(scores) > 1 else None, "seeds": len(scores)}


def results(
    readout: str,  # "bench/read-out", what the claims are judged on
    arms: dict[str, list[float]],  # what each method reached, a number a seed
    *,
    folder: Path | None = None,  # of the measured facts; None: data/benches
) -> Table:  # a row a floor, from the lowest, a row a method, and the ceiling
    """What methods reached between a bench's floors and its ceiling, with the half-width of the 95% interval of each mean.

    Floors and ceiling are the bench's own, of other worlds. Raises `TypeError` or `ValueError` naming the argument.
    """
    from contrastive_nb.lab import benches

    check_is("arms", arms, dict, "lists of scores by method")
    benches.range_of(readout, folder)  # names what there is
    name, _, which = readout.partition("/")
    facts = benches.facts_of(name, folder)
    if facts is None:
        raise ValueError(f"readout: got {readout!r}, want a bench that was measured: {', '.join(benches.admitted(folder))}")
    found = facts["readouts"][which]
    below = [{"": f"floor: {floor}", "mean": found["floors"][floor]} for floor in sorted(found["floors"], key=found["floors"].get)]
    above = {"": f"ceiling: {facts['ceiling']['is']}", "mean": found["ceiling"]}
    return Table([*below, *(_scored(arm, list(scores)) for arm, scores in arms.items()), above], ".3f")
