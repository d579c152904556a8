"""Pictures that stand in the page as SVG: there before any script runs, in print, and in previews of a mail.

What Vega draws is parsed and written again, so that a page holds well-formed elements and nothing else: names of ids
are told apart, numbers have one decimal, attributes that a group's children share stand on the group once.
"""

from __future__ import annotations

import copy
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from functools import cache
from typing import Any

import pandas as pd
from markupsafe import Markup

from onset.plots import files, performance, theme
from onset.plots.frames import Panel
from onset.plots.performance import Frame

POINTS = 160
"""Points of a panel that is drawn before scripts run, evenly along its rows; scripts draw all of them."""

WIDTH = 250

_DROPPED = {"class", "role", "tabindex", "pointer-events", "font-family", "version", "aria-hidden",
            "aria-roledescription", "aria-label"}  # fmt: skip
_SHARED = ("fill", "stroke", "stroke-width", "opacity", "fill-opacity", "stroke-opacity", "stroke-dasharray",
           "font-size", "text-anchor", "stroke-miterlimit")  # fmt: skip
"""Presentation attributes that children inherit; ``opacity`` is not inherited and is moved only with one child."""

_NUMBER = re.compile(r"-?\d+\.\d{2,}")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_PLACE = re.compile(r"translate\(([-\d.]+),\s*([-\d.]+)\)$")


