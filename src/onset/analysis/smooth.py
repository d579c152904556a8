"""One smooth curve of score on loss, with every source of noise that a table of checkpoints has.

``score = curve(loss) + effects + run + neighbours + items``: collapse and forecast share this mixed model.
The curve is a cubic smoothing spline, written as a Gaussian process (Wahba 1990); its smoothness and the
noise are found by restricted likelihood with weak priors. How much one run differs from the next is
integrated over, not plugged in: a table has few runs, and with one run a size they cannot tell it alone.

Inside, scores are in points (1 point = 0.01 of the score) and losses in nats (or the table's own unit).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import linalg, optimize, special, stats

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

MAX_ROWS = 120
"""More rows than this are averaged over neighbours within a run: the cost grows with the cube of the rows."""

RUN_POINTS = 0.6
"""Prior scale of what one run differs from the next, in points, wherever the curve is flat."""

RUN_NATS = 0.003
"""Prior scale of the same along the loss axis, in nats: it weighs where the curve is steep."""

NEIGHBOUR_POINTS = 0.7
"""Prior scale of what neighbouring checkpoints of a run have in common beyond the curve, in points."""

CURVE_POINTS = 20.0
"""Prior middle of how far a curve bends away from a straight line, in points, over the losses seen."""

BEYOND_POINTS = 60.0
"""Least bend assumed at losses lower than those seen, on the same scale: a flat stretch is no promise."""

SIZE_POINTS = 1.5
"""Prior scale of what ten times the parameters add at equal loss, in points, where a curve is to be foreseen."""

LOSS_NOISE = 0.003
"""Prior scale of the error of one measured loss, in nats."""

# Between-run scales that are integrated over, in units of the prior scale (half-normal, sd 1).
_SCALES: Vector = np.array([0.03, 0.15, 0.3, 0.5, 0.75, 1.0, 1.4, 1.9, 2.5, 3.5, 5.0, 8.0, 13.0])

_PARTS = ("curve", "items", "neighbours", "loss", "run")


@dataclass(frozen=True)
class Points:
    """Rows of one (task, metric, loss), as the curve sees them: arrays of one length n."""

    loss: Vector
    score: Vector
    """In points."""
    run: NDArray[np.int64]
    order: Vector
    """Place of the checkpoint in its run, counted in checkpoints."""
    variance: Vector
    """Of the score by the choice of items, in squared points; NaN where it is not known."""
    effects: Matrix
    """(n, k): columns whose coefficients are asked for; k may be 0."""
    weight: Vector
    """How many table rows each row stands for."""
    size: Vector
    """Decades of size from the mean, for a size effect with a prior (``SIZE_POINTS``); zeros for none."""

    def __len__(self) -> int:
        return len(self.loss)


@dataclass(frozen=True)
class Smooth:
    """The fitted mixed model; ``at`` predicts the curve, ``effects`` gives the coefficients."""

    points: Points
    sizes: dict[str, float]
    """Standard deviations: of items (a factor), neighbours (points), loss (nats), run (prior scales)."""
    slope: Vector
    """Points a nat at each row, of the curve."""
    scales: Vector
    """Between-run scales that are not ruled out, in units of the prior scale."""
    scale_weights: Vector
    """Posterior weight of each of them."""
    covariances: tuple[Matrix, ...] = field(repr=False)
    """Of the rows, one for each between-run scale, the curve's own uncertainty included."""
    working: Matrix = field(repr=False)
    """Covariance that gives rows their weights: without heteroscedasticity, so that a ceiling has no extra say."""
    span: tuple[float, float] = (0.0, 1.0)
    """Lowest and highest loss seen."""

    def effects(self) -> Mixture:
        """Coefficients of the effect columns, in points a unit, with the spread over between-run scales."""
        return _linear(self, self.points.effects)

    def linear(self, effects: Matrix) -> Mixture:
        """The same for other columns, (n, k), in place of the effects that were fitted."""
        return _linear(self, effects)

    def along_loss(self) -> Mixture:
        """Coefficients when the effects move the curve along the loss axis: nats a unit (up is higher loss)."""
        return _linear(self, self.points.effects * np.abs(self.slope)[:, None])

    def at(self, loss: Vector, size: float = 0.0) -> tuple[Matrix, Matrix, Vector]:
        """Mean and standard deviation of the curve at losses: two (scales, n) arrays, and the slope (n,).

        ``size`` in decades from the mean counts where the rows had their sizes.
        """
        return _predict(self, np.asarray(loss, dtype=float), size)

    def run_deviation(self, slope: Vector) -> Matrix:
        """Standard deviation of a new run about the curve, in points: (scales, n)."""
        spread: Matrix = self.scales[:, None] * np.sqrt(RUN_POINTS**2 + (RUN_NATS * slope[None, :]) ** 2)
        return spread


