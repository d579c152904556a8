"""Colours and shapes: one colour for a size everywhere, in page and figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from onset.plots.words import count

RAMP = ("#e08214", "#d1495b", "#9b2f8f", "#5a2ca0", "#1f2a6b")
"""Small to large: amber to navy. Lightness falls all the way, so that it reads in grey and with colour blindness;
the lightest keeps a contrast near 3 on white."""

SHAPES = ("circle", "triangle-up", "square", "diamond", "cross", "triangle-down")

SHAPE_PATHS = {
    "circle": "M-5 0A5 5 0 1 0 5 0A5 5 0 1 0 -5 0", "triangle-up": "M0 -5L5 4H-5Z", "square": "M-4 -4H4V4H-4Z",
    "diamond": "M0 -6L5 0L0 6L-5 0Z", "cross": "M-2 -6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z", "triangle-down": "M0 5L5 -4H-5Z",
}  # fmt: skip
"""The shapes as paths of SVG within 6 units of the origin, for legends."""

INK = "#1c2330"
MUTED = "#5b6472"
FAINT = "#dfe3e8"
CHANCE = "#7a8290"
BAND = "#3d6f8e"

VERDICT_COLOURS = {"emergent": "#0b6e4f", "smooth": "#1f4e8c", "at_chance": "#5b6472", "inconclusive": "#8a5a00"}

DARK = {
    "#e08214": "#f6a84a", "#d1495b": "#f27d8d", "#9b2f8f": "#d77fcd", "#5a2ca0": "#a68cf0", "#1f2a6b": "#8fb4ff",
    INK: "#e8ebf0", MUTED: "#9da7b5", FAINT: "#2c3440", CHANCE: "#9da7b5", BAND: "#7fb2d2", "#4a5160": "#c9d0da",
    "#9aa3af": "#566171", "#ffffff": "#14181f", "white": "#14181f", "#0b6e4f": "#5cc39b", "#1f4e8c": "#8ab4f0",
    "#8a5a00": "#e0b050", "#b3261e": "#f0908a",
}  # fmt: skip
"""The colours of pictures on a dark page. On the ramp lightness rises a little with size, as it falls on white."""

_BY_RANK = 8
"""Up to so many sizes are spread evenly over the ramp; more are placed by the logarithm of their size."""


@dataclass(frozen=True)
class Sizes:
    """The sizes of an analysis with their labels and colours, small to large."""

    params: tuple[float, ...]
    labels: tuple[str, ...]
    colours: tuple[str, ...]

    @property
    def many(self) -> bool:
        """Whether a colour bar takes the place of a legend with an entry a size."""
        return len(self.params) > _BY_RANK

    @property
    def stops(self) -> tuple[float, ...]:
        """Where on the range of sizes the colours of the ramp stand, evenly in the logarithm."""
        low, high = math.log(self.params[0]), math.log(self.params[-1])
        return tuple(math.exp(low + (high - low) * place / (len(RAMP) - 1)) for place in range(len(RAMP)))

    def label(self, params: float) -> str:
        """The label of one size."""
        return self.labels[self.params.index(params)]


def sizes(params: Iterable[float]) -> Sizes:
    """Labels and colours for the distinct sizes among ``params`` (counts); missing ones are left out."""
    distinct = sorted({float(value) for value in params if value is not None and math.isfinite(value) and value > 0})
    return Sizes(tuple(distinct), _labels(distinct), tuple(_at(place, RAMP) for place in _places(distinct)))


def shapes(kinds: Sequence[str]) -> dict[str, str]:
    """A shape for each kind of run, in the order given; kinds past the sixth share the last shape."""
    return {kind: SHAPES[min(index, len(SHAPES) - 1)] for index, kind in enumerate(kinds)}


def _labels(distinct: list[float]) -> tuple[str, ...]:
    """Counts with as many digits as tell them apart."""
    for digits in (2, 3, 4, 5, 6):
        labels = [count(value, digits) for value in distinct]
        if len(set(labels)) == len(labels):
            return tuple(labels)
    return tuple(f"{value:,.0f}" for value in distinct)


def _places(distinct: list[float]) -> list[float]:
    """Where each size lies on the ramp, 0 to 1."""
    if len(distinct) < 2:
        return [1.0] * len(distinct)
    if len(distinct) <= _BY_RANK:
        return [index / (len(distinct) - 1) for index in range(len(distinct))]
    low, high = math.log(distinct[0]), math.log(distinct[-1])
    return [(math.log(value) - low) / (high - low) for value in distinct]


def dark(known: Sizes) -> dict[str, str]:
    """The colours on a dark page of all colours on a light one, those of the sizes among them."""
    ramp = [DARK[colour] for colour in RAMP]
    places = _places(list(known.params))
    return DARK | dict(zip(known.colours, (_at(place, ramp) for place in places), strict=True))


def _at(place: float, ramp: Sequence[str]) -> str:
    """A ramp's colour at a place between 0 and 1."""
    position = min(max(place, 0.0), 1.0) * (len(ramp) - 1)
    index = min(int(position), len(ramp) - 2)
    share = position - index
    left, right = _rgb(ramp[index]), _rgb(ramp[index + 1])
    mixed = [round(a + (b - a) * share) for a, b in zip(left, right, strict=True)]
    return "#" + "".join(f"{value:02x}" for value in mixed)


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
