"""The families of laws that are weighed against each other: with a turn, and smooth.

Each family is a shape of ability on loss, one at the lowest loss seen, with a prior that is even
(on a plain or a log scale) between bounds that are set by the losses seen. What divides the two
sides is a matter of scale, and stated here: a law has a turn if it leaves chance within a few
hundredths of the range of losses (``SOFTEST``), and is smooth if it leaves chance no faster than an
exponential, a sigmoid or a power that changes over at least a twentieth of it (``SHARPEST``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from onset.stats import curves as laws
from onset.stats.points import Points

Array = NDArray[np.float64]
Shape = Callable[[Array, Array], Array]
Scale = Literal["plain", "log", "square", "bend"]
"""Even in the value, in its logarithm, in its square root (small values likelier), or normal about a power of one."""
BEND = 0.4
"""Standard deviation of the logarithm of a power: onsets are nearer to straight than to bent."""

Bounds = tuple[float, float]

SOFTEST = 0.04
"""The widest corner of a law with a turn, in ranges of loss."""
CORNER = 0.25
"""The widest corner of a law that saturates, in its pace: a sixth of a straight rise lies above the threshold at most,
or the threshold would be called where the ability is already there."""
SHARPEST = 0.05
"""The narrowest width of a smooth law, in ranges of loss."""


@dataclass(frozen=True)
class Family:
    """Shapes of one form: parameters within bounds, with a prior that is even between them.

    ``shape(loss, parameters)`` maps (n, 1) losses and (d, k) parameters, in natural units, to (n, k).
    Where a family has a turn, its first parameter is the threshold.
    """

    name: str
    shape: Shape
    bounds: tuple[tuple[float, float], ...]
    scales: tuple[Scale, ...]
    """On what scale the prior of a parameter is even."""
    counts: tuple[int, ...]
    """Points of the first grid along each parameter."""
    weight: float
    """Prior probability among the families of its side."""
    turn: bool

    def natural(self, unit: Array) -> Array:
        """(d, k) parameters from (k, d) places in the unit cube."""
        found = zip(self.scales, unit.T, self.bounds, strict=True)
        return np.array([_value(scale, place, *bounds) for scale, place, bounds in found])

    def places(self, parameters: Array) -> Array:
        """(k, d) places in the unit cube of (d, k) parameters."""
        found = zip(self.scales, parameters, self.bounds, strict=True)
        return np.stack([_place(scale, values, *bounds) for scale, values, bounds in found], axis=1)

    def grid(self) -> Array:
        """(k, d) midpoints of an even grid in the unit cube."""
        axes = [(np.arange(count) + 0.5) / count for count in self.counts]
        return np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)

    def values(self, parameters: Array, loss: Array, low: float) -> Array:
        """(n, k) shapes at n losses, one at the loss ``low``; zero for a shape that does not rise above it."""
        found = self.shape(np.append(loss, low)[:, None], parameters)
        top = found[-1]
        rises = top > 1e-12
        return np.asarray(np.where(rises, found[:-1] / np.where(rises, top, 1.0), 0.0))


def _value(scale: Scale, place: Array, low: float, high: float) -> Array:
    if scale == "log":
        return np.asarray(low * (high / low) ** place)
    if scale == "square":
        return np.asarray(low + (high - low) * place**2)
    if scale == "bend":
        first, last = ndtr(np.log([low, high]) / BEND)
        return np.asarray(np.exp(BEND * ndtri(first + (last - first) * place)))
    return np.asarray(low + (high - low) * place)


def _place(scale: Scale, values: Array, low: float, high: float) -> Array:
    if scale == "log":
        return np.asarray(np.log(values / low) / np.log(high / low))
    if scale == "square":
        return np.asarray(np.sqrt((values - low) / (high - low)))
    if scale == "bend":
        first, last = ndtr(np.log([low, high]) / BEND)
        return np.asarray((ndtr(np.log(values) / BEND) - first) / (last - first))
    return np.asarray((values - low) / (high - low))


def span(points: Points) -> float:
    """The range of losses that sets the scale: one early checkpoint at a very high loss says little."""
    near, far = np.quantile(points.loss, [0.1, 0.9])
    return float(min(np.ptp(points.loss), 2.5 * (far - near)))


def families(points: Points) -> list[Family]:
    """All families on the scale of the losses seen; weights sum to one on each side."""
    return [*turns(points), *smooths(points)]


def turns(points: Points) -> list[Family]:
    """Laws that are at chance above a threshold: straight or bent, saturating slowly or at a hard ceiling."""
    scale = span(points)
    low, high = float(points.loss.min()), float(points.loss.max())
    eta = (low + 0.01 * scale, high - 0.01 * scale)
    soft, pace = (0.0, SOFTEST * scale), (0.015 * scale, 0.6 * scale)
    bent: tuple[Bounds, ...] = (eta, (0.5, 2.5), pace, soft)
    scales: tuple[Scale, ...] = ("plain", "bend", "log", "square")
    return [
        Family("hinge", _hinge, (eta, (0.4, 2.7), soft), ("plain", "bend", "square"), (60, 7, 3), 0.4, True),
        Family("onset", _onset, bent, scales, (50, 3, 6, 2), 0.3, True),
        Family("step", _step, bent, scales, (50, 3, 6, 2), 0.3, True),
    ]


def smooths(points: Points) -> list[Family]:
    """Laws without a turn: sigmoids, one or two, exponentials, powers, curves that began before the first loss."""
    scale = span(points)
    low, high = float(points.loss.min()), float(points.loss.max())
    middle, width = (low - 0.2 * scale, low + scale), (SHARPEST * scale, 0.5 * scale)
    later = (low - 0.1 * scale, low + 0.6 * scale)
    two = (
        (0.15 * scale, 0.8 * scale),
        (0.06 * scale, 0.25 * scale),
        later,
        (SHARPEST * scale, 0.2 * scale),
        (0.2, 0.8),
    )
    found = [
        Family("logistic", _logistic, (middle, width, (0.4, 2.5)), ("plain", "log", "log"), (20, 8, 4), 0.25, False),
        Family(
            "exponential",
            partial(_exponential, low=low),
            ((SHARPEST * scale, 2 * scale),),
            ("log",),
            (30,),
            0.15,
            False,
        ),
        Family(
            "bowed",
            partial(_bowed, high=high),
            ((0.01 * scale, 3 * scale), (0.4, 5.0)),
            ("log", "log"),
            (12, 9),
            0.2,
            False,
        ),
        Family("two sigmoids", _two, two, ("plain", "log", "plain", "log", "plain"), (5, 3, 6, 3, 3), 0.1, False),
        Family(
            "gompertz",
            _gompertz,
            ((low - 0.2 * scale, low + scale), (0.12 * scale, 0.8 * scale)),
            ("plain", "log"),
            (20, 8),
            0.1,
            False,
        ),
        Family("arctan", _arctan, (middle, (0.04 * scale, 0.4 * scale)), ("plain", "log"), (20, 8), 0.1, False),
    ]
    if points.chance is not None:
        # Above chance all along; without a chance level every constant is the level itself.
        found.append(Family("flat", _flat, ((0.0, 1.0),), ("plain",), (2,), 0.1, False))
    if low > 0:
        found.append(Family("power", partial(_power, low=low), ((0.4, 20.0),), ("log",), (24,), 0.1, False))
        steep = (1.0, low / (SHARPEST * scale))
        hill = Family(
            "hill",
            _hill,
            ((max(low - 0.2 * scale, 0.3 * low), low + scale), steep),
            ("log", "log"),
            (16, 10),
            0.1,
            False,
        )
        found.append(hill)
    return found


def _hinge(loss: Array, values: Array) -> Array:
    eta, bend, softness = values
    return laws.bent_hinge(loss, eta, 1.0, bend, softness)


def _onset(loss: Array, values: Array) -> Array:
    eta, bend, pace, softness = values
    return laws.onset(loss, eta, 1.0, pace, bend, np.minimum(softness, CORNER * pace))


def _step(loss: Array, values: Array) -> Array:
    eta, bend, pace, softness = values
    return laws.step(loss, eta, 1.0, pace, bend, np.minimum(softness, CORNER * pace))


def _logistic(loss: Array, values: Array) -> Array:
    middle, width, skew = values
    return laws.logistic(loss, 1.0, middle, width, skew)


def _gompertz(loss: Array, values: Array) -> Array:
    middle, width = values
    return laws.gompertz(loss, 1.0, middle, width)


def _arctan(loss: Array, values: Array) -> Array:
    middle, width = values
    return np.asarray(0.5 - np.arctan((loss - middle) / width) / np.pi)


def _hill(loss: Array, values: Array) -> Array:
    middle, steep = values
    return np.asarray(1 / (1 + (loss / middle) ** steep))


def _two(loss: Array, values: Array) -> Array:
    apart, wide, middle, narrow, share = values
    early, late = laws.logistic(loss, 1.0, middle + apart, wide), laws.logistic(loss, 1.0, middle, narrow)
    return np.asarray((1 - share) * early + share * late)


def _flat(loss: Array, values: Array) -> Array:
    return np.ones((len(loss), values.shape[1]))


def _exponential(loss: Array, values: Array, low: float) -> Array:
    return laws.exponential(loss, 1.0, values[0], low)


def _power(loss: Array, values: Array, low: float) -> Array:
    return laws.power(loss, 1.0, values[0], low)


def _bowed(loss: Array, values: Array, high: float) -> Array:
    # A hinge whose threshold is above every loss seen: there from the start.
    return laws.bent_hinge(loss, high + values[0], 1.0, values[1])