def able_from(model: Smooth, chance: float, lower_is_better: bool) -> float | None:
    """The loss from which on, down to the lowest seen, the curve stays beyond chance; None where it never is.

    ``chance`` in units of the score. Infinite where the curve is beyond chance from the start.
    """
    low, high = model.span
    grid = np.linspace(low, high, 60)
    means, deviations, _ = model.at(grid)
    sign = -1.0 if lower_is_better else 1.0
    gain = sign * (model.scale_weights @ means - 100.0 * chance)
    dark = np.flatnonzero(gain <= 2.0 * (model.scale_weights @ deviations))
    if not dark.size:
        return np.inf
    return float(grid[dark[0]]) if dark[0] > 0 else None


@dataclass(frozen=True)
class Mixture:
    """Normal distributions of a vector, weighted: the posterior of coefficients over between-run scales."""

    weights: Vector
    means: Matrix
    """(scales, k)"""
    covariances: NDArray[np.float64]
    """(scales, k, k)"""

    @property
    def mean(self) -> Vector:
        """Posterior mean, (k,)."""
        mean: Vector = self.weights @ self.means
        return mean

    def deviation(self, contrast: Vector) -> float:
        """Posterior standard deviation of one linear combination."""
        values = self.means @ contrast
        spread = np.einsum("i,sij,j->s", contrast, self.covariances, contrast)
        centre = float(self.weights @ values)
        return float(np.sqrt(self.weights @ (spread + (values - centre) ** 2)))

    def interval(self, contrast: Vector, level: float) -> tuple[float, float]:
        """Central interval of one linear combination."""
        values = self.means @ contrast
        spread = np.sqrt(np.maximum(np.einsum("i,sij,j->s", contrast, self.covariances, contrast), 1e-18))
        tail = (1.0 - level) / 2.0
        return quantile(self.weights, values, spread, tail), quantile(self.weights, values, spread, 1.0 - tail)

    def joint_p(self) -> float:
        """Chance of coefficients as far from zero, were they all zero (a Wald test, averaged over scales)."""
        total = 0.0
        for weight, mean, covariance in zip(self.weights, self.means, self.covariances, strict=True):
            distance = float(mean @ linalg.solve(covariance, mean, assume_a="sym"))
            total += weight * float(stats.chi2.sf(distance, len(mean)))
        return total


def quantile(weights: Vector, means: Vector, deviations: Vector, probability: float) -> float:
    """Quantile of a mixture of normals."""
    low = float(np.min(means + deviations * special.ndtri(probability)))
    high = float(np.max(means + deviations * special.ndtri(probability)))
    if high - low < 1e-12:
        return low

    def excess(value: float) -> float:
        return float(weights @ special.ndtr((value - means) / deviations)) - probability

    return float(optimize.brentq(excess, low - 1e-9, high + 1e-9, xtol=1e-6))


