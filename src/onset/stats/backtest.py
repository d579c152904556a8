"""Back-test: what would have been forecast from the smaller sizes, against what the larger ones scored.

Rolling: the two smallest sizes predict the third, the three smallest the fourth, and so on. Beside the
forecast stand two baselines: a logistic curve in loss and one in log compute, fitted by least squares with
the band that their residuals give. The baselines are what is commonly done, not straw men: same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from onset.errors import OnsetError
from onset.results import Backtest, check_level
from onset.stats import loss_law as losslaw
from onset.stats.data import curve_data
from onset.stats.forecast import forecast
from onset.stats.parallel import Workers, cores
from onset.stats.prediction.least_squares import logistic
from onset.stats.proxy_metrics import followers

Vector = NDArray[np.float64]

FEWEST = 2
"""Sizes to learn from, at least."""

MOST_FOLDS = 5
"""Sizes that are predicted, at most."""

MOST_CHECKPOINTS = 5
"""Checkpoints of a run that are predicted, at most."""

WORTH_PROCESSES = 2000
"""With fewer rows than this, starting processes costs more than it saves."""

METHODS = ("score_from_loss", "score_from_size", "logistic_in_loss", "logistic_in_compute")
"""The forecast given the loss, the forecast given size and tokens (both stages), and the two baselines."""


def backtest(
    obs: pd.DataFrame,
    *,
    level: float = 0.95,
    seed: int = 0,
    most_folds: int = MOST_FOLDS,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Backtest:
    """Fit on the smaller sizes, predict the next larger one, rolling, on every task and loss measure of the table.

    Of more than ``most_folds`` sizes to predict, the largest and others spread evenly below it are taken. Only tasks
    whose smaller sizes are above chance are predicted; the others are listed as refused. ``jobs`` is the number of
    processes (by default one a core), ``progress`` is told of each fold. Raises OnsetError with fewer than three sizes.
    """
    check_level(level)
    folds = [
        _Fold(rows, sizes, int(known), level, seed)
        for rows in _measures(obs)
        for sizes in (_sizes(rows),)
        for known in _spread(len(sizes), most_folds)
    ]
    if not folds:
        raise OnsetError(
            f"a back-test needs {FEWEST + 1} sizes or more: smaller ones to learn from and a larger one to predict",
            where=f"{len(_sizes(obs))} in the table",
        )
    done = [0]

    def step() -> None:
        done[0] += 1
        if progress is not None:
            progress(done[0], len(folds))

    processes = min(jobs or cores(), len(folds)) if len(obs) > WORTH_PROCESSES else 1
    with Workers(processes) as workers:
        rounds = workers.map(_folded, folds, done=step)
    told = [one for parts in rounds for one in parts]
    predictions = [one for one in told if "why" not in one]
    refusals = [one for one in told if "why" in one]
    if not predictions:
        raise OnsetError("nothing could be predicted from the smaller sizes", where=_first_reason(refusals))
    empty = pd.DataFrame(columns=["task", "metric", "sizes_known", "why"])
    lost = pd.concat(refusals, ignore_index=True) if refusals else empty
    return Backtest(
        level=level, predictions=pd.concat(predictions, ignore_index=True), refusals=lost, followers=followers(obs)
    )


@dataclass(frozen=True)
class _Fold:
    """One size to predict, on one loss measure."""

    rows: pd.DataFrame
    sizes: Vector
    known: int
    level: float
    seed: int


def _measures(obs: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows of each loss measure."""
    names = [name for name in ("loss_name", "loss_unit") if name in obs]
    return [rows for _, rows in obs.groupby(names, sort=False, dropna=False)] if names else [obs]


def _sizes(obs: pd.DataFrame) -> Vector:
    return np.sort(obs["params"].dropna().unique()) if "params" in obs else np.zeros(0)


