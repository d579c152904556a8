"""Loss from size and tokens: L(N, D) = E + A / N^alpha + B / D^beta, and the paper's L(N) at fixed tokens.

The form and the robust fit (Huber loss on the logarithm, many starts) are those of Hoffmann et al. 2022,
"Training Compute-Optimal Large Language Models", approach 3. Intervals come from resampling whole runs:
checkpoints of one run are not independent. The fit is kept to what the data can tell: three sizes or more.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize
from scipy.special import ndtri

from onset.errors import OnsetError
from onset.results import Drawable, Interval

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

HUBER = 1e-3
"""Residual of log loss beyond which a point counts linearly (Hoffmann et al. 2022)."""

FLOOR = 1e-3
"""Least spread of log loss between runs: a table with one run a size cannot show that seeds differ."""

RESAMPLES = 60
"""Resamples of runs behind each interval."""

NAMES = ("E", "A", "B", "alpha", "beta")

_EXPONENTS: Vector = np.array([0.08, 0.15, 0.25, 0.35, 0.5, 0.75, 1.1])
_ROWS = 200


@dataclass(frozen=True)
class LossLaw(Drawable):
    """A fitted L(N, D); ``draws`` are the same five parameters from resampled runs."""

    E: float
    A: float
    B: float
    alpha: float
    beta: float
    spread: float
    """Standard deviation of log loss about the law, between and within runs."""
    draws: Matrix = field(repr=False)
    """(resamples, 5): E, A, B, alpha, beta."""
    level: float = 0.95
    seen: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    """Smallest and largest size, fewest and most tokens of the rows."""

    def summary(self) -> pd.DataFrame:
        """One row a parameter: value and interval over resampled runs."""
        tail = (1.0 - self.level) / 2.0
        low, high = np.quantile(self.draws, [tail, 1.0 - tail], axis=0)
        values = [getattr(self, name) for name in NAMES]
        return pd.DataFrame({"parameter": NAMES, "value": values, "low": low, "high": high})

    def predict(self, params: ArrayLike, tokens: ArrayLike) -> pd.DataFrame:
        """Loss of a new run at sizes and tokens: ``params, tokens, loss, low, high`` (a prediction interval)."""
        size, seen = np.broadcast_arrays(np.asarray(params, dtype=float), np.asarray(tokens, dtype=float))
        size, seen = np.atleast_1d(size).ravel(), np.atleast_1d(seen).ravel()
        drawn = self.sample(size, seen, np.random.default_rng(0), noise=True)
        tail = (1.0 - self.level) / 2.0
        low, high = np.quantile(drawn, [tail, 1.0 - tail], axis=0)
        loss = _law(np.array([[getattr(self, name) for name in NAMES]]), size, seen)[0]
        return pd.DataFrame({"params": size, "tokens": seen, "loss": loss, "low": low, "high": high})

    def sample(self, params: Vector, tokens: Vector, rng: np.random.Generator, *, noise: bool) -> Matrix:
        """Possible losses, (draws, n): one law a draw, and one deviation of the run with ``noise``."""
        loss = _law(self.draws, params, tokens)
        if noise:
            loss = loss * np.exp(self.spread * rng.standard_normal((len(loss), 1)))
        return loss


@dataclass(frozen=True)
class SizeLaw(Drawable):
    """The paper's L(N) = L_inf + (N0 / N)^alpha at a fixed number of tokens."""

    L_inf: float
    N0: float
    alpha: float
    draws: Matrix = field(repr=False)
    """(resamples, 3): L_inf, N0, alpha."""
    level: float = 0.95

    def summary(self) -> pd.DataFrame:
        """One row a parameter: value and interval over resampled runs."""
        tail = (1.0 - self.level) / 2.0
        low, high = np.quantile(self.draws, [tail, 1.0 - tail], axis=0)
        names = ["L_inf", "N0", "alpha"]
        return pd.DataFrame({"parameter": names, "value": [self.L_inf, self.N0, self.alpha], "low": low, "high": high})

    def predict(self, params: ArrayLike) -> Vector:
        """Loss at sizes."""
        size = np.asarray(params, dtype=float)
        loss: Vector = self.L_inf + (self.N0 / size) ** self.alpha
        return loss

    def threshold(self, eta: Interval | float) -> Interval | None:
        """Size from which the loss stays below eta: N0 (eta - L_inf)^(-1 / alpha) (Du et al. 2024, section 4).

        None when no size reaches it; a bound that no size reaches is infinite.
        """
        where = eta if isinstance(eta, Interval) else Interval(eta, eta, eta)
        if where.value <= self.L_inf:
            return None
        rng = np.random.default_rng(0)
        aimed = draw_interval(where, len(self.draws), rng, self.level)
        sizes = _size_for(aimed, self.draws[:, 0], self.draws[:, 1], self.draws[:, 2])
        tail = (1.0 - self.level) / 2.0
        low, high = np.quantile(sizes, [tail, 1.0 - tail], method="nearest")
        value = self.N0 * (where.value - self.L_inf) ** (-1.0 / self.alpha)
        return Interval(float(value), float(low), float(high))