def item_variance(frame: pd.DataFrame) -> Vector:
    """Variance of each score by the choice of items, in squared points; NaN where the table does not say.

    The table's own ``stderr`` first; else the binomial variance where the score is a share of right
    answers. A score of exactly 0 or 1 keeps the variance that a slightly less extreme one would have.
    """
    score = frame["score"].to_numpy(dtype=float)
    count = _column(frame, "n_examples")
    known = np.full(len(frame), np.nan)
    if is_share(frame):
        smoothed = (score * count + 1.0) / (count + 2.0)
        known = smoothed * (1.0 - smoothed) / count
    stated = _column(frame, "stderr") ** 2
    use = np.isfinite(stated) & ((stated > 0) | ~np.isfinite(known))
    known = np.where(use, stated, known)
    positive = known[np.isfinite(known) & (known > 0)]
    if positive.size:
        known = np.maximum(known, 0.05 * float(np.median(positive)))
    result: Vector = known * 1e4
    return result


def is_share(frame: pd.DataFrame) -> bool:
    """Whether the score is a share of right answers, so that its noise is binomial."""
    names = {str(name).lower() for name in frame["metric"].unique()}
    shares = {"accuracy", "acc", "acc_norm", "exact_match", "em", "score"}
    score = frame["score"].to_numpy(dtype=float)
    return names <= shares and bool(np.nanmin(score) >= 0.0) and bool(np.nanmax(score) <= 1.0)


def _column(frame: pd.DataFrame, name: str) -> Vector:
    if name not in frame:
        return np.full(len(frame), np.nan)
    values: Vector = pd.to_numeric(frame[name]).to_numpy(dtype=float)
    return values


def points(
    frame: pd.DataFrame, effects: Matrix | None = None, limit: int = MAX_ROWS, *, size: Vector | None = None
) -> Points:
    """Observations of one (task, metric, loss) as arrays; neighbours in a run are averaged beyond ``limit`` rows."""
    columns = np.zeros((len(frame), 0)) if effects is None else np.asarray(effects, dtype=float)
    run = pd.factorize(frame["run"])[0].astype(np.int64)
    place = _column(frame, "tokens")
    sort = np.lexsort((place, run))
    order = np.empty(len(frame))
    starts = np.flatnonzero(np.r_[True, np.diff(run[sort]) != 0])
    counts = np.diff(np.r_[starts, len(frame)])
    order[sort] = np.arange(len(frame)) - np.repeat(starts, counts)
    result = Points(
        loss=frame["loss"].to_numpy(dtype=float),
        score=frame["score"].to_numpy(dtype=float) * 100.0,
        run=run,
        order=order,
        variance=item_variance(frame),
        effects=columns,
        weight=np.ones(len(frame)),
        size=np.zeros(len(frame)) if size is None else size,
    )
    return result if len(result) <= limit else _averaged(result, limit)


