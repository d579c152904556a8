"""Back-test: what would have been forecast from the smaller sizes, against what the larger ones scored.

Rolling: the two smallest sizes foresee the third, the three smallest the fourth, and so on. Beside the
forecast stand two baselines: a logistic curve in loss and one in log compute, fitted by least squares with
the band that their residuals give. The baselines are what is commonly done, not straw men: same rows.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize, special

from onset.errors import OnsetError
from onset.results import Backtest
from onset.stats import loss_law as losslaw
from onset.stats.forecast import forecast
from onset.stats.headroom import chance_of, direction_of

Vector = NDArray[np.float64]

FEWEST = 2
"""Sizes to learn from, at least."""

METHODS = ("score_from_loss", "score_from_size", "logistic_in_loss", "logistic_in_compute")
"""The forecast given the loss, the forecast given size and tokens (both stages), and the two baselines."""


def backtest(obs: pd.DataFrame, *, level: float = 0.95, seed: int = 0) -> Backtest:
    """Fit on the smaller sizes, predict the next larger one, rolling, on every task of the table.

    Only tasks whose smaller sizes are beyond chance are forecast; the others are listed as refused. Raises
    OnsetError with fewer than three sizes.
    """
    sizes = np.sort(obs["params"].dropna().unique()) if "params" in obs else np.zeros(0)
    if len(sizes) < FEWEST + 1:
        raise OnsetError(
            f"a back-test needs {FEWEST + 1} sizes or more: smaller ones to learn from and a larger one to foresee",
            where=f"{len(sizes)} in the table",
        )
    predictions: list[pd.DataFrame] = []
    refusals: list[pd.DataFrame] = []
    for known in range(FEWEST, len(sizes)):
        learnt = obs[obs["params"] <= sizes[known - 1]]
        unseen = obs[obs["params"] == sizes[known]]
        for told in _round(learnt, unseen, level, seed):
            (refusals if "why" in told else predictions).append(told.assign(sizes_known=known))
    if not predictions:
        raise OnsetError("nothing could be forecast from the smaller sizes", where=_first_reason(refusals))
    empty = pd.DataFrame(columns=["task", "metric", "sizes_known", "why"])
    lost = pd.concat(refusals, ignore_index=True) if refusals else empty
    return Backtest(level=level, predictions=pd.concat(predictions, ignore_index=True), refusals=lost)


def _first_reason(refusals: list[pd.DataFrame]) -> str:
    return str(refusals[0]["why"].iloc[0]) if refusals else "no task has both smaller and larger sizes"


def _round(learnt: pd.DataFrame, unseen: pd.DataFrame, level: float, seed: int) -> Iterator[pd.DataFrame]:
    """Forecasts and baselines of every task for one larger size."""
    by_size = _reachable(learnt)
    for (task, metric), rows in unseen.groupby(["task", "metric"], sort=False):
        key = str(task), str(metric)
        before = learnt[(learnt["task"] == key[0]) & (learnt["metric"] == key[1])]
        if len(before) == 0:
            continue
        targets = rows[["loss", "params"]]
        methods = ["score_from_loss"]
        if by_size is not None:
            targets = pd.concat([targets, rows[["params", "tokens"]]])
            methods.append("score_from_size")
        found = forecast(before, targets, thresholds={}, level=level, seed=seed, law=by_size).scores
        refused = bool((found["verdict"] == "refused").any())
        if refused:
            yield pd.DataFrame([{"task": key[0], "metric": key[1], "why": found["why"].iloc[0]}])
            continue
        for place, method in enumerate(methods):
            part = found.iloc[place * len(rows) : (place + 1) * len(rows)]
            yield _told(rows, key, method, *(part[name].to_numpy(float) for name in ("score", "low", "high")))
        yield from _baselines(before, rows, key, level)


def _reachable(learnt: pd.DataFrame) -> losslaw.LossLaw | None:
    """The loss law of the smaller sizes, or None where they are too few for one."""
    try:
        return losslaw.fit(learnt, resamples=40)
    except OnsetError:
        return None


def _told(
    rows: pd.DataFrame, key: tuple[str, str], method: str, score: Vector, low: Vector, high: Vector
) -> pd.DataFrame:
    names = ["run", "params", "tokens", "loss"]
    frame = rows[[name for name in names if name in rows]].reset_index(drop=True)
    frame.insert(0, "task", key[0])
    frame.insert(1, "metric", key[1])
    frame.insert(2, "method", method)
    return frame.assign(seen=rows["score"].to_numpy(float), score=score, low=low, high=high)


def _baselines(before: pd.DataFrame, rows: pd.DataFrame, key: tuple[str, str], level: float) -> Iterator[pd.DataFrame]:
    floor = chance_of(before)
    for method, column in (("logistic_in_loss", _minus_loss), ("logistic_in_compute", _log_compute)):
        at, target = column(before), column(rows)
        if not (np.isfinite(at).all() and np.isfinite(target).all()):
            continue
        found = logistic(at, before["score"].to_numpy(float), target, floor, direction_of(before) == "higher", level)
        yield _told(rows, key, method, *found)


def _minus_loss(rows: pd.DataFrame) -> Vector:
    loss: Vector = -rows["loss"].to_numpy(float)
    return loss


def _log_compute(rows: pd.DataFrame) -> Vector:
    if "flops" in rows and rows["flops"].notna().all():
        flops: Vector = np.log(rows["flops"].to_numpy(float))
        return flops
    product: Vector = np.log(rows["params"].to_numpy(float)) + np.log(rows["tokens"].to_numpy(float))
    return product


def logistic(
    at: Vector, score: Vector, target: Vector, floor: float | None, rising: bool, level: float
) -> tuple[Vector, Vector, Vector]:
    """A logistic curve by least squares, and its residual band: predicted, low, high.

    ``floor`` is the chance level, or the least score seen where it is not known; the other end is free.
    """
    start = floor if floor is not None else (float(score.min()) if rising else float(score.max()))
    middle, width = float(at.mean()), float(np.ptp(at)) or 1.0

    def shape(steep: Vector | float, shift: Vector | float, place: Vector) -> Vector:
        value: Vector = special.expit((place - middle) / width * np.exp(steep) - shift)
        return value

    # For each steepness and shift the height is linear: the best of a grid is then polished.
    steeps, shifts = (grid.ravel()[:, None] for grid in np.meshgrid(np.linspace(-1, 5, 13), np.linspace(-6, 10, 17)))
    shapes = shape(steeps, shifts, at[None, :])
    heights = shapes @ (score - start) / np.maximum(np.sum(shapes**2, axis=1), 1e-12)
    misses = np.sum((score - start - heights[:, None] * shapes) ** 2, axis=1)
    first = int(misses.argmin())

    def miss(theta: Vector) -> Vector:
        off: Vector = start + theta[0] * shape(theta[1], theta[2], at) - score
        return off

    begin = [float(np.clip(heights[first], -9.9, 9.9)), float(steeps[first, 0]), float(shifts[first, 0])]
    found = optimize.least_squares(miss, begin, bounds=([-10.0, -4.0, -60.0], [10.0, 7.0, 60.0]), max_nfev=60)
    band = special.ndtri(0.5 + level / 2) * np.sqrt(2.0 * float(found.cost) / max(len(at) - 3, 1))
    predicted = start + found.x[0] * shape(found.x[1], found.x[2], target)
    return predicted, predicted - band, predicted + band