def fit(obs: pd.DataFrame, *, level: float = 0.95, seed: int = 0, resamples: int = RESAMPLES) -> LossLaw:
    """Fit L(N, D) to the losses of a table: columns ``run, params, tokens, loss`` (rows may repeat over tasks).

    Raises OnsetError with fewer than three sizes, or with fewer rows than the law has parameters.
    """
    rows = checkpoints(obs)
    _enough(rows)
    rows = _thinned(rows)
    size, tokens, loss = (rows[name].to_numpy(float) for name in ("params", "tokens", "loss"))
    run = pd.factorize(rows["run"])[0]
    weight = _balanced(run)
    best = _best(size, tokens, loss, weight)
    residual = np.log(loss) - np.log(_law(_natural(best)[None], size, tokens)[0])
    freedom = max(len(np.unique(run)) - 2, 1) / len(np.unique(run))
    spread = float(np.sqrt(np.average(residual**2, weights=weight) / freedom))
    draws = _resampled(size, tokens, loss, run, best, max(spread, FLOOR), resamples, seed)
    e, a, b, alpha, beta = (float(value) for value in _natural(best))
    span = (float(size.min()), float(size.max()), float(tokens.min()), float(tokens.max()))
    return LossLaw(e, a, b, alpha, beta, max(spread, FLOOR), draws, level, span)


def fit_size(obs: pd.DataFrame, *, level: float = 0.95, seed: int = 0, resamples: int = RESAMPLES) -> SizeLaw:
    """Fit the paper's L(N) to the last checkpoint of each run; the runs should have the same number of tokens.

    Raises OnsetError with fewer than four sizes, or when the runs' tokens differ by more than a tenth.
    """
    rows = checkpoints(obs).sort_values("tokens").groupby("run").tail(1)
    if rows["params"].nunique() < 4:
        raise OnsetError("L(N) has three parameters and needs four sizes or more", where=_sizes(rows))
    if rows["tokens"].max() > 1.1 * rows["tokens"].min():
        raise OnsetError(
            "L(N) is a law at a fixed number of tokens, and the runs end at different ones",
            where=f"{rows['tokens'].min():.3g} to {rows['tokens'].max():.3g} tokens",
            advice="choose rows with the same tokens, or use the law in size and tokens",
        )
    size, loss = rows["params"].to_numpy(float), rows["loss"].to_numpy(float)
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(resamples):
        picked = rng.integers(len(size), size=len(size))
        if len(np.unique(size[picked])) >= 3:
            draws.append(_size_fit(size[picked], loss[picked]))
    best = _size_fit(size, loss)
    return SizeLaw(float(best[0]), float(best[1]), float(best[2]), np.array(draws), level)


