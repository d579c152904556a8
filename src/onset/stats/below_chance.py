"""Worse than chance: scores that start below it, as overconfident Brier scores do, and what they hide.

Being worse than chance is no ability: a Brier score that falls from 1.0 to 0.75 on four choices has
learnt only to be unsure. Where the highest losses are worse than chance by far more than noise,
their systematic part is taken out before laws are weighed. Where the score then passes through
chance on a straight course, no turn is found there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from onset.stats.point_noise import items_variance
from onset.stats.points import Points

Array = NDArray[np.float64]

LEAST = 0.02
"""Score below chance (of the room there is) from which it is systematic and not bad manners."""
CLEAR = 4.0
"""Standard errors of a step of the monotone fit from which it is not chance: the lowest step was chosen as such."""
STEADY = 0.4
"""Slope just above the threshold, of that below it, from which the score passes through chance without a turn."""
FLAT = 0.15
"""Slope further above, of that below, up to which the score stood still there, worse than chance."""

Crossing = Literal["turn", "straight", "before"]


@dataclass(frozen=True)
class Worse:
    """The systematic part of scores worse than chance, as ability (negative) on rising loss."""

    loss: Array
    ability: Array

    def at(self, loss: Array) -> Array:
        """(n,) at any losses; zero where the score is not worse than chance."""
        return np.asarray(np.interp(loss, self.loss, self.ability))


def lifted(points: Points) -> tuple[Points, Worse | None]:
    """The points with what is systematically worse than chance taken out, and what that was."""
    if points.chance is None:
        return points, None
    order = np.argsort(points.loss)
    fitted = isotonic_regression(points.ability[order], increasing=False).x
    known = np.sqrt(items_variance(points, np.zeros(len(points.loss))))[order]
    _, block, size = np.unique(fitted, return_inverse=True, return_counts=True)
    below = fitted < -np.maximum(LEAST * points.room, CLEAR * known / np.sqrt(size[block]))
    if below.sum() < 3:
        return points, None
    worse = Worse(points.loss[order], np.minimum(fitted, 0.0))
    return replace(points, ability=points.ability - worse.at(points.loss)), worse


def crossing(points: Points, eta: float, scale: float) -> Crossing:
    """How the score goes through chance at ``eta``: with a ``turn``, ``straight`` on, or having turned ``before``.

    ``points`` as measured, ``scale`` the range of losses. Compares the slopes of straight lines
    just below, just above, and further above the threshold.
    """
    reach = 0.2 * scale
    after = _slope(points, eta - reach, eta)
    if _slope(points, eta, eta + reach) <= STEADY * after:
        return "turn"
    return "before" if _slope(points, eta + reach, np.inf) <= FLAT * after else "straight"


def _slope(points: Points, low: float, high: float) -> float:
    """Ability gained a nat between two losses; infinite where fewer than three points say."""
    here = (points.loss >= low) & (points.loss <= high)
    if here.sum() < 3 or np.ptp(points.loss[here]) < 1e-9:
        return np.inf
    return -float(np.polyfit(points.loss[here], points.ability[here], 1)[0])
