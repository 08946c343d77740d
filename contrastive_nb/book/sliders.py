"""A figure that answers back: a picture a value, and a slider that chooses among them. Plain module.

One HTML output, frames drawn beforehand: it moves in JupyterLab and on the website alike, without a kernel or a package for either.
"""

import base64
import gzip
import html
import io
import json
from collections.abc import Callable, Sequence

# Without the script, as in a notebook that nobody has run or trusted yet, the first picture stands alone under a note.
SCRIPT = """
(async () => {
  const box = document.currentScript.parentElement;
  const [image, input, shown, note] = ["img", "input", "output", "small"].map(name => box.querySelector(name));
  const packed = Uint8Array.from(atob(box.dataset.frames), letter => letter.charCodeAt(0));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const frames = await new Response(unpacked).json();
  const move = () => {
    const [value, picture] = frames[input.value];
    image.src = "data:image/svg+xml," + encodeURIComponent(picture);
    image.alt = `${box.dataset.name} ${value}. ${box.dataset.alt}`;
    shown.value = value;
    input.setAttribute("aria-valuetext", value);
  };
  input.addEventListener("input", move);
  input.disabled = false;
  note.remove();
  move();
})();
"""


class Slider:
    "Pictures by value, shown as HTML with a slider: `frames` has (value as text, SVG) each, `at` is the one that is shown first."

    def __init__(self, name: str, frames: list[tuple[str, str]], alt: str, at: int):
        self.name, self.frames, self.alt, self.at = name, frames, alt, at

    def _repr_html_(self) -> str:
        name, alt = html.escape(self.name), html.escape(self.alt)
        value, picture = self.frames[self.at]
        first = base64.b64encode(picture.encode()).decode()
        packed = base64.b64encode(gzip.compress(json.dumps(self.frames).encode(), mtime=0)).decode()
        last, width = len(self.frames) - 1, 1.45 * float(picture.split('width="', 1)[1].split("pt", 1)[0])  # as the site sets figures
        said = html.escape(value)
        return (
            f'<div class="slider" data-name="{name}" data-alt="{alt}" data-frames="{packed}">'
            f'<img src="data:image/svg+xml;base64,{first}" alt="{name} {said}. {alt}" style="width:min(100%,{width:.0f}px);background:#fff">'
            f'<p><label>{name} <input type="range" min="0" max="{last}" step="1" value="{self.at}" aria-valuetext="{said}" disabled '
            f'style="width:min(22rem,60%);vertical-align:middle"></label> <output>{said}</output> '
            f"<small>(run this cell, and the slider moves)</small></p><script>{SCRIPT}</script></div>"
        )

    def __repr__(self) -> str:
        return f"slider over {self.name}: {', '.join(value for value, _ in self.frames)}"


def _svg(figure) -> str:
    "A figure as SVG, rounded as the figures of the book are kept, and closed. Text stays text: outlines would be most of every frame."
    import matplotlib.pyplot as plt

    from contrastive_nb.lab import pictures

    file = io.StringIO()
    with plt.rc_context({"svg.fonttype": "none"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    plt.close(figure)
    return pictures.rounded(file.getvalue()[file.getvalue().index("<svg") :])


def slider(
    draw: Callable,  # (value) -> a matplotlib figure; every frame needs the same limits of its axes
    name: str,  # what is moved, as a reader calls it
    values: Sequence,  # two or more, in the order of the slider
    *,
    alt: str,  # what the picture shows and what changes, for who does not see it
    label: str | Callable = "g",  # a value as text: a format, or a function
    at: int | None = None,  # the place of the value that is shown first; None: the middle
) -> Slider:
    "A figure with a slider over precomputed frames. Raises `ValueError` or `TypeError` naming the argument."
    from contrastive_nb.checks import check_count, check_function, check_is

    check_function("draw", draw)
    for key, text in (("name", name), ("alt", alt)):
        if not check_is(key, text, str, "words").strip():
            raise ValueError(f"{key}: got {text!r}, want words")
    if len(values) < 2:
        raise ValueError(f"values: got {len(values)}, want two or more to slide over")
    at = len(values) // 2 if at is None else check_count("at", at, 0, len(values) - 1)
    said = label if callable(label) else lambda value: format(value, label)
    frames = []
    for value in values:
        figure = draw(value)
        if not hasattr(figure, "savefig"):
            raise TypeError(f"draw: got {type(figure).__name__} for {said(value)}, want a matplotlib figure")
        frames.append((said(value), _svg(figure)))
    return Slider(name, frames, alt, at)
