"""Average over curves of several bandwidths by how well each predicted the table's own larger sizes.

Rolling: each larger size (in a table of one size: each later stretch of losses) is predicted from what lies before it.
A curve's weight is its predictive density there (pseudo-Bayesian model averaging, Geisser and Eddy 1979), on the task
itself and, for less, on the table's other tasks. The same predictions say by how much intervals must be stretched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from onset.stats.data import Array, Bools, CurveData
from onset.stats.prediction.local_logistic import RUN_PRIOR, LocalLogistic, fit

CANDIDATES: tuple[tuple[float, int], ...] = ((0.06, 1), (0.1, 1), (0.15, 1), (0.25, 1), (np.inf, 1), (0.25, 2))
"""Bandwidth as a share of the lowest loss, and degree."""

BEND = 0.15
"""Standard deviation of the slope beyond the lowest loss, as a share of the slope."""
DRIFT = RUN_PRIOR
"""Standard deviation of a later checkpoint about its run's curve, on the logit scale."""

MOST_FOLDS = 4
GAP = 1.3
"""Sizes that differ by less than this factor are one size."""
FEWEST_ROWS, FEWEST_LOSSES = 6, 4
TEMPER = 0.5
"""Weight of a log density: the folds of a rolling test overlap."""
OTHERS = 2.0
"""Folds of a task's own that the mean over the table's other tasks counts for."""
SHRUNK = 4.0
"""Predictions that the model's own interval counts for in a stretch."""
MOST_MISSED = 16.0
"""A prediction far off says that such occur, not how often: no squared miss counts for more."""
NARROWEST = 0.7


@dataclass(frozen=True, eq=False)
class Fold:
    """Predictions of held-out runs by every candidate, on the scale of shares."""

    means: Array = field(repr=False)
    """(candidates, runs)"""
    variances: Array = field(repr=False)
    """(candidates, runs), items included."""
    seen: Array = field(repr=False)
    """(runs,)"""

    def log_density(self) -> Array:
        """(candidates,) log density of what was seen, a mean over runs, far misses capped."""
        squares = np.minimum((self.means - self.seen) ** 2 / self.variances, MOST_MISSED)
        return np.asarray(np.mean(-0.5 * squares - 0.5 * np.log(self.variances), axis=1))

    def squared_misses(self, weights: Array) -> Array:
        """(runs,) squared misses of the average, in variances of the average."""
        mean = weights @ self.means
        variance = weights @ (self.variances + (self.means - mean) ** 2)
        return np.asarray(np.minimum((mean - self.seen) ** 2 / variance, MOST_MISSED))


@dataclass(frozen=True)
class Averaging:
    """Weights of the candidates for one task, and the stretch of its intervals."""

    weights: Array
    stretch: float
    folds: int


def candidates(data: CurveData) -> tuple[LocalLogistic, ...]:
    """Every candidate fitted to the rows."""
    return tuple(fit(data, bandwidth, degree) for bandwidth, degree in CANDIDATES)


def beyond(curve: LocalLogistic, loss: Array) -> Array:
    """Variance of a new score on the link scale besides the curve's own: drift, and a slope that may change."""
    distance = np.maximum(1.0 - loss / curve.lowest, 0.0)
    return np.asarray((DRIFT * curve.link.unit) ** 2 + (BEND * curve.slope * distance) ** 2)


def rolling(data: CurveData) -> list[Fold]:
    """Every larger size (or later stretch) predicted from those before it, by all candidates."""
    folds = []
    for known, held in _splits(data):
        learnt, unseen = data.subset(known), data.subset(held)
        if len(learnt) >= FEWEST_ROWS and len(np.unique(learnt.loss)) >= FEWEST_LOSSES and len(unseen):
            folds.append(_fold(learnt, unseen))
    return folds


