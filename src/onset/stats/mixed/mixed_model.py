"""A linear mixed model of the rows of a curve: fixed columns, random columns, and the noise of ``noise``.

Variance components by restricted maximum likelihood (Patterson and Thompson 1971) with half-normal priors. How much
runs differ, on the score and along the loss, is integrated over on a grid instead of plugged in: a table has few runs,
and an interval that took their variance for known would be too narrow. The cost is linear in the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import linalg, optimize, special

from onset.stats.data import Array, CurveData
from onset.stats.noise import ITEMS_PRIOR, PRIOR_SCALES, Banded, Components


def _log_run_prior(run: Array | float) -> Array:
    """Log density of the standard deviation of runs in its prior scale: zero at zero, with the tail of a half-Cauchy.

    Zero keeps the posterior from collapsing where few runs happen to agree (boundary-avoiding, Chung et al. 2013); the
    tail lets a table speak whose runs differ by more than is usual (Gelman 2006).
    """
    return np.asarray(np.log(run) - 1.5 * np.log1p(np.square(run)))


def _grid() -> tuple[Array, Array, Array]:
    """Standard deviations of run and shift to integrate over, flat, with their log prior weights."""
    run = np.array([0.03, 0.2, 0.45, 0.8, 1.3, 2.0, 3.2, 5.0, 8.0])
    shift = np.array([0.03, 0.5, 1.2, 2.2, 4.0, 8.0])
    width = np.outer(np.gradient(run), np.gradient(shift)).ravel()
    runs, shifts = np.repeat(run, len(shift)), np.tile(shift, len(run))
    logs = np.log(width) + _log_run_prior(runs) - 0.5 * shifts**2
    return runs * PRIOR_SCALES["run"], shifts * PRIOR_SCALES["shift"], logs


_GRID = _grid()
_START = Components(items=1.0, run=0.005, shift=0.001, drift=0.004, memory=0.6, loss=0.0005)
_BOUNDS = [(-1.2, 3.0), (-9.0, -1.0), (-4.0, 4.0), (-12.0, -2.0), (-9.0, -0.5), (-12.0, -1.5)]


@dataclass(frozen=True, eq=False)
class Block:
    """Random columns whose coefficients are independent with one standard deviation, to be estimated."""

    name: str
    columns: Array = field(repr=False)
    """(n, k)"""
    prior: float
    """Scale of the half-normal prior of the standard deviation; the middle of a log-normal one with ``wide``."""
    wide: bool = False


@dataclass(frozen=True, eq=False)
class Rows:
    """What the noise needs to know of each row; arrays of length n."""

    data: CurveData
    items: Array
    """Item variance of ability."""
    items_known: bool
    there: Array
    """``noise.presence``"""
    slope: Array
    """Ability per unit of loss."""

    @property
    def low_rank(self) -> Array:
        """(n, 2) columns of run and shift at standard deviation one."""
        return np.column_stack([self.there, np.abs(self.slope) * float(self.data.loss.min())])


@dataclass(frozen=True)
class Mixture:
    """Weighted normal distributions of a vector: coefficients, once the variance between runs is integrated over."""

    weights: Array
    means: Array
    """(grid, k)"""
    covariances: Array
    """(grid, k, k)"""

    @property
    def mean(self) -> Array:
        """(k,)"""
        return np.asarray(self.weights @ self.means)

    def combined(self, contrast: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of one linear combination at each point of the grid."""
        variance = np.einsum("i,gij,j->g", contrast, self.covariances, contrast)
        return self.means @ contrast, np.sqrt(np.maximum(variance, 1e-24))

    def interval(self, contrast: Array, level: float) -> tuple[float, float]:
        """Central interval of one linear combination."""
        means, deviations = self.combined(contrast)
        tail = (1.0 - level) / 2.0
        return quantile(self.weights, means, deviations, tail), quantile(self.weights, means, deviations, 1.0 - tail)


def quantile(weights: Array, means: Array, deviations: Array, probability: float) -> float:
    """Quantile of a mixture of normal distributions."""
    ends = means + deviations * special.ndtri(probability)
    low, high = float(ends.min()), float(ends.max())
    if high - low < 1e-9 * max(abs(low), 1e-3):
        return low
    found: float = optimize.brentq(
        lambda value: float(weights @ special.ndtr((value - means) / deviations)) - probability, low, high, xtol=1e-9
    )
    return found


