"""Laws: plain functions of score (or ability) on loss; a law's parameter names come from its signature.

A law takes the loss first and its parameters after it, works on arrays of any shapes that broadcast
against each other, and has no state. Loss is in the unit of the table (nats per token as a rule).
*Laws with a turn* are exactly, or but for a rounded corner, zero above the threshold ``eta``;
*smooth laws* rise everywhere. All are written for ability, the distance of a score from chance,
which grows as loss falls; `onset.stats.prediction.curve_fit` adds chance and direction.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onset.errors import OnsetError

Array = NDArray[np.float64]
Numbers = float | Array
"""A number or an array of them."""
Law = Callable[..., Any]


def parameters(law: Law) -> tuple[str, ...]:
    """The names of a law's parameters: its signature without the loss."""
    names = tuple(inspect.signature(law).parameters)
    if len(names) < 2:
        raise OnsetError(
            f"The law '{getattr(law, '__name__', law)}' has no parameters to fit.",
            advice="write it as a function of the loss and at least one parameter, such as def line(loss, slope)",
        )
    return names[1:]


def defaults(law: Law) -> dict[str, float]:
    """The parameters that a law's signature gives a value: where a fit starts for them."""
    found = inspect.signature(law).parameters
    return {name: float(item.default) for name, item in found.items() if item.default is not inspect.Parameter.empty}


def depth(loss: Numbers, eta: Numbers, softness: Numbers = 0.0) -> Array:
    """How far a loss is below the threshold (nats): ``max(eta - loss, 0)``, its corner rounded over ``softness``.

    The rounded corner is the softplus ``s log(1 + exp((eta - loss) / s))``: it leaves zero like
    an exponential of scale ``s`` and is ``s log 2`` at the threshold.
    """
    below = np.asarray(eta, dtype=float) - np.asarray(loss, dtype=float)
    width = np.asarray(softness, dtype=float)
    safe = np.where(width > 0, width, 1.0)
    ratio = below / safe
    rounded = safe * (np.maximum(ratio, 0.0) + np.log1p(np.exp(-np.abs(ratio))))
    return np.asarray(np.where(width > 0, rounded, np.maximum(below, 0.0)))


def hinge(loss: Numbers, eta: Numbers, slope: Numbers) -> Array:
    """Nothing above the threshold, a straight line below it (score per nat)."""
    return np.asarray(slope * depth(loss, eta))


def bent_hinge(loss: Numbers, eta: Numbers, slope: Numbers, power: Numbers = 1.0, softness: Numbers = 0.0) -> Array:
    """A hinge whose lower part is a power of the depth below the threshold, the corner rounded or not."""
    return np.asarray(slope * depth(loss, eta, softness) ** power)


def soft_hinge(loss: Numbers, eta: Numbers, slope: Numbers, softness: Numbers = 0.05) -> Array:
    """A hinge whose corner is rounded over ``softness`` nats."""
    return np.asarray(slope * depth(loss, eta, softness))


def onset(
    loss: Numbers, eta: Numbers, height: Numbers, pace: Numbers, power: Numbers = 1.0,
    softness: Numbers = 0.0,
) -> Array:  # fmt: skip
    """A threshold with saturation: ``height (1 - exp(-(depth / pace)^power))``, the corner rounded or not.

    A Weibull curve in the depth below the threshold; a hinge where ``pace`` is long.
    """
    return np.asarray(height * -np.expm1(-((depth(loss, eta, softness) / pace) ** power)))


def step(
    loss: Numbers, eta: Numbers, height: Numbers, pace: Numbers, power: Numbers = 1.0,
    softness: Numbers = 0.0,
) -> Array:  # fmt: skip
    """A threshold with a hard ceiling: rises as a power to ``height`` within ``pace`` nats and stays there."""
    return np.asarray(height * np.minimum((depth(loss, eta, softness) / pace) ** power, 1.0))


def logistic(loss: Numbers, height: Numbers, middle: Numbers, width: Numbers, skew: Numbers = 1.0) -> Array:
    """A sigmoid in loss, raised to ``skew``; it approaches chance like an exponential of scale ``width / skew``."""
    steps = (np.asarray(loss, dtype=float) - np.asarray(middle, dtype=float)) / width
    return np.asarray(height * np.exp(-np.asarray(skew, dtype=float) * np.logaddexp(0.0, steps)))


def gompertz(loss: Numbers, height: Numbers, middle: Numbers, width: Numbers) -> Array:
    """A lopsided sigmoid in loss, ``height exp(-exp((loss - middle) / width))``: the fastest to leave chance."""
    steps = (np.asarray(loss, dtype=float) - np.asarray(middle, dtype=float)) / width
    return np.asarray(height * np.exp(-np.exp(np.minimum(steps, 50.0))))


def exponential(loss: Numbers, height: Numbers, pace: Numbers, origin: Numbers = 0.0) -> Array:
    """``height exp(-(loss - origin) / pace)``."""
    return np.asarray(height * np.exp(-(np.asarray(loss, dtype=float) - origin) / pace))


def power(loss: Numbers, height: Numbers, exponent: Numbers, origin: Numbers = 1.0) -> Array:
    """``height (loss / origin)^-exponent``; the loss must be positive."""
    return np.asarray(height * (np.asarray(loss, dtype=float) / origin) ** -np.asarray(exponent, dtype=float))


def line(loss: Numbers, level: Numbers, slope: Numbers) -> Array:
    """``level - slope loss``: a straight rise as the loss falls."""
    return np.asarray(level - np.asarray(slope) * np.asarray(loss, dtype=float))
