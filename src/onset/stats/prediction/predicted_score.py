"""The score of a run that was not made, from its loss: draws from the curve of one task with all that a new run has.

The interval has the curve's own uncertainty, growing beyond the losses seen, runs that differ, drift within a run, the
error of the loss and the items. It is then tried on the table itself: the runs that came to the lowest losses are
predicted from the others, and the interval is stretched by what such predictions missed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onset.stats.data import Array, CurveData
from onset.stats.mixed.smooth_curve import SmoothCurve, fit_curve
from onset.stats.noise import LEAST_PRESENCE

BEYOND = 0.6
"""Ability by which a curve may bend per range of losses seen beyond the lowest one: a flat stretch is no promise."""

FEWEST_RUNS = 3
"""Runs to learn from when a prediction is tried on the table's own lowest losses."""

SHRUNK = 2.0
"""Runs' worth of trust in the model's own interval, beside the runs that it was tried on."""

MOST_MISSED = 25.0
"""A run far off says that such runs occur, not how often: no squared miss counts for more."""

_STEPS = 15


@dataclass(frozen=True, eq=False)
class PredictedScore:
    """The curve of one task, ready to draw new runs from."""

    curve: SmoothCurve
    centre: float
    """Mean log10 of the sizes; NaN where sizes are not known."""
    largest: float
    """Largest log10 of the sizes."""
    stretch: float = 1.0
    """How much farther the lowest losses lay from their predictions than the model allows."""

    @property
    def span(self) -> tuple[float, float]:
        """Lowest and highest loss seen."""
        return float(self.curve.data.loss.min()), float(self.curve.data.loss.max())

    def draw(self, losses: Array, log_params: float, items: float, rng: np.random.Generator) -> Array:
        """Scores, in the units of the table, that a new run may show at possible losses, one a loss."""
        data = self.curve.data
        mean, deviation = self.at(losses, log_params)
        ability = mean + self.stretch * deviation * rng.standard_normal(len(losses))
        share = data.to_score(ability) / data.scale
        if data.binomial:
            share = np.clip(share, 0.0, 1.0)
            noise = np.sqrt(share * (1.0 - share) / items + 1e-12) if np.isfinite(items) else 0.0
            share = np.clip(share + noise * rng.standard_normal(len(losses)), 0.0, 1.0)
        else:
            noise = float(np.sqrt(np.median(self.curve.model.rows.items))) * self.curve.model.parts.items
            share = share + noise * rng.standard_normal(len(losses))
            share = np.maximum(share, 0.0) if data.score.min() >= 0 else share
        return np.asarray(share * data.scale)

    def at(self, losses: Array, log_params: float) -> tuple[Array, Array]:
        """Mean ability of a new run, and its standard deviation without the items, at each loss."""
        curve, model = self.curve, self.curve.model
        low, high = self.span
        grid = np.linspace(losses.min(), losses.max(), 40) if np.ptp(losses) > 0 else losses[:1]
        size = 0.0
        if np.isfinite(self.centre):
            size = (log_params if np.isfinite(log_params) else self.largest) - self.centre
        mean, deviation = curve.mean_at(grid, np.array([size]) if np.isfinite(self.centre) else None)
        slope = np.abs(curve.slope_at(grid)) * float(curve.data.loss.min())
        run, shift = model.spread
        top = max(float(curve.fitted.max()), 1e-9)
        there = np.sqrt(np.clip(mean / top, LEAST_PRESENCE**2, None)) if curve.data.chance.value is not None else 1.0
        bend = BEYOND * np.sqrt(np.maximum((low - grid) / max(high - low, 1e-9), 0.0) ** 3 / 3.0)
        parts = model.parts
        total = deviation**2 + (run**2 + parts.drift**2) * there**2 + (shift**2 + parts.loss**2) * slope**2 + bend**2
        if len(grid) == 1:
            return np.full(len(losses), mean[0]), np.full(len(losses), np.sqrt(total[0]))
        return np.interp(losses, grid, mean), np.interp(losses, grid, np.sqrt(total))


def learn(data: CurveData) -> tuple[str, PredictedScore | None]:
    """The curve of one task, or why nothing can be predicted from it."""
    losses = len(np.unique(data.loss))
    if len(data) < 6 or losses < 4:
        return f"only {len(data)} observations at {losses} losses; 6 at 4 losses or more are needed", None
    made = _fitted(data)
    if data.chance.value is not None:
        mean, deviation = made.curve.mean_at(np.array([made.span[0]]))
        if mean[0] <= 2.0 * deviation[0]:
            return "at chance everywhere: lower losses cannot be predicted from losses without the ability", None
    return "", PredictedScore(made.curve, made.centre, made.largest, _stretch(data))


def _fitted(data: CurveData) -> PredictedScore:
    known = np.isfinite(data.log_params).all() and np.ptp(data.log_params) > 1e-9
    centre = float(data.log_params.mean()) if known else np.nan
    beside = data.log_params[:, None] - centre if known else None
    curve = fit_curve(data, within_family=False, beside=beside, even=True, steps=_STEPS)
    return PredictedScore(curve, centre, float(data.log_params.max()))


def _stretch(data: CurveData) -> float:
    """How much wider than the model's an interval must be, by what it misses when the lowest losses are held out.

    The fifth of the runs that came to the lowest losses is predicted from the others, then the fifth before it from
    those above; the mean squared miss of a run, in standard deviations, is shrunk to one by a few runs' worth and
    never narrows an interval.
    """
    lowest = np.minimum.reduceat(data.loss, data.starts)
    order = np.argsort(-lowest, kind="stable")
    fold = max(1, len(order) // 5)
    misses: list[float] = []
    for end in (len(order), len(order) - fold):
        known = data.subset(np.isin(data.run, order[: max(end - fold, 0)])) if end - fold >= FEWEST_RUNS else None
        if known is None or len(known) < 6 or len(np.unique(known.loss)) < 4:
            continue
        held = data.subset(np.isin(data.run, order[end - fold : end]))
        misses += list(_misses(_fitted(known), held, data))
    total = np.minimum(np.array(misses), MOST_MISSED).sum()
    return float(np.sqrt(max(1.0, (SHRUNK + total) / (SHRUNK + len(misses)))))


def _misses(made: PredictedScore, held: CurveData, whole: CurveData) -> Array:
    """(runs,) mean squared miss of each held-out run, in standard deviations of its prediction."""
    items = np.nan_to_num(held.item_variance())
    misses = []
    for run in range(len(held.runs)):
        here = held.run == run
        mean, deviation = made.at(held.loss[here], float(held.log_params[here].mean()))
        # The two may be scaled apart where a metric has no range of its own.
        mean, deviation = mean * made.curve.data.scale / whole.scale, deviation * made.curve.data.scale / whole.scale
        ability = whole.sign * (held.score[here] - (whole.chance.value or 0.0)) / whole.scale
        misses.append(float(np.mean((ability - mean) ** 2 / (deviation**2 + items[here]))))
    return np.array(misses)
