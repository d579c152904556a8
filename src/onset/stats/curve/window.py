"""The rise span and the window of losses that are fitted: the scale that every prior is relative to.

The rise span is the loss between the lowest checkpoint and a preliminary onset, found by least squares over hinges
about chance. Checkpoints at chance far above the onset change neither, so a table that happens to hold many of them
gets the answer of one that holds few. Checkpoints more than ``REACH`` spans above the lowest loss are not fitted; they
are counted, and compared with chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onset.metrics import info as metrics
from onset.stats.data import Array, CurveData

REACH = 2.5
"""Rise spans above the lowest loss that are fitted."""
POWERS = (0.5, 1.0, 2.0)
CEILINGS = (0.05, 0.3)
"""Shapes of the preliminary fit: powers of the depth below the onset, and straight rises to a ceiling within these
shares of it."""
CANDIDATES = 160
REFINED = 3
"""Times that the best candidate is sought again between its neighbours, nine places each time."""
NOT_AT_CHANCE = 4.0
"""Standard errors of the rows above the window from which the window holds all rows."""
LEAST_GAIN = 12.0
"""Gain in weighted squared error of a rise that sets the scale: the best of many hinges gains several by luck."""
FLOOR_ERRORS = 3.5
"""Standard errors from chance at which the scores above the onset are said to have a level of their own."""
LEAST_FLOOR = 0.01
"""The same as a share of the metric's range."""


@dataclass(frozen=True, eq=False)
class FitWindow:
    """What is fitted, and the scale it is fitted on."""

    data: CurveData
    """Rows within the window."""
    keep: NDArray[np.bool_]
    """(all rows,) which ones those are."""
    low: float
    """Lowest loss."""
    span: float
    """Rise span, in the unit of the loss."""
    floor: float
    """Level of the scores above the preliminary onset where it is not chance, as ability; 0 where it is chance."""
    floor_error: float
    room: float
    """The most ability that the metric allows."""
    beyond: int
    """Rows above the window."""
    beyond_errors: float
    """How many standard errors the mean of these rows is from the floor; NaN without such rows."""

    @property
    def x(self) -> Array:
        """(n,) losses of the window in rise spans from the lowest."""
        return np.asarray((self.data.loss - self.low) / self.span)

    @property
    def free_floor(self) -> bool:
        """Whether the level above the onset is estimated: chance unknown, or not the level that is seen."""
        return self.data.chance.value is None or self.floor != 0.0


def fit_window(data: CurveData, items: Array) -> FitWindow:
    """The window of a curve; ``items`` is the item variance of ability (n,)."""
    weight = 2.0 / (items + float(np.median(items)) + 1e-12)
    low = float(data.loss.min())
    shared = float(np.sqrt(np.median(items)))
    unknown = data.chance.value is None
    onset, gain, level, error = _preliminary(data.loss, data.ability, weight, free=unknown)
    floor = level if unknown else 0.0
    if not unknown:
        other, more, level, error = _preliminary(data.loss, data.ability, weight, free=True)
        # Everybody answers the same items: their error does not average out over checkpoints.
        error = float(np.hypot(error, shared))
        if abs(level) > max(FLOOR_ERRORS * error, LEAST_FLOOR):
            onset, gain, floor = other, more, level
    # Where nothing rises beyond the noise there is no onset to take a scale from: all losses are fitted.
    rises = onset > low and gain > LEAST_GAIN
    span = onset - low if rises else float(np.ptp(data.loss))
    keep, errors = _within(data, items, low, span, floor, shared)
    if abs(errors) > NOT_AT_CHANCE:
        # The score is not at its level far above: the onset that set the scale is none, or not the only one.
        span = max(span, float(np.ptp(data.loss)) / REACH)
        keep, errors = _within(data, items, low, span, floor, shared)
    beyond = ~keep
    return FitWindow(
        data if keep.all() else data.subset(keep), keep, low, span, floor, error, room_of(data), int(beyond.sum()),
        errors,
    )  # fmt: skip