class Panels:
    """Panels of tasks as SVG, as the page's script will draw them, with fewer points; one template for all."""

    def __init__(self, shared: Frame) -> None:
        self.shared = shared
        self.empty = files.specification(performance.page_template(shared, WIDTH).configure(**theme.config()))

    def draw(self, panel: Panel, identity: str) -> Markup:
        """One panel; ``identity`` tells its ids from those of other pictures."""
        rows = performance.rows(panel, self.shared, coarse=True)
        points = rows["points"]
        rows["points"] = points.iloc[:: max(1, -(-len(points) // POINTS))]
        spec = copy.deepcopy(self.empty)
        spec["datasets"] = {name: performance.records(frame) for name, frame in rows.items()}
        near = self.shared.x if self.shared.axis == "loss" else None
        performance.set_score_axis(spec, panel, near, titled=False)
        return inline(files.svg(spec), identity)


def chart(spec: dict[str, Any], datasets: dict[str, Any], identity: str, width: int = 760) -> Markup:
    """A chart that is as wide as its place on the page as SVG of a fixed width."""
    filled = dict(spec)
    if filled.get("width") == "container":
        filled["width"] = width
    named = set(re.findall(r'"name": ?"([^"]+)"', str(spec).replace("'", '"')))
    filled["datasets"] = {name: rows for name, rows in datasets.items() if name in named}
    return inline(files.svg(filled), identity)


def sparkline(curve: pd.DataFrame) -> Markup:
    """A fitted curve as a line of 72 by 20 pixels, the loss falling to the right; nothing without one."""
    known = curve[["loss", "score"]].dropna()
    if len(known) < 2 or known["loss"].nunique() < 2:
        return Markup("")
    known = known.iloc[:: max(1, len(known) // 24)]
    loss, score = known["loss"], known["score"]
    x = 1 + 70 * (loss.max() - loss) / (loss.max() - loss.min())
    y = 18 - 16 * (score - score.min()) / max(score.max() - score.min(), 1e-9)
    points = " ".join(f"{a:.0f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return Markup('<svg class="spark" viewBox="0 0 72 20" aria-hidden="true"><polyline points="{}"/></svg>').format(
        points
    )


def inline(svg: str, identity: str) -> Markup:
    """An SVG text as an element for a page; ``identity`` tells its ids from those of other pictures."""
    root = ElementTree.fromstring(svg)
    # Numbered anew: the names that Vega gives count on from picture to picture.
    ids = [str(element.get("id")) for element in root.iter() if element.get("id")]
    names = {name: f"{identity}-{place}" for place, name in enumerate(ids, start=1)}
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {_local(name): _value(value, names) for name, value in element.attrib.items()}
        for name in _DROPPED & set(element.attrib):
            del element.attrib[name]
        if "id" in element.attrib:
            element.set("id", names[element.attrib["id"]])
    for element in list(root.iter("g")):
        _merge_symbols(element)
    _flatten(root)
    _share(root)
    root.set("aria-hidden", "true")
    root.attrib.pop("style", None)
    # What was parsed is written with its texts escaped.
    return Markup(ElementTree.tostring(root, encoding="unicode", short_empty_elements=True))


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _value(value: str, names: Mapping[str, str]) -> str:
    shorter = _NUMBER.sub(lambda found: _short(float(found.group())), value)
    return _REFERENCE.sub(lambda found: f"url(#{names[found.group(1)]})", shorter)


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _flatten(element: ElementTree.Element) -> None:
    """Groups without attributes give way to their children; paths that draw nothing are left out."""
    kept: list[ElementTree.Element] = []
    for child in list(element):
        _flatten(child)
        if child.tag == "g" and not child.attrib:
            kept += list(child)
        elif not (child.tag == "path" and child.get("d") in ("", "M0,0h0v0h0Z")):
            kept.append(child)
    element[:] = kept


def _merge_symbols(element: ElementTree.Element) -> None:
    """Symbols of one colour and shape in a group become one path, circles one path of round dots: fewer letters."""
    children = list(element)
    if len(children) < 4 or any(child.tag != "path" for child in children):
        return
    kinds: dict[tuple[str, str, float, str], list[str]] = {}
    for child in children:
        place, symbol = _PLACE.match(child.get("transform", "")), _relative(child.get("d", ""))
        if place is None or symbol is None:
            return
        (x, y), drawn = symbol
        radius = x if drawn.startswith("a") else 0.0
        start = f"M{_short(float(place[1]) + x - radius)},{_short(float(place[2]) + y)}"
        key = (child.get("fill", ""), child.get("fill-opacity", "1"), radius, "h0" if radius else drawn)
        kinds.setdefault(key, []).append(start)
    edge = {name: value for name, value in children[0].attrib.items() if name.startswith("stroke")}
    element[:] = [
        ElementTree.Element("path", {"d": "".join(start + drawn for start in starts), **_look(key, edge)})
        for key, starts in kinds.items()
        for drawn in key[3:]
    ]


def _look(key: tuple[str, str, float, str], edge: Mapping[str, str]) -> dict[str, str]:
    """How merged symbols are painted: round dots are thick strokes without length."""
    fill, opacity, radius, _ = key
    if not radius:
        return {"fill": fill, "fill-opacity": opacity, **edge}
    return {"stroke": fill, "stroke-opacity": opacity, "stroke-width": _short(2 * radius), "stroke-linecap": "round"}


@cache
def _relative(path: str) -> tuple[tuple[float, float], str] | None:
    """Where a symbol's path begins, and the rest of it relative to that; None for a path that is no symbol."""
    if len(path) > 120 or not path.startswith("M"):
        return None
    x = y = 0.0
    start = (0.0, 0.0)
    made: list[str] = []
    for command, given in re.findall(r"([A-Za-z])([^A-Za-z]*)", path):
        values = [float(value) for value in re.findall(r"-?[\d.]+", given)]
        if command in "ML":
            moved = f"l{_short(values[0] - x)},{_short(values[1] - y)}"
            x, y = values
            start, made = ((x, y), made) if command == "M" else (start, [*made, moved])
        elif command == "A":
            arc = ",".join(f"{value:g}" for value in values[:5])
            made.append(f"a{arc},{_short(values[5] - x)},{_short(values[6] - y)}")
            x, y = values[5:7]
        elif command in "HV":
            ahead = values[0] - (x if command == "H" else y)
            made.append(f"{command.lower()}{_short(ahead)}")
            x, y = (values[0], y) if command == "H" else (x, values[0])
        elif command in "hvZ":
            made.append(command + given)
            x += values[0] if command == "h" else 0
            y += values[0] if command == "v" else 0
        else:
            return None
    return start, "".join(made)


def _share(element: ElementTree.Element) -> None:
    """Attributes that all children share move to their group, from the leaves up."""
    children = list(element)
    for child in children:
        _share(child)
    if element.tag not in ("g", "svg") or not children:
        return
    for name in _SHARED:
        values = {child.get(name) for child in children}
        if name == "opacity" and len(children) > 1:
            if values == {"1"}:
                for child in children:
                    del child.attrib[name]
            continue
        if len(values) == 1 and None not in values and name not in element.attrib:
            element.set(name, str(values.pop()))
            for child in children:
                del child.attrib[name]