@dataclass(frozen=True, eq=False)
class MixedModel:
    """A fitted model; ``ask`` gives the effect of further columns with the variance components held."""

    rows: Rows = field(repr=False)
    fixed: Array = field(repr=False)
    blocks: tuple[Block, ...] = field(repr=False)
    parts: Components
    """Most likely components."""
    scales: Array
    """Most likely standard deviation of each block."""
    coefficients: Mixture = field(repr=False)
    """Of the fixed columns, then of those of the blocks."""
    log_likelihood: float
    """Restricted log likelihood, averaged over the grid of run and shift."""
    spread: tuple[float, float] = (0.0, 0.0)
    """Root mean squares over the grid of run and shift, in the units of ``noise.PRIOR_SCALES``."""

    def predict(self, columns: Array) -> tuple[Array, Array]:
        """Mean and standard deviation at (m, p) columns, the fixed ones first: each (grid, m)."""
        found = self.coefficients
        means = found.means @ columns.T
        variance = np.einsum("mi,gij,mj->gm", columns, found.covariances, columns, optimize=True)
        return means, np.sqrt(np.maximum(variance, 1e-24))


@dataclass(frozen=True, eq=False)
class Products:
    """Inner products of whitened columns: all that a likelihood needs, whatever run, shift and block scales."""

    own: Array
    """(p, p) of the columns, y last."""
    cross: Array
    """(runs, 2, p) of run and shift columns with all columns."""
    runs: Array
    """(runs, 2, 2)"""
    log_det: float


def fit(
    rows: Rows, fixed: Array, blocks: Sequence[Block], start: MixedModel | None = None, steps: int = 40
) -> MixedModel:
    """Most likely variance components, then run and shift integrated over.

    ``fixed`` (n, p) has coefficients without a prior. ``start`` is a model of the same rows to begin from.
    """
    kept = tuple(block for block in blocks if block.columns.shape[1])
    first = _START if start is None else start.parts
    known = {} if start is None else dict(zip((block.name for block in start.blocks), start.scales, strict=True))
    theta = _pack(first, [float(known.get(block.name, block.prior)) for block in kept])
    theta = _most_likely(rows, fixed, kept, theta, steps)
    parts, scales = _unpack(theta)
    found, log_likelihood, spread = _integrate(rows, fixed, kept, parts, scales)
    return MixedModel(rows, fixed, kept, parts, scales, found, log_likelihood, spread)


def _pack(parts: Components, scales: Sequence[float]) -> Array:
    memory = np.clip(parts.memory, 0.02, 0.98)
    logs = [parts.items, parts.drift, memory / (1 - memory), parts.loss, parts.run, parts.shift, *scales]
    return np.asarray(np.log(np.maximum(logs, 1e-8)))


def _unpack(theta: Array) -> tuple[Components, Array]:
    items, drift, odds, loss, run, shift = np.exp(theta[:6])
    return Components(items, run, shift, drift, odds / (1 + odds), loss), np.exp(theta[6:])


def products(rows: Rows, stacked: Array, parts: Components, low_rank: Array | None = None) -> Products:
    """Products of ``stacked`` (n, p), y last; ``low_rank`` (n, 2) in place of the rows' own columns of runs."""
    data = rows.data
    own = parts.items**2 * rows.items + (parts.loss * rows.low_rank[:, 1]) ** 2
    banded = Banded.of(own, parts.drift * rows.there, parts.memory, data.first)
    white = banded.whiten(np.hstack([rows.low_rank if low_rank is None else low_rank, stacked]))
    columns, effects = white[:, 2:], white[:, :2]
    starts = data.starts
    cross = np.stack([np.add.reduceat(effects[:, [part]] * columns, starts) for part in (0, 1)], axis=1)
    runs = np.add.reduceat(effects[:, :, None] * effects[:, None, :], starts)
    return Products(columns.T @ columns, cross, runs, banded.log_det)


def _with_runs(made: Products, run: float, shift: float) -> tuple[Array, float]:
    """Inner products and log determinant with run and shift at these standard deviations."""
    scale = np.array([run, shift])
    inner = np.eye(2) + scale[:, None] * made.runs * scale
    scaled = scale[:, None] * made.cross
    a, b, d = inner[:, 0, 0], inner[:, 0, 1], inner[:, 1, 1]
    determinant = a * d - b * b
    first = d[:, None] * scaled[:, 0] - b[:, None] * scaled[:, 1]
    second = a[:, None] * scaled[:, 1] - b[:, None] * scaled[:, 0]
    solved = np.stack([first, second], axis=1) / determinant[:, None, None]
    runs, _, p = scaled.shape
    own = made.own - scaled.reshape(runs * 2, p).T @ solved.reshape(runs * 2, p)
    return own, made.log_det + float(np.log(determinant).sum())


def _solved(own: Array, log_det: float, n_fixed: int, spread: Array) -> tuple[float, Array, Array]:
    """Restricted log likelihood, coefficients, and the Cholesky factor of their precision (in scaled columns)."""
    scale = np.concatenate([np.ones(n_fixed), spread])
    precision = scale[:, None] * own[:-1, :-1] * scale
    diagonal = precision.reshape(-1)[:: len(scale) + 1]
    diagonal[:n_fixed] += 1e-9
    diagonal[n_fixed:] += 1.0
    target = scale * own[:-1, -1]
    factor = _cholesky(precision)
    half = linalg.solve_triangular(factor, target, lower=True, check_finite=False)
    left = max(float(own[-1, -1] - half @ half), 1e-12)
    value = -0.5 * (log_det + 2.0 * float(np.log(np.diag(factor)).sum()) + left)
    return value, half, factor


