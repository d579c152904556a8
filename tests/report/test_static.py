"""Pictures that stand in the page before scripts run: well-formed, short, and nothing but a picture."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pandas as pd

from onset.report import static

SVG = """<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9" viewBox="0 0 9 9"><defs><clipPath id="clip1">
<rect width="9" height="9"/></clipPath></defs><g clip-path="url(#clip1)"><g>{}</g></g><text>a &lt;b&gt;</text></svg>"""
SQUARE = '<path fill="{}" d="M-2,-2h4v4h-4Z" transform="translate({},1.2345)"/>'
CIRCLE = '<path fill="{}" d="M2,0A2,2,0,1,1,-2,0A2,2,0,1,1,2,0" transform="translate({},3)"/>'


def test_ids_are_those_of_one_picture_and_texts_stay_texts() -> None:
    """Lost: a picture that is cut by another's frame, or a task's name that becomes an element of the page."""
    made = str(static.inline(SVG.format(""), "p7"))
    assert 'id="p7-1"' in made
    assert "a &lt;b&gt;" in made
    assert ElementTree.fromstring(made).tag == "svg"


def test_symbols_of_one_colour_are_one_path_at_the_same_places() -> None:
    marks = "".join(SQUARE.format(colour, x) for x, colour in enumerate(("red", "blue") * 3))
    made = ElementTree.fromstring(str(static.inline(SVG.format(marks), "p")))
    paths = {path.get("fill"): path.get("d") for path in made.iter("path")}
    assert paths == {
        "red": "M-2,-0.8h4v4h-4ZM0,-0.8h4v4h-4ZM2,-0.8h4v4h-4Z",
        "blue": "M-1,-0.8h4v4h-4ZM1,-0.8h4v4h-4ZM3,-0.8h4v4h-4Z",
    }


def test_circles_become_round_dots_around_their_centres() -> None:
    marks = "".join(CIRCLE.format("red", x) for x in range(5))
    made = str(static.inline(SVG.format(marks), "p"))
    (path,) = ElementTree.fromstring(made).iter("path")
    assert path.get("d") == "M0,3h0M1,3h0M2,3h0M3,3h0M4,3h0"
    assert 'stroke="red"' in made
    assert 'stroke-width="4"' in made
    assert path.get("stroke-linecap") == "round"


def test_a_sparkline_falls_to_the_right_and_needs_two_losses() -> None:
    curve = pd.DataFrame({"loss": [1.0, 2.0, 3.0], "score": [0.9, 0.5, 0.1]})
    assert 'points="71,2.0 36,10.0 1,18.0"' in static.sparkline(curve)
    assert static.sparkline(curve.head(1)) == ""
