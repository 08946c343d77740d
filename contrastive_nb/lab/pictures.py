"""Figures as they are kept: coordinates rounded, so that a picture that looks the same is the same bytes. Plain module."""

import hashlib
import re
from collections import Counter

_NOTE_OR_TAG = re.compile(r"<!--.*?-->|<[^>]*>", re.S)
_PLACE = re.compile(r'(?<=\s)((?:d|[xy][12]?|c[xy]|r[xy]?|width|height|viewBox|points)=")([^"]*)')
_SHIFT = re.compile(r"((?:translate\(|rotate\([^\s)]+ |matrix\((?:[^\s)]+ ){4}))([^)]*)")  # an angle and a scale keep their digits
_DECIMAL = re.compile(r"(?<![^\s,])(?:-0|-?\d*\.\d+)(?![^\s,p])")
_NAMED = re.compile(r'<(?:path|clipPath) id="([mp]|C[0-9a-f]+_[0-9a-f]+_)([0-9a-f]{10})"(.*?)/>', re.S)


def rounded(svg: str) -> str:
    """Round the coordinates of Matplotlib's SVG to 0.01 points, so that a picture that looks the same is the same bytes.

    Processors differ in the last digits of what is drawn. Matplotlib names markers, outlines and clips by a hash of
    those digits: they get the hash of what is left. Text, colours, widths of lines and all other ids stay as they are.
    """

    def places(found):
        return found[1] + _DECIMAL.sub(lambda number: f"{round(float(number[0]), 2) + 0.0:.12g}", found[2])

    svg = _NOTE_OR_TAG.sub(lambda tag: tag[0] if tag[0][1] == "!" else _SHIFT.sub(places, _PLACE.sub(places, tag[0])), svg)
    names: dict[str, str] = {}
    seen: Counter[str] = Counter()
    for kind, digits, what in _NAMED.findall(svg):
        seen[what] += 1  # two that became equal keep two names
        names[kind + digits] = kind + hashlib.sha256(f"{what} {seen[what]}".encode()).hexdigest()[:10]
    return re.sub(r'(?<=[#"])\w+(?=[")])', lambda name: names.get(name[0], name[0]), svg)