def _spread(sizes: int, most: int) -> NDArray[np.int64]:
    """How many sizes are known in each fold: all from ``FEWEST``, or ``most`` spread evenly, the last among them."""
    known = np.arange(FEWEST, sizes)
    if len(known) <= most:
        return known
    return np.asarray(known[np.unique(np.linspace(0, len(known) - 1, most).round().astype(int))])


def _folded(fold: _Fold) -> list[pd.DataFrame]:
    smaller = fold.rows[fold.rows["params"] <= fold.sizes[fold.known - 1]]
    unseen = fold.rows[fold.rows["params"] == fold.sizes[fold.known]]
    return [told.assign(sizes_known=fold.known) for told in _round(smaller, unseen, fold.level, fold.seed)]


def _first_reason(refusals: list[pd.DataFrame]) -> str:
    return str(refusals[0]["why"].iloc[0]) if refusals else "no task has both smaller and larger sizes"


def _round(learnt: pd.DataFrame, unseen: pd.DataFrame, level: float, seed: int) -> Iterator[pd.DataFrame]:
    """Forecasts and baselines of every task for one larger size."""
    keys = ["task", "metric"]
    both = learnt[keys].drop_duplicates().merge(unseen[keys].drop_duplicates())
    if both.empty:
        return
    learnt, unseen = learnt.merge(both), _few(unseen.merge(both)).assign(target=lambda rows: np.arange(len(rows)))
    by_size = _reachable(learnt)
    names = [*(name for name in ("run", "family", "n_examples") if name in unseen), *keys, "params", "target"]
    asked = {"score_from_loss": unseen[[*names, "loss"]]}
    if by_size is not None:
        asked["score_from_size"] = unseen[[*names, "tokens"]]
    found = {
        method: forecast(learnt, targets, thresholds={}, level=level, seed=seed, law=by_size)
        .scores.set_index("target")
        .loc[unseen["target"]]
        for method, targets in asked.items()
    }
    for (task, metric), rows in unseen.groupby(keys, sort=False):
        key, at = (str(task), str(metric)), rows["target"].to_numpy()
        first = found["score_from_loss"].iloc[at]
        if (first["verdict"] == "refused").any():
            yield pd.DataFrame([{"task": key[0], "metric": key[1], "why": first["why"].iloc[0]}])
            continue
        for method, scores in found.items():
            values = (scores[name].iloc[at].to_numpy(float) for name in ("score", "low", "high"))
            yield _told(rows, key, method, *values)
        before = learnt[(learnt["task"] == task) & (learnt["metric"] == metric)]
        yield from _baselines(before, rows, key, level)


def _few(rows: pd.DataFrame) -> pd.DataFrame:
    """At most ``MOST_CHECKPOINTS`` of each run and task, spread evenly over its losses, the lowest among them."""
    ordered = rows.sort_values("loss", kind="stable")
    groups = ordered.groupby(["run", "task", "metric"], sort=False)["loss"]
    rank, count = groups.cumcount().to_numpy(), groups.transform("size").to_numpy()
    every = np.maximum(np.ceil(count / MOST_CHECKPOINTS), 1.0)
    kept: pd.DataFrame = ordered[rank % every == 0].sort_index()
    return kept


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
    frame = rows[[name for name in [*names, "loss_name", "loss_unit"] if name in rows]].reset_index(drop=True)
    frame.insert(0, "task", key[0])
    frame.insert(1, "metric", key[1])
    frame.insert(2, "method", method)
    return frame.assign(seen=rows["score"].to_numpy(float), score=score, low=low, high=high)


def _baselines(before: pd.DataFrame, rows: pd.DataFrame, key: tuple[str, str], level: float) -> Iterator[pd.DataFrame]:
    data = curve_data(before)
    for method, column in (("logistic_in_loss", _minus_loss), ("logistic_in_compute", _log_compute)):
        at, target = column(before), column(rows)
        if not (np.isfinite(at).all() and np.isfinite(target).all()):
            continue
        found = logistic(
            at, before["score"].to_numpy(float), target, data.chance.value, data.direction == "higher", level
        )
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
