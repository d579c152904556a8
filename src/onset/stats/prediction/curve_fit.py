"""Fit a curve of one's own to observations, by weighted least squares with many starts and intervals by run.

A curve is a plain function of the loss; its parameters are named by its signature:

    def gompertz(loss, height, middle, width):
        return height * np.exp(-np.exp((loss - middle) / width))

    fit(gompertz, obs).summary()

`onset.stats.threshold` decides whether there is a threshold at all; `fit` only draws one curve through
the scores, and says so where it could not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.optimize import least_squares

from onset.errors import OnsetError, did_you_mean
from onset.results import Drawable, Interval
from onset.stats.curve.curves import Law, defaults, parameters
from onset.stats.data import Array, CurveData, curve_data

Bounds = Mapping[str, tuple[float, float]]

STARTS = 40
"""Starts of the search, spread over the bounds; those that end best are compared."""
RESAMPLES = 100
"""Families of runs drawn anew for the intervals."""


@dataclass(frozen=True)
class Fit(Drawable):
    """One law drawn through the points: named parameters with intervals, or the admission that it failed."""

    law: Law = field(repr=False)
    name: str
    parameters: Mapping[str, Interval]
    converged: bool
    why: str
    """One sentence on what failed or what to distrust; empty where nothing did."""
    error: float
    """Root mean square distance from the points, in units of the score."""
    level: float
    on: Literal["ability", "score"]
    chance: float
    sign: float
    seen: tuple[float, float]
    """The lowest and the highest loss that the law was fitted on."""
    draws: Array = field(repr=False, compare=False)
    """(resamples, parameters) of families of runs drawn anew."""
    residuals: pd.DataFrame = field(repr=False, compare=False)
    """Observed minus fitted: ``run, loss, residual``, in units of the score."""

    def __repr__(self) -> str:
        values = ", ".join(
            f"{name}={one.value:.4g} [{one.low:.4g}, {one.high:.4g}]" for name, one in self.parameters.items()
        )
        trouble = "" if self.converged else "DID NOT CONVERGE; "
        note = f"; {self.why}" if self.why else ""
        return f"Fit({self.name}: {trouble}{values}; error {self.error:.3g}{note})"

    def summary(self) -> pd.DataFrame:
        """One row a parameter: ``parameter, value, low, high``, and whether the fit converged."""
        rows = [
            {"parameter": name, "value": one.value, "low": one.low, "high": one.high, "converged": self.converged}
            for name, one in self.parameters.items()
        ]
        return pd.DataFrame(rows)

    def predict(self, loss: ArrayLike) -> pd.DataFrame:
        """The law at losses: ``loss, score, low, high``; the band is that of the law, not of a new score."""
        values = np.atleast_1d(np.asarray(loss, dtype=float))
        middle = self._score(values, np.array([one.value for one in self.parameters.values()]))
        if len(self.draws):
            tail = (1 - self.level) / 2
            all_laws = np.stack([self._score(values, draw) for draw in self.draws])
            low, high = np.nanquantile(all_laws, [tail, 1 - tail], axis=0)
        else:
            low = high = np.full(len(values), math.nan)
        return pd.DataFrame({"loss": values, "score": middle, "low": low, "high": high})

    def _score(self, loss: Array, values: Array) -> Array:
        found = np.asarray(self.law(loss, *values), dtype=float) * np.ones(len(loss))
        return found if self.on == "score" else self.chance + self.sign * found


def fit(
    law: Law, obs: pd.DataFrame, *, on: Literal["ability", "score"] = "ability", bounds: Bounds | None = None,
    level: float = 0.95, seed: int = 0, resamples: int = RESAMPLES,
) -> Fit:  # fmt: skip
    """A law fitted to the rows of one (task, metric, loss).

    ``law(loss, ...)`` gives ability, the distance from chance in the direction of better (``on=
    "ability"``, chance from the table), or the score itself (``on="score"``). ``bounds`` limits
    parameters by name; those of thresholds and middles (``eta``, ``middle``) start as the losses seen.
    Intervals are from runs drawn anew with replacement, not from checkpoints, which are not
    independent; with fewer than three runs they are from the curvature of the fit and too narrow.
    Raises OnsetError for unknown parameter names and for fewer points than parameters.
    """
    names = parameters(law)
    seen = curve_data(obs)
    if unknown := sorted(set(bounds or {}) - set(names)):
        raise OnsetError(f"The law has no parameter '{unknown[0]}'.", advice=did_you_mean(unknown[0], names))
    if len(seen.loss) <= len(names):
        raise OnsetError(
            f"{len(seen.loss)} points cannot fix the {len(names)} parameters of the law.",
            advice="give more checkpoints",
        )
    if on == "ability" and seen.chance.value is None:
        raise OnsetError("Ability is the distance from chance, and chance is unknown.", advice='use on="score"')
    task = _Task(law, names, seen, on, bounds or {})
    rng = np.random.default_rng(seed)
    best, converged = task.search(np.ones(len(seen.loss)), task.starts(rng))
    draws = _by_runs(task, best, resamples, rng) if len(seen.runs) >= 3 else _by_curvature(task, best, resamples, rng)
    why = _doubts(task, best, converged, len(seen.runs))
    fitted = task.model(best)
    scores = seen.sign * (task.target - fitted) if on == "ability" else task.target - fitted
    return Fit(
        law=law, name=getattr(law, "__name__", "law"), parameters=_intervals(names, best, draws, level),
        converged=converged, why=why, error=float(np.sqrt(np.mean(scores**2))), level=level, on=on,
        chance=seen.chance.value or 0.0, sign=seen.sign, seen=(float(seen.loss.min()), float(seen.loss.max())),
        draws=draws,
        residuals=pd.DataFrame({"run": np.array(seen.runs)[seen.run], "loss": seen.loss, "residual": scores}),
    )  # fmt: skip


class _Task:
    """What is minimised: distances in standard errors, within bounds."""

    def __init__(
        self, law: Law, names: tuple[str, ...], seen: CurveData, on: Literal["ability", "score"], bounds: Bounds
    ) -> None:
        self.law, self.names, self.seen = law, names, seen
        self.target = seen.scale * seen.ability if on == "ability" else seen.score
        variance = seen.scale**2 * np.nan_to_num(seen.item_variance())
        # Half a point of score beside the noise of items: no law is true to the last digit.
        self.error = np.sqrt(variance + (0.005 * max(float(np.ptp(self.target)), 1e-9)) ** 2)
        low, high = float(seen.loss.min()), float(seen.loss.max())
        reach = {"eta": (low, high), "middle": (low - (high - low), high)}
        wide = {name: bounds.get(name, reach.get(name, (-np.inf, np.inf))) for name in names}
        self.low = np.array([wide[name][0] for name in names], dtype=float)
        self.high = np.array([wide[name][1] for name in names], dtype=float)
        self.known = defaults(law)

    def model(self, values: Array) -> Array:
        """The law at the points, in ability or score."""
        return np.asarray(self.law(self.seen.loss, *values), dtype=float) * np.ones(len(self.target))

    def starts(self, rng: np.random.Generator) -> Array:
        """(starts, parameters): even within bounds, and of any scale where there are none."""
        drawn = np.empty((STARTS, len(self.names)))
        for index, name in enumerate(self.names):
            low, high = self.low[index], self.high[index]
            if np.isfinite(low) and np.isfinite(high):
                column = rng.permutation(low + (high - low) * (np.arange(STARTS) + 0.5) / STARTS)
            else:
                column = np.exp(rng.uniform(np.log(0.02), np.log(5), STARTS))
                column = column * self.known.get(name, 1.0) if self.known.get(name, 1.0) > 0 else column
                column = np.clip(column, low, high)
            drawn[:, index] = column
            if name in self.known:
                drawn[: STARTS // 2, index] = np.clip(self.known[name], low, high)
        return drawn

    def search(self, weight: Array, starts: Array) -> tuple[Array, bool]:
        """The best end of all starts, and whether the search ended by itself there."""
        scale = np.sqrt(weight) / self.error

        def distances(values: Array) -> Array:
            with np.errstate(all="ignore"):
                found = (self.model(values) - self.target) * scale
            return np.nan_to_num(found, nan=1e6, posinf=1e6, neginf=-1e6)

        costs = [float(np.sum(distances(start) ** 2)) for start in starts]
        best, best_cost, converged = starts[int(np.argmin(costs))], math.inf, False
        for index in np.argsort(costs)[: max(4, len(starts) // 4)]:
            start = np.clip(starts[index], self.low, self.high)
            ended = least_squares(distances, start, bounds=(self.low, self.high), x_scale="jac", max_nfev=200)
            if ended.cost < best_cost:
                best, best_cost, converged = ended.x, float(ended.cost), bool(ended.status > 0)
        with np.errstate(all="ignore"):
            computed = bool(np.all(np.isfinite(self.model(best))))
        return np.asarray(best), converged and computed


def _by_runs(task: _Task, best: Array, resamples: int, rng: np.random.Generator) -> Array:
    runs = len(task.seen.runs)
    drawn = []
    for _ in range(resamples):
        times = rng.multinomial(runs, np.full(runs, 1 / runs)).astype(float)
        found, converged = task.search(times[task.seen.run], np.array([best]))
        if converged:
            drawn.append(found)
    return np.array(drawn).reshape(-1, len(best))


def _by_curvature(task: _Task, best: Array, resamples: int, rng: np.random.Generator) -> Array:
    step = 1e-4 * np.maximum(np.abs(best), 1e-3)
    slopes = [(task.model(best + move) - task.model(best - move)) / (2 * move.sum()) for move in np.diag(step)]
    jacobian = np.stack(slopes, axis=1) / task.error[:, None]
    distance = (task.model(best) - task.target) / task.error
    spread = max(1.0, float(distance @ distance) / max(len(distance) - len(best), 1))
    covariance = np.linalg.pinv(jacobian.T @ jacobian) * spread
    return np.clip(rng.multivariate_normal(best, covariance, size=resamples, method="eigh"), task.low, task.high)


def _doubts(task: _Task, best: Array, converged: bool, runs: int) -> str:
    if not converged:
        return "no start of the search came to an end; the values are where it stopped"
    reach = task.high - task.low
    for name, value, low, high, wide in zip(task.names, best, task.low, task.high, reach, strict=True):
        if math.isfinite(wide) and min(value - low, high - value) < 1e-6 * wide:
            return f"{name} ended at its bound; the points do not fix it"
    if runs < 3:
        return "fewer than three runs: the intervals do not hold how runs differ"
    return ""


def _intervals(names: tuple[str, ...], best: Array, draws: Array, level: float) -> dict[str, Interval]:
    tail = (1 - level) / 2
    if len(draws) < 10:
        return {name: Interval(float(value), math.nan, math.nan) for name, value in zip(names, best, strict=True)}
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
    return {
        name: Interval(float(value), float(min(first, value)), float(max(last, value)))
        for name, value, first, last in zip(names, best, low, high, strict=True)
    }
