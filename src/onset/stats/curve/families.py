"""The curves that are compared: functional forms with priors, in units of the rise span.

Losses are standardised as ``x = (loss - lowest loss) / span``, with the rise span from the lowest loss to the
preliminary onset loss (``fit_window``): the lowest loss is at 0, the onset near 1. No bound below is in nats, and
none depends on how many checkpoints lie above the onset. A *curve with a threshold* is zero above ``eta``, but for a
corner rounded over at most ``ROUNDED`` spans; a *smooth curve* is positive everywhere. Within each of the two sides
the forms have equal prior weights, and so have the two sides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from scipy.special import ndtr, ndtri

from onset.stats.curve import curves
from onset.stats.curve.curves import Array

Shape = Callable[[Array, Array], Array]
Prior = Literal["uniform", "log_uniform", "near_zero", "log_normal"]
"""Of a parameter between its bounds: uniform, uniform in its logarithm or in its square root, or log-normal about 1."""

POWER_SD = 0.4
"""Standard deviation of the logarithm of a power: onsets are nearer to straight than to bent."""
ROUNDED = 0.06
"""The widest corner of a curve with a threshold, in rise spans: where the corner is wider, the curve is smooth. At 0.02
no table of a usual size could tell the two apart, and clear corners came out undecided."""
SHARPEST = 0.03
"""The narrowest scale of a smooth curve, in rise spans: one that rises within less is as sharp as a rounded corner."""
LATEST = 2.0
"""The highest threshold that the prior allows, in rise spans: twice the preliminary onset."""


@dataclass(frozen=True)
class CurveFamily:
    """Curves of one functional form; ``shape(x, parameters)`` maps (n, 1) and (d, k) arrays to (n, k).

    The prior of the parameters is uniform in the unit cube that ``natural`` maps from. Where there is a threshold it
    is the first parameter.
    """

    name: str
    shape: Shape
    bounds: tuple[tuple[float, float], ...]
    priors: tuple[Prior, ...]
    threshold: bool

    def natural(self, unit: Array) -> Array:
        """(d, k) parameters from (k, d) places in the unit cube."""
        found = zip(self.priors, unit.T, self.bounds, strict=True)
        return np.array([_value(prior, place, *bounds) for prior, place, bounds in found])

    def values(self, unit: Array, x: Array) -> Array:
        """(n, k) curves at x for (k, d) places in the unit cube: one at x = 0, zero for a curve that is flat there."""
        found = self.shape(np.append(x, 0.0)[:, None], self.natural(unit))
        top = found[-1]
        rises = top > 1e-12
        return np.asarray(np.where(rises, found[:-1] / np.where(rises, top, 1.0), 0.0))


def families(highest: float, *, flat: bool, relative_low: float) -> list[CurveFamily]:
    """All families for data whose highest x is ``highest``.

    ``flat`` adds a constant ability, which only a known chance level tells from chance; ``relative_low`` is the lowest
    loss in rise spans, which powers of the loss itself are functions of.
    """
    return [*with_threshold(highest), *smooth(highest, flat=flat, relative_low=relative_low)]


def with_threshold(highest: float) -> list[CurveFamily]:
    """Curves at chance above a threshold: straight or bent, saturating slowly or at a hard ceiling."""
    # A threshold above all losses seen is no threshold of these data: "risen before" is that curve.
    eta, corner = (0.01, min(LATEST, highest)), (0.0, ROUNDED)
    pace, power = (0.003, 1.5), (0.4, 2.7)
    saturating: tuple[Prior, ...] = ("uniform", "log_normal", "log_uniform", "near_zero")
    return [
        CurveFamily("hinge", _hinge, (eta, power, corner), ("uniform", "log_normal", "near_zero"), True),
        CurveFamily("saturating onset", _onset, (eta, power, pace, corner), saturating, True),
        CurveFamily("onset with a ceiling", _step, (eta, power, pace, corner), saturating, True),
        CurveFamily(
            "onset in two stages",
            _two_stages,
            (eta, pace, (0.1, 0.9), (0.1, 0.9), power),
            ("uniform", "log_uniform", "uniform", "uniform", "log_normal"),
            True,
        ),
    ]


def smooth(highest: float, *, flat: bool, relative_low: float) -> list[CurveFamily]:
    """Curves without a threshold: sigmoids, exponentials, powers, and curves that rose before the first loss seen."""
    middle: tuple[float, float] = (-0.3, 1.3)
    width = (SHARPEST, 0.6)
    two = ((0.15, 1.5), (SHARPEST, 0.4), (-0.1, 0.9), (SHARPEST, 0.3), (0.2, 0.8))
    found = [
        CurveFamily("logistic", _logistic, (middle, width, (0.4, 2.5)), ("uniform", "log_uniform", "log_uniform"),
                    False),
        CurveFamily("exponential", _exponential, ((SHARPEST, 2.0),), ("log_uniform",), False),
        CurveFamily("Gompertz", _gompertz, (middle, (SHARPEST, 1.0)), ("uniform", "log_uniform"), False),
        CurveFamily("rounded hinge", _hinge, ((0.0, 1.5), (0.4, 2.7), (ROUNDED, 0.5)),
                    ("uniform", "log_normal", "log_uniform"), False),
        CurveFamily("risen before", partial(_risen_before, highest=highest), ((0.01, 3.0), (0.4, 5.0)),
                    ("log_uniform", "log_uniform"), False),
        CurveFamily("two sigmoids", _two_sigmoids, two,
                    ("uniform", "log_uniform", "uniform", "log_uniform", "uniform"), False),
        CurveFamily("arctangent", _arctangent, (middle, (SHARPEST, 0.5)), ("uniform", "log_uniform"), False),
    ]  # fmt: skip
    if flat:
        found.append(CurveFamily("constant", _constant, ((0.0, 1.0),), ("uniform",), False))
    if relative_low > 0:
        power = partial(_power, low=relative_low)
        hill = partial(_hill, low=relative_low)
        found.append(CurveFamily("power", power, ((0.3, 20.0),), ("log_uniform",), False))
        found.append(CurveFamily("Hill", hill, (middle, (SHARPEST, 1.0)), ("uniform", "log_uniform"), False))
    return found


def _value(prior: Prior, place: Array, low: float, high: float) -> Array:
    if prior == "log_uniform":
        return np.asarray(low * (high / low) ** place)
    if prior == "near_zero":
        return np.asarray(low + (high - low) * place**2)
    if prior == "log_normal":
        first, last = ndtr(np.log([low, high]) / POWER_SD)
        return np.asarray(np.exp(POWER_SD * ndtri(first + (last - first) * place)))
    return np.asarray(low + (high - low) * place)


def _hinge(x: Array, values: Array) -> Array:
    eta, power, corner = values
    return curves.bent_hinge(x, eta, 1.0, power, corner)


def _onset(x: Array, values: Array) -> Array:
    eta, power, pace, corner = values
    # The corner is a small part of the rise, or the threshold would lie where the ability is already there.
    return curves.onset(x, eta, 1.0, pace, power, np.minimum(corner, 0.25 * pace))


def _step(x: Array, values: Array) -> Array:
    eta, power, pace, corner = values
    return curves.step(x, eta, 1.0, pace, power, np.minimum(corner, 0.25 * pace))


def _two_stages(x: Array, values: Array) -> Array:
    """A rise to a plateau within ``pace``, and a second one from a share ``later`` of the depth on."""
    eta, pace, share, later, power = values
    below = np.maximum(eta - x, 0.0)
    first = np.minimum(below / pace, 1.0)
    second = np.maximum(below - later * eta, 0.0) / ((1.0 - later) * eta)
    return np.asarray(share * first + (1 - share) * second**power)


def _logistic(x: Array, values: Array) -> Array:
    middle, width, skew = values
    return curves.logistic(x, 1.0, middle, width, skew)


def _gompertz(x: Array, values: Array) -> Array:
    middle, width = values
    return curves.gompertz(x, 1.0, middle, width)


def _arctangent(x: Array, values: Array) -> Array:
    middle, width = values
    return np.asarray(0.5 - np.arctan((x - middle) / width) / np.pi)


def _hill(x: Array, values: Array, low: float) -> Array:
    middle, width = values
    # In terms of the loss itself: 1 / (1 + (loss / middle loss)^steepness), with the width that it has in x.
    middle_loss = np.maximum(low + middle, 0.2 * low)
    return np.asarray(1 / (1 + np.exp(np.minimum(np.log((low + x) / middle_loss) * middle_loss / width, 500.0))))


def _two_sigmoids(x: Array, values: Array) -> Array:
    apart, wide, middle, narrow, share = values
    early, late = curves.logistic(x, 1.0, middle + apart, wide), curves.logistic(x, 1.0, middle, narrow)
    return np.asarray((1 - share) * early + share * late)


def _constant(x: Array, values: Array) -> Array:
    return np.ones((len(x), values.shape[1]))


def _exponential(x: Array, values: Array) -> Array:
    return curves.exponential(x, 1.0, values[0])


def _power(x: Array, values: Array, low: float) -> Array:
    # Of the loss itself: (loss / lowest loss)^-exponent, the exponent in units of the slope that it has at x = 0.
    return np.asarray(np.exp(-values[0] * low * np.log1p(x / low)))


def _risen_before(x: Array, values: Array, highest: float) -> Array:
    """A bent hinge whose threshold lies above every loss seen."""
    return curves.bent_hinge(x, highest + values[0], 1.0, values[1])