def _within(
    data: CurveData, items: Array, low: float, span: float, floor: float, shared: float
) -> tuple[NDArray[np.bool_], float]:
    """Which rows are within the window, and how many standard errors the others' mean is from the floor (NaN: none)."""
    keep = data.loss <= low + REACH * span + 1e-9 * abs(low)
    if keep.all():
        return keep, np.nan
    weight = 1.0 / items[~keep]
    mean = float(np.average(data.ability[~keep], weights=weight)) - floor
    return keep, mean / float(np.hypot(1.0 / np.sqrt(weight.sum()), shared))


def room_of(data: CurveData) -> float:
    """The most ability that there can be; half more than the most seen where the metric has no bound."""
    low, high = metrics.bounds(data.metric)
    if data.bounded and data.scale == 100.0:
        high = 100.0
    elif data.bounded and not np.isfinite(high):
        low, high = 0.0, 1.0
    chance = data.chance.value
    if chance is not None:
        best = high if data.direction == "higher" else low
        if np.isfinite(best):
            return max(abs(best - chance) / data.scale, 1e-6)
        return max(1.5 * float(data.ability.max()), 1e-9)
    return max(1.5 * float(np.ptp(data.ability)), 1e-9)


def _preliminary(loss: Array, ability: Array, weight: Array, *, free: bool) -> tuple[float, float, float, float]:
    """Onset loss, gain in squared error, and level above it with its error, of the best hinge by least squares.

    The level is chance unless ``free``. Where nothing rises, the onset is the highest loss.
    """
    if np.ptp(ability) <= 0:
        return float(loss.max()), 0.0, float(ability.mean()) if free else 0.0, 1e-9
    ordered = np.unique(loss)
    low, high = float(ordered[0]), float(ordered[-1])
    if len(ordered) > CANDIDATES:
        ordered = np.quantile(ordered, np.linspace(0, 1, CANDIDATES))
    middles = np.concatenate([(ordered[1:] + ordered[:-1]) / 2, ordered[2:]])
    places = np.unique(np.append(middles[middles > low], high))
    gains = _gains(places, loss, ability, weight, free)
    best, gain = float(places[int(gains.argmax())]), float(gains.max())
    step = float(np.diff(ordered).max()) if len(ordered) < 3 else 0.0
    for _ in range(REFINED):
        index = int(np.searchsorted(places, best))
        left, right = float(places[max(index - 1, 0)]), float(places[min(index + 1, len(places) - 1)])
        places = np.unique(np.append(np.linspace(max(left, low + 1e-9 * (high - low)), right, 9), best))
        gains = _gains(places, loss, ability, weight, free)
        if gains.max() >= gain:
            best, gain = float(places[int(gains.argmax())]), float(gains.max())
    above = loss >= best - step
    plateau = int(above.sum()) >= 3
    if not plateau:
        above = loss >= np.sort(loss)[-max(3, len(loss) // 10)] if len(loss) >= 3 else loss >= low
    level = float(np.average(ability[above], weights=weight[above]))
    spread = float(np.sqrt(np.average((ability[above] - level) ** 2, weights=weight[above])))
    error = spread / np.sqrt(above.sum())
    if level > 0:
        # Above chance without a plateau the score rises from the start, and needs no level of its own.
        error = float(np.hypot(error, _change(loss[above], ability[above]))) if plateau else np.inf
    return best, gain, level, error


def _change(loss: Array, ability: Array) -> float:
    """Half the difference between the scores at the higher and at the lower losses: a level that changes is none."""
    high = loss > np.median(loss)
    return 0.5 * abs(float(ability[high].mean() - ability[~high].mean())) if high.any() else 0.0


def _gains(places: Array, loss: Array, ability: Array, weight: Array, free: bool) -> Array:
    """(places,) least squares gain of the best rise from chance (or from a free level) at each onset."""
    low = float(loss.min())
    depth = np.maximum(places[None, :] - loss[:, None], 0.0) / np.maximum(places - low, 1e-12)
    bases = [depth**power for power in POWERS] + [np.minimum(depth / share, 1.0) for share in CEILINGS]
    found = np.full(len(places), -np.inf)
    for basis in bases:
        y = ability
        if free:
            mean = weight / weight.sum()
            y = ability - mean @ ability
            basis = basis - mean @ basis
        pull = np.maximum((weight * y) @ basis, 0.0)
        size = weight @ basis**2
        found = np.maximum(found, np.where(size > 1e-12, pull**2 / np.maximum(size, 1e-12), 0.0))
    return found