def _averaged(rows: Points, limit: int) -> Points:
    """Means over neighbours in loss within a run, so that about ``limit`` rows are left."""
    runs = int(rows.run.max()) + 1
    per_run = max(1, limit // runs)
    rank = np.empty(len(rows), dtype=np.int64)
    sort = np.lexsort((rows.loss, rows.run))
    counts = np.bincount(rows.run, minlength=runs)
    starts = np.r_[0, np.cumsum(counts)[:-1]]
    rank[sort] = np.arange(len(rows)) - np.repeat(starts, counts)
    cell = rows.run * per_run + rank * per_run // counts[rows.run]
    if runs > 3 * limit:  # a great many runs: neighbours in loss stand together for one
        effect = rows.effects[:, 0] if rows.effects.shape[1] else np.zeros(len(rows))
        sort = np.lexsort((rows.loss, effect))
        cell = np.empty(len(rows), dtype=np.int64)
        cell[sort] = np.arange(len(rows)) * (3 * limit) // len(rows)
    _, cell = np.unique(cell, return_inverse=True)
    size = np.bincount(cell).astype(float)

    def mean(values: Vector) -> Vector:
        averaged: Vector = np.bincount(cell, weights=values) / size
        return averaged

    return Points(
        loss=mean(rows.loss),
        score=mean(rows.score),
        run=rows.run[np.unique(cell, return_index=True)[1]],
        order=mean(rows.order),
        variance=mean(rows.variance) / size,
        effects=np.column_stack([mean(column) for column in rows.effects.T]) if rows.effects.shape[1] else
        np.zeros((len(size), 0)),
        weight=mean(rows.weight) * size,
        size=mean(rows.size),
    )  # fmt: skip


def fit(rows: Points, rounds: int = 2) -> Smooth:
    """Fit the mixed model. Needs 4 rows or more at two losses or more; the caller has checked."""
    slope = np.zeros(len(rows))
    start = np.log([30.0, 1.0, 0.5, 0.5 * LOSS_NOISE, 0.7])
    for _ in range(rounds):
        parts, prior = _parts(rows, slope)
        start = _most_likely(rows, parts, prior, start)
        slope = _slope(rows, parts, start)
    parts, prior = _parts(rows, slope)
    return _integrated(rows, parts, start, slope)


def _unit(rows: Points, loss: Vector | None = None) -> Vector:
    """Losses on [0, 1], 1 where the loss is lowest."""
    low, high = float(rows.loss.min()), float(rows.loss.max())
    values = rows.loss if loss is None else loss
    unit: Vector = (high - values) / max(high - low, 1e-9)
    return unit


def _spline_kernel(left: Vector, right: Vector) -> Matrix:
    """Covariance of the cubic smoothing spline: the twice integrated Wiener process, from the middle outwards."""
    first, second = left[:, None] + 0.02, right[None, :] + 0.02
    near, far = np.minimum(first, second), np.maximum(first, second)
    near = np.maximum(near, 0.0)
    kernel: Matrix = near**2 * (3.0 * far - near) / 6.0
    return kernel


def _parts(rows: Points, slope: Vector) -> tuple[dict[str, Matrix], Vector]:
    """The covariance of each source of noise at unit scale, and the prior of the log scales."""
    unit = _unit(rows)
    same = rows.run[:, None] == rows.run[None, :]
    known = np.isfinite(rows.variance)
    base = np.where(known, rows.variance, difference_variance(rows))
    gap = np.abs(rows.order[:, None] - rows.order[None, :])
    parts = {
        "curve": _spline_kernel(unit, unit),
        "items": np.diag(base),
        "neighbours": same * np.exp(-gap / 3.0),
        "loss": np.diag(slope**2 / rows.weight),
        "size": SIZE_POINTS**2 * rows.size[:, None] * rows.size[None, :],
        "run": same * (RUN_POINTS**2 + RUN_NATS**2 * slope[:, None] * slope[None, :]),
    }
    return parts, np.array([0.4 if known.all() else 1.5])


def difference_variance(rows: Points) -> float:
    """Noise variance from how far each row lies from its neighbours in loss: for tables that do not state it."""
    sort = np.argsort(rows.loss)
    loss, score = rows.loss[sort], rows.score[sort]
    if len(loss) < 3:
        return 1.0
    width = np.maximum(loss[2:] - loss[:-2], 1e-12)
    share = (loss[1:-1] - loss[:-2]) / width
    off = score[1:-1] - (score[:-2] + share * (score[2:] - score[:-2]))
    off /= np.sqrt(1.0 + share**2 + (1.0 - share) ** 2)
    return max(float((1.4826 * np.median(np.abs(off))) ** 2), 1e-4)


def _fixed(rows: Points) -> Matrix:
    """Columns without a prior: level, straight line in loss, and the effects asked for."""
    return np.column_stack([np.ones(len(rows)), _unit(rows), rows.effects])


def _minus_log_prior(theta: Vector, prior: Vector) -> tuple[float, Vector]:
    """Weak priors of the log scales: log-normal for items, half-normal for the others, flat for the curve."""
    value, slope = 0.0, np.zeros(len(theta))
    value += 0.5 * (theta[1] / prior[0]) ** 2
    slope[1] = theta[1] / prior[0] ** 2
    bend = (theta[0] - np.log(CURVE_POINTS)) / 1.0
    value += 0.5 * bend**2
    slope[0] = bend / 1.0
    for place, scale in ((2, NEIGHBOUR_POINTS), (3, LOSS_NOISE), (4, 1.0)):
        ratio = np.exp(2.0 * theta[place]) / scale**2
        value += 0.5 * ratio - theta[place]  # the log's own volume keeps the scale away from zero
        slope[place] = ratio - 1.0
    return value, slope


def _total(parts: dict[str, Matrix], theta: Vector) -> Matrix:
    total = parts["size"].copy()
    for name, log_scale in zip(_PARTS, theta, strict=True):
        total += np.exp(2.0 * log_scale) * parts[name]
    return total


def _most_likely(rows: Points, parts: dict[str, Matrix], prior: Vector, start: Vector) -> Vector:
    """Log scales that maximise restricted likelihood times prior."""
    fixed, score = _fixed(rows), rows.score

    def objective(theta: Vector) -> tuple[float, Vector]:
        covariance = _total(parts, theta)
        inverse, log_det = _inverse(covariance)
        weighted = inverse @ fixed
        inner, inner_log_det = _inverse(fixed.T @ weighted)
        projector = inverse - weighted @ inner @ weighted.T
        residual = projector @ score
        value = 0.5 * (log_det + inner_log_det + float(score @ residual))
        gradient = np.array(
            [
                np.exp(2.0 * log_scale)
                * (float(np.sum(projector * parts[name])) - float(residual @ parts[name] @ residual))
                for name, log_scale in zip(_PARTS, theta, strict=True)
            ]
        )
        extra, extra_gradient = _minus_log_prior(theta, prior)
        return value + extra, gradient + extra_gradient

    bounds = [(-4.0, 9.0), (-1.2, 3.0), (-5.0, 3.5), (-12.0, -2.0), (-4.0, 3.5)]
    found = optimize.minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 60})
    best: Vector = found.x
    return best