def _cholesky(precision: Array) -> Array:
    """Lower factor of a precision; columns that say the same as others get the least ridge that rounding asks for."""
    largest = float(np.abs(np.diag(precision)).max(initial=1.0))
    for ridge in (0.0, 1e-12, 1e-10, 1e-8):
        try:
            ridged = precision + ridge * largest * np.eye(len(precision))
            return np.asarray(linalg.cholesky(ridged, lower=True, check_finite=False))
        except linalg.LinAlgError:
            continue
    return np.asarray(linalg.cholesky(precision + 1e-6 * largest * np.eye(len(precision)), lower=True))


def spreads(blocks: Sequence[Block], scales: Array) -> Array:
    """Standard deviation of each column of the blocks."""
    return np.repeat(scales, [block.columns.shape[1] for block in blocks]) if len(blocks) else np.zeros(0)


def _log_prior(theta: Array, blocks: Sequence[Block], known: bool) -> float:
    """Half-normal priors, with the volume of the logarithm, which keeps a scale away from zero."""
    total = -0.5 * (theta[0] / (ITEMS_PRIOR if known else 1.5)) ** 2 - 0.5 * ((theta[2] - 0.5) / 1.5) ** 2
    for place, name in ((1, "drift"), (3, "loss"), (5, "shift")):
        total += theta[place] - 0.5 * (np.exp(theta[place]) / PRIOR_SCALES[name]) ** 2
    total += theta[4] + float(_log_run_prior(np.exp(theta[4]) / PRIOR_SCALES["run"]))
    for value, block in zip(theta[6:], blocks, strict=True):
        if block.wide:
            total -= 0.5 * ((value - np.log(block.prior)) / 1.5) ** 2
        else:
            total += value - 0.5 * (np.exp(value) / block.prior) ** 2
    return float(total)


def _most_likely(rows: Rows, fixed: Array, blocks: Sequence[Block], theta: Array, steps: int) -> Array:
    stacked = np.column_stack([fixed, *(block.columns for block in blocks), rows.data.ability])
    n_fixed, step = fixed.shape[1], 1e-4

    def value(theta: Array, made: Products) -> float:
        own, log_det = _with_runs(made, *np.exp(theta[4:6]))
        likelihood = _solved(own, log_det, n_fixed, spreads(blocks, np.exp(theta[6:])))[0]
        return -likelihood - _log_prior(theta, blocks, rows.items_known)

    def objective(theta: Array) -> tuple[float, Array]:
        made = products(rows, stacked, _unpack(theta)[0])
        here = value(theta, made)
        gradient = np.empty(len(theta))
        for place in range(len(theta)):
            moved = theta.copy()
            moved[place] += step
            # Only the first four components change the whitening; the others reuse its products.
            other = products(rows, stacked, _unpack(moved)[0]) if place < 4 else made
            gradient[place] = (value(moved, other) - here) / step
        return here, gradient

    bounds = [*_BOUNDS, *[(-9.0, 3.0)] * len(blocks)]
    begin = np.clip(theta, [low for low, _ in bounds], [high for _, high in bounds])
    found = optimize.minimize(
        objective, begin, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": steps, "ftol": 1e-6}
    )
    return np.asarray(found.x)


def _integrate(
    rows: Rows, fixed: Array, blocks: Sequence[Block], parts: Components, scales: Array
) -> tuple[Mixture, float, tuple[float, float]]:
    """Coefficients over the grid of run and shift, the other components held; mean log likelihood; run and shift."""
    stacked = np.column_stack([fixed, *(block.columns for block in blocks), rows.data.ability])
    made, spread, n_fixed = products(rows, stacked, parts), spreads(blocks, scales), fixed.shape[1]
    tried = []
    for run, shift, log_weight in zip(*_GRID, strict=True):
        own, log_det = _with_runs(made, run, shift)
        value, half, factor = _solved(own, log_det, n_fixed, spread)
        tried.append((value + log_weight, half, factor))
    logs = np.array([value for value, _, _ in tried])
    total = float(special.logsumexp(logs))
    weights = np.exp(logs - total)
    kept = np.flatnonzero(weights > 1e-3 * weights.max())
    scale = np.r_[np.ones(n_fixed), spread]
    means, covariances = [], []
    for place in kept:
        _, half, factor = tried[place]
        inverse = linalg.solve_triangular(factor, np.diag(scale), lower=True, check_finite=False)
        means.append(inverse.T @ half)
        covariances.append(inverse.T @ inverse)
    found = Mixture(weights[kept] / weights[kept].sum(), np.array(means), np.array(covariances))
    run, shift = (float(np.sqrt(weights @ values**2)) for values in _GRID[:2])
    return found, total, (run, shift)
