"""What is estimated: onset loss, onset width and threshold, from posterior draws over all curves.

The *onset loss* is the highest loss at which the curve exceeds chance by ``delta``: the benchmark dose of toxicology
(Crump 1984; EFSA 2022) with the loss as the dose. The *onset width* is how far the loss falls from there until half
of what the curve reaches at the lowest loss is reached. Both are averaged over curves with and without a threshold, by
their marginal likelihoods; the threshold itself is a parameter of the curves that have one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp, ndtr, ndtri, stdtrit
from scipy.stats import qmc

from onset.stats.curve.marginal_likelihood import ModelComparison, Sample
from onset.stats.curve.row_noise import Rows
from onset.stats.data import Array

DRAWS = 2048
IN_WINDOW = 300
"""Losses at which curves are drawn, besides those of the grid."""


@dataclass(frozen=True, eq=False)
class Quantiles:
    """A median with an equal-tailed interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Draws:
    """Posterior draws of the curve at increasing losses."""

    loss: Array
    """(g,)."""
    excess: Array
    """(g, draws) ability: excess over chance, or over the estimated level where chance is unknown."""
    threshold: Array
    """(draws,) the threshold; NaN for smooth curves."""
    level: Array
    """(draws,) estimated level where chance is unknown, else 0: it goes with the height of the same draw."""

    def onset(self, delta: float) -> Array:
        """(draws,) highest loss at which the excess is ``delta``; NaN where it never is."""
        return _highest_at(self.loss, self.excess, np.full(self.excess.shape[1], delta))

    def half(self) -> Array:
        """(draws,) highest loss at which half of the excess at the lowest loss is reached."""
        return _highest_at(self.loss, self.excess, 0.5 * self.excess[0])

    def side(self, threshold: bool) -> Draws:
        """The draws with a threshold, or without one."""
        keep = np.isfinite(self.threshold) == threshold
        return Draws(self.loss, self.excess[:, keep], self.threshold[keep], self.level[keep])

    @property
    def count(self) -> int:
        """Number of draws."""
        return int(self.excess.shape[1])


def draws_of(comparison: ModelComparison, rows: Rows, seed: int, side: bool | None = None) -> Draws:
    """Posterior draws over all families, or over those with or without a threshold (``side``)."""
    samples = list(comparison.samples) if side is None else comparison.side(side)
    window = rows.window
    loss = _losses(rows)
    x = (loss - window.low) / window.span
    uniform = qmc.Sobol(3, rng=np.random.default_rng([seed, 7])).random(DRAWS)
    owner, index = _chosen(samples, uniform[:, 0])
    excess, threshold = np.empty((len(loss), DRAWS)), np.full(DRAWS, np.nan)
    floors, level = np.zeros(DRAWS), np.zeros(DRAWS)
    for number, sample in enumerate(samples):
        mine = owner == number
        if not mine.any():
            continue
        picked = index[mine]
        height = _heights(sample, picked, uniform[mine, 1], window.room)
        excess[:, mine] = sample.family.values(sample.unit[picked], x) * height
        if sample.family.threshold:
            threshold[mine] = window.low + window.span * sample.parameters[0, picked]
        if window.free_floor:
            found = comparison.likelihood.products.coefficients(sample.values[:, picked], height)
            error = np.sqrt(comparison.likelihood.products.coefficients_error()[-1, -1])
            floors[mine] = found[-1] + error * ndtri(uniform[mine, 2])
    if window.free_floor:
        floors = floors * comparison.likelihood.columns[0, -1]
        if window.data.chance.value is None:
            level = floors
        else:
            excess = excess + floors
    return Draws(loss, excess, threshold, level)


