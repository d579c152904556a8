"""Loss from size and tokens: L(N, D) = E + A / N^alpha + B / D^beta, and the paper's L(N) at fixed tokens.

``loss_rows`` says which checkpoints the law is learnt from, ``loss_fit`` how. Intervals come from runs that deviate as
a whole: checkpoints of one run are not independent. The fit is kept to what the data can tell: three sizes or more.
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
from onset.stats import loss_fit
from onset.stats.loss_fit import HUBER, LAW
from onset.stats.loss_rows import checkpoints, choose, sizes_of

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

FLOOR = 1e-3
"""Least spread of log loss between runs: a table with one run a size cannot show that seeds differ."""

UNKNOWN = 5e-3
"""The same where the schedule is unknown: the law's form is then a guess."""

BEYOND = 0.02
"""Standard deviation of log loss a decade of size beyond the largest one seen: what held-out sizes of published tables
were missed by (benchmarks/forecast.py)."""

RESAMPLES = 60
"""Tables drawn anew behind each interval."""

NAMES = ("E", "A", "B", "alpha", "beta")


@dataclass(frozen=True)
class LossLaw(Drawable):
    """A fitted L(N, D) of finished runs; ``draws`` are the same five parameters from tables drawn anew."""

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
    families: tuple[str, ...] = ()
    """Families with an offset of their own; empty where there is one."""
    offsets: Matrix = field(default_factory=lambda: np.zeros((1, 0)), repr=False)
    """(1 + resamples, families) in log loss, the fitted ones first."""
    note: str = ""
    """Which checkpoints the law was learnt from, and what to distrust."""

    def summary(self) -> pd.DataFrame:
        """One row a parameter: value and interval over the draws."""
        tail = (1.0 - self.level) / 2.0
        low, high = np.quantile(self.draws, [tail, 1.0 - tail], axis=0)
        values = [getattr(self, name) for name in NAMES]
        return pd.DataFrame({"parameter": NAMES, "value": values, "low": low, "high": high})

    def predict(self, params: ArrayLike, tokens: ArrayLike, family: str | None = None) -> pd.DataFrame:
        """Loss of a new run at sizes and tokens: ``params, tokens, loss, low, high`` (a prediction interval)."""
        size, seen = np.broadcast_arrays(np.asarray(params, dtype=float), np.asarray(tokens, dtype=float))
        size, seen = np.atleast_1d(size).ravel(), np.atleast_1d(seen).ravel()
        drawn = self.sample(size, seen, np.random.default_rng(0), noise=True, family=family)
        tail = (1.0 - self.level) / 2.0
        low, high = np.quantile(drawn, [tail, 1.0 - tail], axis=0)
        loss = loss_fit.law(np.array([[getattr(self, name) for name in NAMES]]), size, seen)[0]
        if family in self.families:
            loss = loss * np.exp(self.offsets[0, self.families.index(family)])
        return pd.DataFrame({"params": size, "tokens": seen, "loss": loss, "low": low, "high": high})

    def sample(
        self, params: Vector, tokens: Vector, rng: np.random.Generator, *, noise: bool, family: str | None = None
    ) -> Matrix:
        """Possible losses, (draws, n): one law a draw, and one deviation of the run with ``noise``.

        A family of the table has its offset; a run of another one may have that of any.
        """
        loss = loss_fit.law(self.draws, params, tokens)
        if self.families:
            count = len(self.families)
            known = family in self.families
            which = self.families.index(family) if known else rng.integers(count, size=len(loss))
            loss = loss * np.exp(self.offsets[1:][np.arange(len(loss)), which])[:, None]
        if noise:
            loss = loss * np.exp(self.deviation(params) * rng.standard_normal((len(loss), 1)))
        return loss

    def deviation(self, params: Vector) -> Vector:
        """Standard deviation of the log loss of a new run at sizes, besides that of the law's parameters."""
        decades = np.maximum(np.log10(params / self.seen[1]), 0.0) if self.seen[1] > 0 else np.zeros(len(params))
        return np.asarray(np.hypot(self.spread, BEYOND * decades))


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


def fit(
    obs: pd.DataFrame, *, level: float = 0.95, seed: int = 0, resamples: int = RESAMPLES, schedule: str | None = None
) -> LossLaw:
    """Fit L(N, D) to the losses of a table: columns ``run, params, tokens, loss`` (rows may repeat over tasks).

    ``schedule`` (``constant, cosine, linear, wsd``) of the learning rate, where the table does not say: see
    ``loss_rows``. Raises OnsetError with fewer than three sizes, or with fewer rows than the law has parameters.
    """
    rows = choose(obs, schedule)
    weight = loss_fit.weights(rows)
    best, scale = loss_fit.settled(rows, weight)
    least = UNKNOWN if rows.basis == "rate_unknown" else FLOOR
    spread = max(loss_fit.spread(loss_fit.residuals(best, rows, rows.loss), weight, len(np.unique(rows.run))), least)
    draws = loss_fit.resampled(rows, best, scale, spread, resamples, seed)
    e, a, b, alpha, beta = (float(value) for value in loss_fit.natural(best)[:LAW])
    span = tuple(float(end) for values in (rows.params, rows.tokens) for end in (values.min(), values.max()))
    several = rows.families if len(rows.families) > 1 else ()
    offsets = np.vstack([best[LAW + 1 :], draws[:, LAW + 1 :]])
    return LossLaw(
        e, a, b, alpha, beta, spread, draws[:, :LAW], level, (span[0], span[1], span[2], span[3]), several, offsets,
        rows.note,
    )  # fmt: skip


def fit_size(obs: pd.DataFrame, *, level: float = 0.95, seed: int = 0, resamples: int = RESAMPLES) -> SizeLaw:
    """Fit the paper's L(N) to the last checkpoint of each run; the runs should have the same number of tokens.

    Raises OnsetError with fewer than four sizes, or when the runs' tokens differ by more than a tenth.
    """
    rows = checkpoints(obs).sort_values("tokens").groupby("run").tail(1)
    if rows["params"].nunique() < 4:
        raise OnsetError("L(N) has three parameters and needs four sizes or more", where=sizes_of(rows))
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


def _size_fit(size: Vector, loss: Vector) -> Vector:
    """L_inf, N0, alpha by the same robust loss, over many starts."""

    def residual(theta: Vector) -> Vector:
        miss: Vector = np.log(np.exp(theta[0]) + np.exp(theta[2] * (theta[1] - np.log(size)))) - np.log(loss)
        return miss

    best, cost = np.zeros(3), np.inf
    for alpha in loss_fit.EXPONENTS:
        columns = np.column_stack([np.ones(len(size)), (size / size.min()) ** -alpha])
        linear, _ = optimize.nnls(columns / loss[:, None], np.ones(len(size)))
        floor, scale = np.log(np.maximum(linear, 1e-3))
        start = np.array([floor, np.log(size.min()) + scale / alpha, alpha])
        found = optimize.least_squares(residual, start, loss="huber", f_scale=HUBER, max_nfev=300)
        if found.cost < cost and found.x[2] > 0:
            best, cost = found.x, float(found.cost)
    return np.array([np.exp(best[0]), np.exp(best[1]), best[2]])