def average(tested: Sequence[Sequence[Fold]]) -> list[Averaging]:
    """Weights and stretch of each task, from its own folds and those of the other tasks of the table."""
    count = len(CANDIDATES)
    logs = [sum((fold.log_density() for fold in folds), np.zeros(count)) for folds in tested]
    means = [_centred(log / len(folds)) for log, folds in zip(logs, tested, strict=True) if folds]
    pooled = np.mean(means, axis=0) if means else np.zeros(count)
    weights = [_softmax(TEMPER * (log + OTHERS * pooled)) for log in logs]
    misses = [
        np.concatenate([fold.squared_misses(weight) for fold in folds]) if folds else np.zeros(0)
        for folds, weight in zip(tested, weights, strict=True)
    ]
    every = np.concatenate(misses) if misses else np.zeros(0)
    usual = (SHRUNK + every.sum()) / (SHRUNK + len(every))
    return [
        Averaging(weight, _stretch(own, usual), len(folds))
        for weight, own, folds in zip(weights, misses, tested, strict=True)
    ]


def _stretch(misses: Array, usual: float) -> float:
    return float(np.sqrt(max((SHRUNK * usual + misses.sum()) / (SHRUNK + len(misses)), NARROWEST**2)))


def _centred(logs: Array) -> Array:
    return np.asarray(logs - logs.max())


def _softmax(logs: Array) -> Array:
    weights = np.exp(_centred(logs))
    return np.asarray(weights / weights.sum())


def _splits(data: CurveData) -> list[tuple[Bools, Bools]]:
    """Rows known and rows held out of each fold: by size, or by loss where there are fewer than three sizes."""
    sizes = _levels(data.log_params)
    ends = _ends(data)
    if len(sizes) >= 3:
        cuts = range(len(sizes) - 1, 0, -1)
        return [(data.log_params < sizes[at], ends & _level(data, sizes, at)) for at in list(cuts)[:MOST_FOLDS]]
    lowest, median = np.quantile(data.loss, [0.0, 0.5])
    edges = lowest + (median - lowest) * np.array([0.6, 0.4, 0.25])
    return [(data.loss > edge, data.loss <= lowest + 0.5 * (edge - lowest)) for edge in edges]


def _levels(log_params: Array) -> Array:
    """Lower ends of groups of sizes that differ by more than ``GAP``."""
    if not np.isfinite(log_params).all():
        return np.zeros(0)
    known = np.unique(log_params)
    return np.asarray(known[np.r_[True, np.diff(known) > np.log10(GAP)]])


def _level(data: CurveData, sizes: Array, at: int) -> Bools:
    above = sizes[at + 1] if at + 1 < len(sizes) else np.inf
    return np.asarray((data.log_params >= sizes[at]) & (data.log_params < above))


def _ends(data: CurveData) -> Bools:
    """The lowest fifth of the losses of each run: what a forecast is asked for."""
    kept = np.zeros(len(data), dtype=bool)
    for run in range(len(data.runs)):
        here = np.flatnonzero(data.run == run)
        kept[here] = data.loss[here] <= np.quantile(data.loss[here], 0.2)
    return kept


def _fold(learnt: CurveData, unseen: CurveData) -> Fold:
    curves = candidates(learnt)
    link = curves[0].link
    seen = link.share(unseen.sign * (unseen.score - (learnt.chance.value or 0.0)) / learnt.scale)
    noise, _ = link.noise(unseen, np.clip(seen, 0.02, 0.98) if link.kind == "logit" else seen)
    means, variances = (np.empty((len(curves), len(unseen.runs))) for _ in range(2))
    for place, curve in enumerate(curves):
        for run, name in enumerate(unseen.runs):
            here = unseen.run == run
            family = unseen.families[unseen.family[here][0]]
            value, variance = curve.value(unseen.loss[here], float(unseen.log_params[here][0]), family, name)
            share = link.inverse(value)
            total = link.slope(share) ** 2 * (variance + beyond(curve, unseen.loss[here]))
            means[place, run] = share.mean()
            variances[place, run] = total.mean() + curve.dispersion * noise[here].mean() / here.sum()
    observed = np.array([seen[unseen.run == run].mean() for run in range(len(unseen.runs))])
    return Fold(means, variances, observed)
