"""Figures with a slider: a frame a value, in one output that needs neither kernel nor server. How they move is in test_browser.py."""

import base64
import gzip
import html
import json
import re
import xml.etree.ElementTree
from types import SimpleNamespace

import anatomy
import matplotlib.pyplot as plt
import pytest

from contrastive_nb.book import plots
from contrastive_nb.book.sliders import slider

WITH_SLIDER = [name for name, path in anatomy.pages().items() if "import slider" in path.read_text(encoding="utf-8")]


pytestmark = pytest.mark.usefixtures("styled")


def line(height):
    figure, ax = plt.subplots(figsize=plots.ONE)
    ax.plot([0, 1], [0, height])
    ax.set(ylim=(0, 10), title=f"height {height}")
    return figure


def shown(name) -> list[SimpleNamespace]:
    "The sliders of a page as its readers have them, from the outputs of the page: `name`, `alt`, `frames`, `at` and the HTML, `text`."
    book = json.loads(anatomy.pages()[name].read_text(encoding="utf-8"))
    outputs = [out.get("data", {}) for cell in book["cells"] if cell["cell_type"] == "code" for out in cell["outputs"]]
    found = []
    for text in ("".join(data.get("text/html", "")) for data in outputs):
        if text.startswith('<div class="slider"'):
            named, alt, packed = (html.unescape(re.search(rf' data-{key}="([^"]*)"', text).group(1)) for key in ("name", "alt", "frames"))
            frames, at = json.loads(gzip.decompress(base64.b64decode(packed))), int(re.search(r' value="(\d+)"', text).group(1))
            found.append(SimpleNamespace(name=named, alt=alt, frames=frames, at=at, text=text))
    return found


def test_there_is_a_frame_a_value_and_none_stays_open():
    made = slider(line, "height", (1, 5, 9), alt="A line that rises.")
    assert [value for value, _ in made.frames] == ["1", "5", "9"] and not plt.get_fignums()
    for value, picture in made.frames:
        text = "".join(xml.etree.ElementTree.fromstring(picture).itertext())
        assert f"height {value}" in text
    assert len({picture for _, picture in made.frames}) == 3
    assert made.at == 1 and slider(line, "height", (1, 5, 9), at=0, alt="A line that rises.").at == 0
    assert repr(made) == "slider over height: 1, 5, 9"


def test_the_output_holds_every_frame_and_stands_alone_without_its_script():
    made = slider(line, 'a "height" <b>', (1, 5, 9), at=1, label=lambda value: f"{value} & more", alt='A line "so".')
    text = made._repr_html_()
    assert text == slider(line, 'a "height" <b>', (1, 5, 9), at=1, label=lambda value: f"{value} & more", alt='A line "so".')._repr_html_()
    packed = re.search(r'data-frames="([^"]+)"', text).group(1)
    assert json.loads(gzip.decompress(base64.b64decode(packed))) == [list(frame) for frame in made.frames]
    first = re.search(r'<img src="data:image/svg\+xml;base64,([^"]+)" alt="([^"]+)"', text)
    assert base64.b64decode(first.group(1)).decode() == made.frames[1][1]
    assert first.group(2) == "a &quot;height&quot; &lt;b&gt; 5 &amp; more. A line &quot;so&quot;."
    assert "disabled" in re.search(r"<input[^>]*>", text).group() and "(run this cell" in text
    assert not re.search(r"https?://(?!www\.w3\.org)", re.sub(r'"[A-Za-z0-9+/=]{200,}"', "", text))  # nothing is fetched


@pytest.mark.parametrize(
    "changes, part",
    [
        (dict(values=(1,)), "values: got 1, want two or more"),
        (dict(at=3), "at: got 3, want a whole number from 0 to 2"),
        (dict(alt=" "), "alt: got ' ', want words"),
        (dict(name=3), "name: got int, want words"),
        (dict(draw=5), "draw: got int, want a function"),
        (dict(draw=lambda value: None), "draw: got NoneType for 1, want a matplotlib figure"),
    ],
)
def test_a_wrong_argument_is_named(changes, part):
    arguments = dict(draw=line, name="height", values=(1, 5, 9), alt="A line.") | changes
    with pytest.raises((ValueError, TypeError), match=re.escape(part)):
        slider(**arguments)


@pytest.mark.parametrize("name", WITH_SLIDER)
def test_every_step_of_a_pages_slider_shows_something_else_and_all_are_light(name):
    sliders = shown(name)
    assert sliders, "no slider among the outputs"
    for made in sliders:
        assert len({picture for _, picture in made.frames}) == len({value for value, _ in made.frames}) == len(made.frames) >= 5
        sizes = {re.search(r'viewBox="([^"]+)"', picture).group(1) for _, picture in made.frames}
        assert len(sizes) == 1, "a frame of another size makes the page jump"
        assert len(json.dumps(made.text)) < anatomy.CELL_BYTES