def _inverse(matrix: Matrix) -> tuple[Matrix, float]:
    """Inverse and log determinant of a symmetric positive matrix, with a whisper of jitter."""
    size = len(matrix)
    jitter = 1e-10 * float(np.trace(matrix)) / size + 1e-12
    factor = linalg.cholesky(matrix + jitter * np.eye(size), lower=True, check_finite=False)
    half = linalg.solve_triangular(factor, np.eye(size), lower=True, check_finite=False)
    return half.T @ half, 2.0 * float(np.sum(np.log(np.diag(factor))))


def _slope(rows: Points, parts: dict[str, Matrix], theta: Vector) -> Vector:
    """Points a nat of the fitted curve at each row."""
    fixed, unit = _fixed(rows), _unit(rows)
    inverse, _ = _inverse(_total(parts, theta))
    inner, _ = _inverse(fixed.T @ inverse @ fixed)
    coefficients = inner @ (fixed.T @ inverse @ rows.score)
    residual = inverse @ (rows.score - fixed @ coefficients)
    step = 0.01
    ahead = _spline_kernel(unit + step, unit) - _spline_kernel(np.maximum(unit - step, -0.02), unit)
    width = float(rows.loss.max() - rows.loss.min())
    per_unit = coefficients[1] + np.exp(2.0 * theta[0]) * (ahead @ residual) / (2.0 * step)
    slope: Vector = -per_unit / max(width, 1e-9)
    return slope


def _integrated(rows: Points, parts: dict[str, Matrix], theta: Vector, slope: Vector) -> Smooth:
    """Covariances and posterior weights over the between-run scales, the other scales held at their best."""
    fixed, score = _fixed(rows), rows.score
    others = _total(parts, np.r_[theta[:4], -20.0])
    covariances, log_weights = [], []
    for scale in _SCALES:
        covariance = others + scale**2 * parts["run"]
        inverse, log_det = _inverse(covariance)
        weighted = inverse @ fixed
        inner, inner_log_det = _inverse(fixed.T @ weighted)
        quadratic = float(score @ (inverse @ score) - (weighted.T @ score) @ inner @ (weighted.T @ score))
        covariances.append(covariance)
        log_weights.append(-0.5 * (log_det + inner_log_det + quadratic) - 0.5 * scale**2)
    spacing = np.gradient(_SCALES)
    weights = np.exp(np.array(log_weights) - max(log_weights)) * spacing
    kept = np.flatnonzero(weights > 2e-3 * weights.sum())
    weights = weights[kept] / weights[kept].sum()
    mean_scale = float(np.sqrt(weights @ _SCALES[kept] ** 2))
    return Smooth(
        points=rows,
        sizes={
            "curve": float(np.exp(theta[0])), "items": float(np.exp(theta[1])),
            "neighbours": float(np.exp(theta[2])), "loss": float(np.exp(theta[3])), "run": mean_scale,
        },
        slope=slope,
        scales=_SCALES[kept],
        scale_weights=weights,
        covariances=tuple(covariances[place] for place in kept),
        working=_working(rows, parts, theta, mean_scale, slope),
        span=(float(rows.loss.min()), float(rows.loss.max())),
    )  # fmt: skip