def quantiles(
    values: Array, level: float, inside: tuple[float, float] | None = None, runs: int | None = None
) -> Quantiles:
    """Median and equal-tailed interval of draws, within bounds if given; NaN draws are left out.

    With ``runs`` the two sides of the interval are those of Student's t with as many degrees of freedom (at least
    two): the draws hold the variance between runs fixed, and that many runs have told it.
    """
    known = values[np.isfinite(values)]
    tail = (1 - level) / 2
    low, middle, high = np.quantile(known, [tail, 0.5, 1 - tail])
    if runs is not None:
        longer = float(stdtrit(max(runs, 2), 1 - tail) / ndtri(1 - tail))
        low, high = middle - longer * (middle - low), middle + longer * (high - middle)
    if inside is not None:
        low, middle, high = np.clip([low, middle, high], *inside)
    return Quantiles(float(middle), float(low), float(high))


def _losses(rows: Rows) -> Array:
    window = rows.window
    top = float(window.data.loss.max())
    inside = np.linspace(window.low, top, IN_WINDOW)
    # Steps of the curve between two checkpoints are drawn where they are.
    return np.unique(np.concatenate([inside, window.low + window.span * rows.grid]))


def _chosen(samples: list[Sample], uniform: Array) -> tuple[Array, Array]:
    """Family and curve of each draw: the two sides weighed equally a priori, families within a side equally."""
    count = {side: sum(one.family.threshold is side for one in samples) for side in (True, False)}
    logs = [sample.log_weight - np.log(count[sample.family.threshold]) for sample in samples]
    owner = np.concatenate([np.full(len(one), number) for number, one in enumerate(logs)])
    index = np.concatenate([np.arange(len(one)) for one in logs])
    weight = np.concatenate(logs)
    cumulative = np.cumsum(np.exp(weight - logsumexp(weight)))
    picks = np.minimum(np.searchsorted(cumulative, uniform * cumulative[-1]), len(weight) - 1)
    return owner[picks], index[picks]


def _heights(sample: Sample, picked: Array, uniform: Array, room: float) -> Array:
    """Heights from the Gaussian that each curve leaves, between 0 and all there is."""
    centre, sd = sample.solved.centre[picked], 1.0 / np.sqrt(sample.solved.precision[picked])
    first, last = ndtr((0.0 - centre) / sd), ndtr((room - centre) / sd)
    drawn = centre + sd * ndtri(np.clip(first + uniform * (last - first), 1e-300, 1 - 1e-16))
    return np.asarray(np.clip(np.where(last - first > 1e-12, drawn, np.clip(centre, 0.0, room)), 0.0, room))


def _highest_at(loss: Array, excess: Array, wanted: Array) -> Array:
    """(draws,) highest loss at which each column is at least the wanted value, between grid losses by a line."""
    there = excess >= wanted[None, :]
    count = len(loss)
    last = count - 1 - np.argmax(there[::-1], axis=0)
    draws = np.arange(excess.shape[1])
    after = np.minimum(last + 1, count - 1)
    high, low = excess[last, draws], excess[after, draws]
    share = np.where(high > low, (high - wanted) / np.where(high > low, high - low, 1.0), 0.0)
    found = loss[last] + np.clip(share, 0.0, 1.0) * (loss[after] - loss[last])
    return np.asarray(np.where(there.any(axis=0), found, np.nan))


def posterior_of(samples: list[Sample], rows: Rows, delta: float, room: float) -> tuple[Array, Array, Array]:
    """Weights (k,), onset losses (NaN where there is none) and thresholds (NaN where smooth) of weighted curves."""
    logs = np.concatenate([sample.log_weight for sample in samples])
    weight = np.exp(logs - logsumexp(logs))
    keep = weight > 1e-7
    height = np.concatenate([np.clip(sample.solved.centre, 0.0, room) for sample in samples])[keep]
    values = np.concatenate([sample.values for sample in samples], axis=1)[:, keep] * height
    loss = rows.window.low + rows.window.span * rows.grid
    eta = np.concatenate(
        [
            rows.window.low + rows.window.span * sample.parameters[0]
            if sample.family.threshold
            else np.full(len(sample.weight), np.nan)
            for sample in samples
        ]
    )
    return weight[keep] / weight[keep].sum(), _highest_at(loss, values, np.full(int(keep.sum()), delta)), eta[keep]