def checkpoints(obs: pd.DataFrame) -> pd.DataFrame:
    """The distinct checkpoints of a table: ``run, params, tokens, loss``, whatever tasks they were scored on."""
    for name in ("run", "params", "tokens", "loss"):
        if name not in obs:
            raise OnsetError(f"the table has no column '{name}'", advice="loss from size and tokens needs it")
    rows = obs[["run", "params", "tokens", "loss"]].dropna().drop_duplicates()
    return rows[(rows["params"] > 0) & (rows["tokens"] > 0) & (rows["loss"] > 0)]


def draw_interval(where: Interval, count: int, rng: np.random.Generator, level: float) -> Vector:
    """Values spread as an interval says: two half-normals, one each side of its value."""
    reach = float(ndtri(0.5 + level / 2.0))
    normal = rng.standard_normal(count)
    below, above = (where.value - where.low) / reach, (where.high - where.value) / reach
    drawn: Vector = where.value + normal * np.where(normal < 0, below, above)
    return drawn


def _size_for(eta: Vector, floor: Vector, scale: Vector, alpha: Vector) -> Vector:
    """Sizes that reach losses; infinite where none does."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        sizes: Vector = np.where(eta > floor, scale * np.maximum(eta - floor, 1e-300) ** (-1.0 / alpha), np.inf)
    return sizes


def _thinned(rows: pd.DataFrame) -> pd.DataFrame:
    """At most about ``_ROWS`` checkpoints, evenly taken from each run: neighbours tell the law nothing new."""
    each = max(_ROWS // rows["run"].nunique(), 3)
    if len(rows) <= _ROWS:
        return rows
    rows = rows.sort_values(["run", "tokens"])
    rank = rows.groupby("run").cumcount().to_numpy()
    count = rows.groupby("run")["loss"].transform("size").to_numpy()
    bucket = rank * each // np.maximum(count, each)
    first: pd.Series[bool] = ~pd.Series(bucket, index=rows.index).groupby(rows["run"]).diff().eq(0)
    return rows[first]


def _sizes(rows: pd.DataFrame) -> str:
    return f"{rows['params'].nunique()} sizes, {rows['run'].nunique()} runs, {len(rows)} checkpoints"


def _enough(rows: pd.DataFrame) -> None:
    if rows["params"].nunique() < 3 or rows["tokens"].nunique() < 3 or len(rows) < 8:
        raise OnsetError(
            "loss from size and tokens needs three sizes, three token counts and eight checkpoints or more",
            where=_sizes(rows),
            advice="give the targets by loss instead of by params and tokens",
        )


def _balanced(run: NDArray[np.int64]) -> Vector:
    """Weights that sum to the number of rows and give each run the same say up to a factor of its square root."""
    counts = np.bincount(run)[run].astype(float)
    weight = counts**-0.5
    balanced: Vector = weight / weight.mean()
    return balanced


def _natural(theta: Vector) -> Vector:
    """(log E, log A, log B, alpha, beta), with A and B at the centre of the data, to E, A, B, alpha, beta."""
    natural: Vector = np.r_[np.exp(theta[:3]), theta[3:]]
    return natural


def _law(parameters: Matrix, size: Vector, tokens: Vector) -> Matrix:
    """Loss for each parameter vector (rows: E, A, B, alpha, beta) at each (size, tokens)."""
    e, a, b, alpha, beta = (parameters[:, [place]] for place in range(5))
    loss: Matrix = e + a * size[None, :] ** -alpha + b * tokens[None, :] ** -beta
    return loss


def _residuals(theta: Vector, size: Vector, tokens: Vector, loss: Vector) -> tuple[Vector, Matrix]:
    """Log residuals and their derivatives by theta."""
    log_size, log_tokens = np.log(size), np.log(tokens)
    first = np.exp(theta[1] - theta[3] * log_size)
    second = np.exp(theta[2] - theta[4] * log_tokens)
    total = np.exp(theta[0]) + first + second
    jacobian = np.column_stack([np.full(len(size), np.exp(theta[0])), first, second, -first * log_size,
                                -second * log_tokens]) / total[:, None]  # fmt: skip
    return np.log(total) - np.log(loss), jacobian


def _polished(theta: Vector, size: Vector, tokens: Vector, loss: Vector, weight: Vector) -> tuple[Vector, float]:
    """The nearest optimum of the Huber loss on log residuals, and its value."""
    root = np.sqrt(weight)
    low, high = np.array([-6.0, -20.0, -20.0, 0.02, 0.02]), np.array([6.0, 80.0, 80.0, 2.5, 2.5])

    def miss(at: Vector) -> Vector:
        weighted: Vector = root * _residuals(at, size, tokens, loss)[0]
        return weighted

    def slope(at: Vector) -> Matrix:
        weighted: Matrix = root[:, None] * _residuals(at, size, tokens, loss)[1]
        return weighted

    start = np.clip(theta, low + 1e-6, high - 1e-6)
    found = optimize.least_squares(
        miss, start, jac=slope, loss="huber", f_scale=HUBER, bounds=(low, high), x_scale="jac", max_nfev=40
    )
    return found.x, float(found.cost)


def _best(size: Vector, tokens: Vector, loss: Vector, weight: Vector) -> Vector:
    """The best optimum over many starts.

    For each pair of exponents the other three are linear and found by non-negative least squares; the best
    pairs are then polished.
    """
    starts: list[tuple[float, Vector]] = []
    root = np.sqrt(weight) / loss
    for alpha in _EXPONENTS:
        for beta in _EXPONENTS:
            columns = np.column_stack(
                [np.ones(len(size)), (size / size.min()) ** -alpha, (tokens / tokens.min()) ** -beta]
            )
            linear, miss = optimize.nnls(root[:, None] * columns, root * loss)
            e, a, b = np.log(np.maximum(linear, 1e-3))
            theta = np.array([e, a + alpha * np.log(size.min()), b + beta * np.log(tokens.min()), alpha, beta])
            starts.append((float(miss), theta))
    starts.sort(key=lambda start: start[0])
    polished = [_polished(theta, size, tokens, loss, weight) for _, theta in starts[:4]]
    return min(polished, key=lambda pair: pair[1])[0]


def _resampled(
    size: Vector, tokens: Vector, loss: Vector, run: NDArray[np.int64], best: Vector, spread: float, resamples: int,
    seed: int,
) -> Matrix:  # fmt: skip
    """Parameters from resampled runs: runs are weighted at random, and each may deviate as a whole.

    Random weights (the Bayesian bootstrap, Rubin 1981) lose no size altogether, as drawing with
    replacement would; the deviation is what a run would show beside another of the same size.
    """
    rng = np.random.default_rng(seed)
    runs = int(run.max()) + 1
    counts = np.bincount(run).astype(float)
    draws = []
    for _ in range(resamples):
        weight = (rng.exponential(size=runs) / np.sqrt(counts))[run]
        moved = loss * np.exp(spread * rng.standard_normal(runs))[run]
        theta, _ = _polished(best, size, tokens, moved, weight / weight.mean())
        draws.append(_natural(theta))
    return np.array(draws)


def _size_fit(size: Vector, loss: Vector) -> Vector:
    """L_inf, N0, alpha by the same robust loss, over many starts."""

    def residual(theta: Vector) -> Vector:
        miss: Vector = np.log(np.exp(theta[0]) + np.exp(theta[2] * (theta[1] - np.log(size)))) - np.log(loss)
        return miss

    best, cost = np.zeros(3), np.inf
    for alpha in _EXPONENTS:
        columns = np.column_stack([np.ones(len(size)), (size / size.min()) ** -alpha])
        linear, _ = optimize.nnls(columns / loss[:, None], np.ones(len(size)))
        floor, scale = np.log(np.maximum(linear, 1e-3))
        start = np.array([floor, np.log(size.min()) + scale / alpha, alpha])
        found = optimize.least_squares(residual, start, loss="huber", f_scale=HUBER, max_nfev=300)
        if found.cost < cost and found.x[2] > 0:
            best, cost = found.x, float(found.cost)
    return np.array([np.exp(best[0]), np.exp(best[1]), best[2]])