def _working(rows: Points, parts: dict[str, Matrix], theta: Vector, scale: float, slope: Vector) -> Matrix:
    """The covariance with one noise level for all rows: what decides how much each row counts.

    With each row's own noise the rows at a ceiling, where nothing can differ, would decide alone.
    """
    size = len(rows)
    steep = float(np.mean(slope**2))
    level = np.exp(2 * theta[1]) * float(np.mean(np.diag(parts["items"]))) + np.exp(2 * theta[3]) * steep
    same = parts["neighbours"] > 0
    working: Matrix = np.exp(2 * theta[0]) * parts["curve"] + level * np.eye(size)
    working += np.exp(2 * theta[2]) * parts["neighbours"]
    working += scale**2 * (RUN_POINTS**2 + RUN_NATS**2 * steep) * same
    return working


def _linear(model: Smooth, effects: Matrix) -> Mixture:
    """Weighted means of the rows that estimate the effects, with their covariance under each scale."""
    rows = model.points
    fixed = np.column_stack([np.ones(len(rows)), _unit(rows), effects])
    inverse, _ = _inverse(model.working)
    inner, _ = _inverse(fixed.T @ inverse @ fixed)
    weights = (inner @ fixed.T @ inverse)[2:]
    mean = weights @ rows.score
    covariances = np.array([weights @ covariance @ weights.T for covariance in model.covariances])
    return Mixture(model.scale_weights, np.tile(mean, (len(model.scales), 1)), covariances)


def _predict(model: Smooth, loss: Vector, size: float) -> tuple[Matrix, Matrix, Vector]:
    rows = model.points
    unit, at = _unit(rows), _unit(rows, loss)
    variance = model.sizes["curve"] ** 2
    fixed = _fixed(rows)
    ahead = np.column_stack([np.ones(len(at)), at, np.zeros((len(at), rows.effects.shape[1]))])
    cross = variance * _spline_kernel(at, unit)
    own = variance * np.diag(_spline_kernel(at, at))
    beyond = np.maximum(at - 1.0, 0.0)
    own = own + max(BEYOND_POINTS**2 - variance, 0.0) * beyond**3 / 3.0
    if rows.size.any():
        cross = cross + SIZE_POINTS**2 * size * rows.size[None, :]
        own = own + SIZE_POINTS**2 * size**2
    means, deviations = [], []
    for covariance in model.covariances:
        inverse, _ = _inverse(covariance)
        weighted = inverse @ fixed
        inner, _ = _inverse(fixed.T @ weighted)
        coefficients = inner @ (weighted.T @ rows.score)
        residual = rows.score - fixed @ coefficients
        means.append(ahead @ coefficients + cross @ (inverse @ residual))
        gap = ahead - cross @ weighted
        spread = own - np.sum((cross @ inverse) * cross, axis=1) + np.sum((gap @ inner) * gap, axis=1)
        deviations.append(np.sqrt(np.maximum(spread, 1e-12)))
    step = 0.01
    ahead_slope = variance * (_spline_kernel(at + step, unit) - _spline_kernel(at - step, unit))
    per_unit = coefficients[1] + (ahead_slope @ (inverse @ residual)) / (2 * step)
    width = max(model.span[1] - model.span[0], 1e-9)
    return np.array(means), np.array(deviations), -per_unit / width
