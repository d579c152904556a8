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

INK = "#1c2330"
MUTED = "#5b6472"
FAINT = "#dfe3e8"
CHANCE = "#7a8290"
BAND = "#3d6f8e"

VERDICT_COLOURS = {"emergent": "#0b6e4f", "smooth": "#1f4e8c", "at_chance": "#5b6472", "inconclusive": "#8a5a00"}

_BY_RANK = 8
"""Up to so many sizes are spread evenly over the ramp; more are placed by the logarithm of their size."""


@dataclass(frozen=True)
class Sizes:
    """The sizes of an analysis with their labels and colours, small to large."""

    params: tuple[float, ...]
    labels: tuple[str, ...]
    colours: tuple[str, ...]

    def label(self, params: float) -> str:
        """The label of one size."""
        return self.labels[self.params.index(params)]


def sizes(params: Iterable[float]) -> Sizes:
    """Labels and colours for the distinct sizes among ``params`` (counts); missing ones are left out."""
    distinct = sorted({float(value) for value in params if value is not None and math.isfinite(value) and value > 0})
    return Sizes(tuple(distinct), _labels(distinct), tuple(_at(place) for place in _places(distinct)))


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


def _at(place: float) -> str:
    """The ramp's colour at a place between 0 and 1."""
    position = min(max(place, 0.0), 1.0) * (len(RAMP) - 1)
    index = min(int(position), len(RAMP) - 2)
    share = position - index
    left, right = _rgb(RAMP[index]), _rgb(RAMP[index + 1])
    mixed = [round(a + (b - a) * share) for a, b in zip(left, right, strict=True)]
    return "#" + "".join(f"{value:02x}" for value in mixed)


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
