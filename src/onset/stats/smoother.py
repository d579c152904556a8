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
from numpy.typing import NDArray
from scipy import linalg, optimize

from onset.stats.mixture import Mixture
from onset.stats.series import Points, difference_variance

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

RUN_POINTS = 0.6
"""Prior scale of what one run differs from the next, in points, wherever the curve is flat."""

RUN_NATS = 0.005
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
        return self.linear(self.points.effects)

    def linear(self, effects: Matrix) -> Mixture:
        """The same for other columns, (n, k), in place of the effects that were fitted."""
        return _linear(self, effects * self.points.shown[:, None])

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


def fit(rows: Points, rounds: int = 2) -> Smooth:
    """Fit the mixed model. Needs 4 rows or more at two losses or more; the caller has checked."""
    slope = np.zeros(len(rows))
    start = np.log([30.0, 1.0, 0.5, 0.5 * LOSS_NOISE, 0.7])
    for _ in range(rounds):
        parts, items = _parts(rows, slope)
        start = _most_likely(rows, parts, items, start)
        slope = _slope(rows, parts, start)
    parts, _ = _parts(rows, slope)
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


def _parts(rows: Points, slope: Vector) -> tuple[dict[str, Matrix], float]:
    """The covariance of each source of noise at unit scale, and how freely the one of items may be scaled."""
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
    return parts, 0.4 if known.all() else 1.5


def _fixed(rows: Points) -> Matrix:
    """Columns without a prior: level, straight line in loss, and the effects asked for."""
    return np.column_stack([np.ones(len(rows)), _unit(rows), rows.effects * rows.shown[:, None]])


def _minus_log_prior(theta: Vector, items: float) -> tuple[float, Vector]:
    """Weak priors of the log scales: log-normal for the curve and items, half-normal for the others."""
    bend, factor = theta[0] - np.log(CURVE_POINTS), theta[1] / items
    value, slope = 0.5 * bend**2 + 0.5 * factor**2, np.zeros(len(theta))
    slope[:2] = bend, factor / items
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


def _most_likely(rows: Points, parts: dict[str, Matrix], items: float, start: Vector) -> Vector:
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
        extra, extra_gradient = _minus_log_prior(theta, items)
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
    own = variance * np.maximum(at + 0.02, 0.0) ** 3 / 3.0  # the kernel of a loss with itself
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
