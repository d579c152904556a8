"""The robust fit behind a loss law: Huber loss on the logarithm, many starts, draws from runs that deviate as a whole.

    log L = log(E + A / N^alpha + B / D^beta) + c * rate + offset of the family

The first part is Hoffmann et al. 2022, approach 3. ``c`` is how far a run at its peak rate lies above a finished one.
Priors keep the exponents near those of published laws, ``c`` and the offsets near zero. They count against the rows
by the spread that the runs have about the law: where the law's form is wrong it is wrong for many rows alike, and a
hundred of them are not a hundred independent witnesses of an exponent. Rows count by how near they are to the lowest
loss: no power law holds from a model of ten million parameters to one of ten billion, and the lowest losses are the
ones to go on from. The three scales (``NEAR``, ``SHARED``, ``EXPONENT_SPREAD``) were chosen by how well the smaller
half of published tables foresaw their next larger sizes (benchmarks/results/forecast.md).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from onset.stats.loss_rows import LossRows

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

HUBER = 1e-3
"""Residual of log loss beyond which a point counts linearly (Hoffmann et al. 2022), in the first search."""
SHARED = 4.0
"""The same in the second one, in spreads of the runs about the law; and the residual that weighs as much as a prior's
standard deviation."""

EXPONENT, EXPONENT_SPREAD = 0.3, 0.2
"""Middle of the prior of both exponents, and its standard deviation in logarithms: published ones are 0.2 to 0.45."""
RATE_SPREAD = 0.03
"""Standard deviation of the prior of c: annealing lowers losses by a few percent."""
OFFSET_SPREAD = 0.1
"""Standard deviation of the prior of family offsets, in log loss."""

NEAR = 0.2
"""Standard deviation of the kernel of the lowest losses, in log loss."""

LAW = 5
"""Parameters of the law itself; then c, then an offset a family."""

EXPONENTS: Vector = np.array([0.08, 0.15, 0.25, 0.35, 0.5, 0.75, 1.1])
"""Where the search for exponents starts."""


def natural(theta: Vector) -> Vector:
    """(log E, log A, log B, alpha, beta, ...) to E, A, B, alpha, beta, ..."""
    made: Vector = np.r_[np.exp(theta[:3]), theta[3:]]
    return made


def law(parameters: Matrix, params: Vector, tokens: Vector) -> Matrix:
    """Loss for each parameter vector (rows: E, A, B, alpha, beta) at each (params, tokens)."""
    e, a, b, alpha, beta = (parameters[:, [place]] for place in range(LAW))
    loss: Matrix = e + a * params[None, :] ** -alpha + b * tokens[None, :] ** -beta
    return loss


def best(rows: LossRows, weight: Vector) -> Vector:
    """The best optimum over many starts by the fixed Huber scale: (log E, log A, log B, alpha, beta, c, offsets).

    For each pair of exponents the other three are linear and found by non-negative least squares; the best pairs are
    then polished.
    """
    size, tokens, loss = rows.params, rows.tokens, rows.loss
    starts: list[tuple[float, Vector]] = []
    root = np.sqrt(weight) / loss
    for alpha in EXPONENTS:
        for beta in EXPONENTS:
            columns = np.column_stack(
                [np.ones(len(size)), (size / size.min()) ** -alpha, (tokens / tokens.min()) ** -beta]
            )
            linear, miss = optimize.nnls(root[:, None] * columns, root * loss)
            e, a, b = np.log(np.maximum(linear, 1e-3))
            theta = np.array([e, a + alpha * np.log(size.min()), b + beta * np.log(tokens.min()), alpha, beta])
            starts.append((float(miss), theta))
    starts.sort(key=lambda start: start[0])
    more = np.zeros(1 + _offsets(rows))
    polished = [_polished(np.r_[theta, more], rows, loss, weight) for _, theta in starts[:4]]
    return min(polished, key=lambda pair: pair[1])[0]


def settled(rows: LossRows, weight: Vector) -> tuple[Vector, float]:
    """The optimum by the spread of the runs about the law, and its Huber scale: ``best`` polished twice more."""
    theta, scale, runs = best(rows, weight), HUBER, len(np.unique(rows.run))
    for _ in range(2):
        scale = SHARED * max(spread(residuals(theta, rows, rows.loss), weight, runs), HUBER)
        theta = _polished(theta, rows, rows.loss, weight, scale=scale)[0]
    return theta, scale


def spread(residual: Vector, weight: Vector, runs: int) -> float:
    """Standard deviation of log loss by its 68th weighted percentile: single outliers are no spread of runs."""
    order = np.argsort(np.abs(residual))
    place = np.searchsorted(np.cumsum(weight[order]), 0.683 * weight.sum())
    freedom = max(runs - 2, 1) / runs
    return float(np.abs(residual[order][min(int(place), len(order) - 1)]) / np.sqrt(freedom))


def residuals(theta: Vector, rows: LossRows, loss: Vector) -> Vector:
    """Log of the law less log of the losses."""
    return _residuals(theta, rows, loss)[0]


def weights(rows: LossRows) -> Vector:
    """Weights of mean one: near the lowest loss, and each run the same say up to the root of its number of rows."""
    near = np.exp(-0.5 * (np.log(rows.loss / rows.loss.min()) / NEAR) ** 2)
    weight = near / np.sqrt(np.bincount(rows.run)[rows.run])
    made: Vector = weight / weight.mean()
    return made


def resampled(rows: LossRows, start: Vector, scale: float, deviation: float, resamples: int, seed: int) -> Matrix:
    """Parameters (natural) of tables in which each run deviates as a whole, by ``deviation`` in log loss.

    A parametric bootstrap by run: checkpoints of one run are not independent. The centres of the priors of the
    exponents are drawn too, and the schedule where it is unknown: what the data do not say stays open.
    """
    rng = np.random.default_rng(seed)
    weight, runs, draws = weights(rows), int(rows.run.max()) + 1, []
    for _ in range(resamples):
        moved = rows.loss * np.exp(deviation * rng.standard_normal(runs))[rows.run]
        rates = rows.possible_rates
        under = replace(rows, rate=rates[rng.integers(len(rates))]) if len(rates) else rows
        draws.append(natural(_polished(start, under, moved, weight, rng.standard_normal(2), scale)[0]))
    return np.array(draws)


def _offsets(rows: LossRows) -> int:
    return len(rows.families) if len(rows.families) > 1 else 0


def _residuals(theta: Vector, rows: LossRows, loss: Vector) -> tuple[Vector, Matrix]:
    """Log residuals and their derivatives by theta."""
    log_size, log_tokens = np.log(rows.params), np.log(rows.tokens)
    first = np.exp(theta[1] - theta[3] * log_size)
    second = np.exp(theta[2] - theta[4] * log_tokens)
    total = np.exp(theta[0]) + first + second
    families = np.asarray(rows.family[:, None] == np.arange(_offsets(rows)), dtype=float)
    jacobian = np.column_stack([
        np.column_stack([np.full(len(total), np.exp(theta[0])), first, second, -first * log_size, -second * log_tokens])
        / total[:, None],
        rows.rate, families,
    ])  # fmt: skip
    return np.log(total) + jacobian[:, LAW:] @ theta[LAW:] - np.log(loss), jacobian


def _priors(theta: Vector, centre: Vector) -> tuple[Vector, Matrix]:
    """Distances from the priors in standard deviations, and their derivatives."""
    spreads = np.r_[RATE_SPREAD, np.full(len(theta) - LAW - 1, OFFSET_SPREAD)]
    exponents = np.log(theta[3:LAW] / EXPONENT) / EXPONENT_SPREAD - centre
    rest = theta[LAW:] / spreads
    jacobian = np.zeros((len(theta) - 3, len(theta)))
    jacobian[[0, 1], [3, 4]] = 1.0 / (theta[3:LAW] * EXPONENT_SPREAD)
    jacobian[2:, LAW:] = np.diag(1.0 / spreads)
    return np.r_[exponents, rest], jacobian


def _polished(
    theta: Vector, rows: LossRows, loss: Vector, weight: Vector, centre: Vector | None = None, scale: float = HUBER
) -> tuple[Vector, float]:
    """The nearest optimum of the Huber loss on log residuals under the priors, and its value."""
    root, middle = np.sqrt(weight), np.zeros(2) if centre is None else centre
    more = len(theta) - LAW - 1
    low = np.r_[-6.0, -20.0, -20.0, 0.02, 0.02, 0.0, np.full(more, -1.0)]
    high = np.r_[6.0, 80.0, 80.0, 2.5, 2.5, 0.4, np.full(more, 1.0)]

    def miss(at: Vector) -> Vector:
        weighted: Vector = np.r_[root * _residuals(at, rows, loss)[0], scale * _priors(at, middle)[0]]
        return weighted

    def slope(at: Vector) -> Matrix:
        return np.vstack([root[:, None] * _residuals(at, rows, loss)[1], scale * _priors(at, middle)[1]])

    start = np.clip(theta, low + 1e-6, high - 1e-6)
    found = optimize.least_squares(
        miss, start, jac=slope, loss="huber", f_scale=scale, bounds=(low, high), x_scale="jac", max_nfev=60
    )
    return found.x, float(found.cost)
