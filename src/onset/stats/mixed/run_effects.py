"""Effects asked with runs as the unit: generalised least squares, and t intervals with the degrees of freedom of runs.

How much runs differ at equal loss is found by the moment equation of Paule and Mandel (1982) on one estimate a run,
and the covariance is scaled by the generalised mean square of these estimates, with a t distribution on runs less
columns (Knapp and Hartung 2003, meta-regression). In a balanced table this is the exact t test on the runs' means,
whatever the variance between runs: nothing rests on a prior of it. A table with as many columns as runs has no
interval. The cost is linear in the rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg, optimize, stats

from onset.stats.data import Array
from onset.stats.mixed.mixed_model import MixedModel, Products, products, spreads

SAME = 1e-7
"""Directions whose information is less than this part of the largest are said by the columns of the model already."""

RANK = 1e-3
"""Singular values below this part of the largest count as zero in the rank of what is constant within runs."""


@dataclass(frozen=True)
class BetweenRuns:
    """How much runs differ at equal loss, beyond what their rows explain."""

    variance: float
    """Of the coefficient of a run, in ability squared."""
    scale: float
    """Generalised mean square of the estimates of runs: 1 where the variance is positive, below 1 where it is zero."""
    freedom: int
    """Runs less columns that are constant within runs; 0 where the table says nothing of how runs differ."""


@dataclass(frozen=True, eq=False)
class RunEstimate:
    """Coefficients of the columns that were asked, with a t distribution."""

    mean: Array
    """(k,)"""
    covariance: Array
    """(k, k)"""
    between: BetweenRuns

    def first(self, k: int) -> RunEstimate:
        """The first k coefficients."""
        return RunEstimate(self.mean[:k], self.covariance[:k, :k], self.between)

    def interval(self, contrast: Array, level: float) -> tuple[float, float]:
        """Central interval of one linear combination; infinite without degrees of freedom."""
        middle = float(self.mean @ contrast)
        if self.between.freedom < 1:
            return -np.inf, np.inf
        error = max(float(contrast @ self.covariance @ contrast), 0.0) ** 0.5
        reach = float(stats.t(self.between.freedom).ppf(0.5 + level / 2.0)) * error
        return middle - reach, middle + reach


def estimate(
    model: MixedModel,
    asked: Array,
    column: Array,
    beside: Array,
    *,
    fixed: Array,
    design: Array,
    between: BetweenRuns | None = None,
) -> RunEstimate:
    """Coefficients of ``asked`` (n, k) beside ``fixed`` (n, p) and the blocks of the model, where runs differ.

    ``column`` (n,) is how the coefficient of a run shows in its rows, zero for runs that do not count; ``beside`` (n,)
    a second effect of runs, of unit variance. ``design`` (runs, d) are the levels of runs that columns stand for (ones,
    families, what is asked): they cost degrees of freedom. ``between`` holds how much runs differ; by default it is
    estimated beside all columns.
    """
    rows, k = model.rows, asked.shape[1]
    stacked = np.column_stack([asked, fixed, *(block.columns for block in model.blocks), rows.data.ability])
    made = _without_second(products(rows, stacked, model.parts, np.column_stack([column, beside])))
    prior = np.r_[np.zeros(k + fixed.shape[1]), 1.0 / spreads(model.blocks, model.scales) ** 2]
    found = _between(made, prior, design) if between is None else between
    shrunk = found.variance / (1.0 + found.variance * made.runs[:, 0, 0])
    own = made.own - np.einsum("rp,r,rq->pq", made.cross[:, 0], shrunk, made.cross[:, 0])
    covariance = _inverse(own[:-1, :-1] + np.diag(prior))
    mean = covariance @ own[:-1, -1]
    return RunEstimate(mean[:k], found.scale * covariance[:k, :k], found)


def _without_second(made: Products) -> Products:
    """The products with the second effect of runs, of unit variance, integrated out."""
    inner = 1.0 / (1.0 + made.runs[:, 1, 1])
    first, second = made.cross[:, 0], made.cross[:, 1]
    both = made.runs[:, 0, 1] * inner
    own = made.own - np.einsum("rp,r,rq->pq", second, inner, second)
    cross = (first - both[:, None] * second)[:, None, :]
    runs = (made.runs[:, 0, 0] - both * made.runs[:, 0, 1])[:, None, None]
    return Products(own, cross, runs, made.log_det - float(np.log(inner).sum()))


def _between(made: Products, prior: Array, design: Array) -> BetweenRuns:
    """How much runs differ, from what each run's rows say of its coefficient beside all columns."""
    inner, columns, target = made.runs[:, 0, 0], made.cross[:, 0, :-1], made.cross[:, 0, -1]
    inverse = _inverse(made.own[:-1, :-1] + np.diag(prior))
    score = target - columns @ inverse @ made.own[:-1, -1]
    values, vectors = np.linalg.eigh(np.diag(inner) - columns @ inverse @ columns.T)
    kept = values > SAME * inner.max(initial=0.0)
    values, vectors = values[kept], vectors[:, kept]
    found = (vectors.T @ score) / values
    level = _shown(np.sqrt(values)[:, None], vectors.T @ design, SAME * float(np.sqrt(inner.max(initial=0.0))))
    counted = inner > 0

    def mean_square(variance: float) -> float:
        root = np.sqrt(values / (1.0 + variance * values))
        left = root * found - root[:, None] * level @ np.linalg.lstsq(root[:, None] * level, root * found, RANK)[0]
        return float(left @ left)

    # What is fitted counts, however little of it the curve leaves to be told: else a fit without a rest, of as many
    # levels as directions, would pass for runs that agree exactly.
    freedom = int(min(len(values) - level.shape[1], counted.sum() - np.linalg.matrix_rank(design[counted], RANK)))
    if freedom < 1:
        return BetweenRuns(0.0, 1.0, 0)
    if mean_square(0.0) <= freedom:
        return BetweenRuns(0.0, mean_square(0.0) / freedom, freedom)
    most = 1.0
    while mean_square(most) > freedom:
        most *= 10.0
    variance = optimize.brentq(lambda variance: mean_square(variance) - freedom, 0.0, most)
    return BetweenRuns(float(variance), 1.0, freedom)


def _shown(root: Array, level: Array, rounding: float) -> Array:
    """The combinations of levels that show in the directions that are left; what is there by rounding only is none."""
    _, size, across = np.linalg.svd(root * level, full_matrices=False)
    kept = size > max(RANK * size.max(initial=0.0), rounding)
    return np.asarray(level @ across[kept].T)


def _inverse(precision: Array) -> Array:
    """Inverse of a precision; columns that repeat others share their coefficient."""
    size = np.sqrt(np.maximum(np.diag(precision), 1e-300))
    scaled = precision / np.outer(size, size)
    return np.asarray(linalg.pinvh(scaled, rtol=1e-12) / np.outer(size, size))
