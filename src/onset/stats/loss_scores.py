"""How well each loss axis foresees a family that was left out, and whether one axis is better than another.

On each axis a monotone curve of score on loss is fitted to all families but one and foresees the one left out. The
error is the mean squared one as a share of the scores' own variance, so that 1 minus it is an R² and the noise of the
items, the same on every axis, drops out of a difference. Differences are paired: the same runs on both axes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from onset.metrics import info as scales
from onset.stats.predictors import monotone

Axis = tuple[str, str]
"""Name and unit of a loss."""
Vector = NDArray[np.float64]

ENOUGH_GROUPS = 5
"""From so many families on they are the sample, and an interval is about families like these. With fewer it is their
runs, and an interval is about these very families."""
SIGNAL = 0.5
"""Least share of a score's variance over checkpoints that is not the noise of its items."""
BEYOND = 3.0
"""Standard errors by which a score's best tenth must be beyond chance."""


@dataclass(frozen=True)
class Difference:
    """By how much the R² of one axis exceeds that of another."""

    value: float
    low: float
    high: float
    sample: str
    """What was resampled in mind: 'families' or 'runs'."""
    wins: int
    """Groups on which the first axis is the better one."""


@dataclass(frozen=True)
class Foresight:
    """What one axis foresees of groups that were left out."""

    r2: float
    error_points: float
    """Mean absolute error, hundredths of the score."""
    by_run: pd.DataFrame
    """``group, run, unexplained``: squared error over the scores' variance, averaged over the run's scores."""
    by_task: Mapping[str, float]
    """R² task by task: a task in one language may go by another loss than its neighbour."""

    @property
    def by_group(self) -> pd.Series[float]:
        """Unexplained share of each group, its runs counting equally."""
        return self.by_run.groupby("group", sort=True)["unexplained"].mean()


def worth(scores: pd.DataFrame) -> list[tuple[str, str]]:
    """The (task, metric) pairs that can tell axes apart, found without looking at any loss.

    Metrics of a bounded range only (a gold answer's bits per byte is a loss itself), whose scores vary by more than
    the noise of their items and whose best tenth is beyond chance.
    """
    found = []
    for (task, metric), rows in scores.groupby(["task", "metric"], sort=True):
        if np.isfinite(scales.bounds(str(metric))).all() and _has_signal(rows):
            found.append((str(task), str(metric)))
    return found


def _has_signal(rows: pd.DataFrame) -> bool:
    score = rows["score"].to_numpy(float)
    if len(score) < 6 or np.ptp(score) <= 0:
        return False
    count = pd.to_numeric(rows["n_examples"], errors="coerce").to_numpy(float)
    share = np.clip(score, 0.0, 1.0)
    noise = np.nanmean(share * (1 - share) / count) if np.isfinite(count).any() else 1e-4
    if score.var() * (1 - SIGNAL) < noise:
        return False
    chance = rows["chance"].to_numpy(float)
    if not np.isfinite(chance).any():
        return True
    gain = (score - np.nanmean(chance)) * (-1 if (rows["direction"] == "lower").all() else 1)
    best = np.sort(gain)[-max(1, len(gain) // 10) :]
    return bool(best.mean() > BEYOND * np.sqrt(noise / len(best)))


def foresight(placed: pd.DataFrame, pairs: list[tuple[str, str]], group: str) -> Foresight | None:
    """What one axis foresees; None where no score has two groups.

    ``placed`` has ``run, task, metric, direction, score, loss`` and the column that ``group`` names.
    """
    parts = []
    wanted = set(pairs)
    for pair, rows in placed.groupby(["task", "metric"], sort=True):
        variance = float(rows["score"].var(ddof=0))
        if pair not in wanted or rows[group].nunique() < 2 or variance <= 0:
            continue
        error = rows["score"].to_numpy(float) - _left_out(rows, group)
        parts.append(
            pd.DataFrame(
                {
                    "group": rows[group].astype(str), "run": rows["run"].astype(str), "task": pair[0],
                    "metric": pair[1], "unexplained": error**2 / variance, "points": 100 * np.abs(error),
                }
            )
        )  # fmt: skip
    if not parts:
        return None
    # Several metrics of a task are one task, several tasks of a run one run: each level is averaged in its turn.
    means = pd.concat(parts).groupby(["group", "run", "task", "metric"], sort=True)[["unexplained", "points"]].mean()
    by_run = means.groupby(["group", "run", "task"]).mean().groupby(["group", "run"]).mean().reset_index()
    over = by_run.groupby("group")[["unexplained", "points"]].mean().mean()
    tasks = means["unexplained"].groupby(["task", "group", "run"]).mean().groupby(["task", "group"]).mean()
    return Foresight(
        1.0 - float(over["unexplained"]), float(over["points"]), by_run[["group", "run", "unexplained"]],
        {str(task): 1.0 - float(value) for task, value in tasks.groupby("task").mean().items()},
    )  # fmt: skip


def _left_out(rows: pd.DataFrame, group: str) -> Vector:
    """Scores as the other groups' monotone curve foresees them."""
    loss, score = rows["loss"].to_numpy(float), rows["score"].to_numpy(float)
    falling = not bool((rows["direction"] == "lower").all())
    groups = rows[group].to_numpy()
    guess = np.empty(len(score))
    for name in pd.unique(groups):
        out = groups == name
        guess[out] = monotone(loss[~out], score[~out], increasing=not falling)(loss[out])
    return guess


def difference(one: Foresight, other: Foresight, level: float) -> Difference | None:
    """R² of ``one`` less that of ``other`` with its interval; None where neither groups nor runs can give one."""
    pairs = one.by_run.merge(other.by_run, on=["group", "run"], suffixes=("", "_other"))
    gain = (pairs["unexplained_other"] - pairs["unexplained"]).groupby(pairs["group"], sort=True)
    means, counts = gain.mean().to_numpy(float), gain.size().to_numpy(float)
    value, groups, wins = float(means.mean()), len(means), int((means > 0).sum())
    if groups >= ENOUGH_GROUPS:
        spread, freedom, sample = float(means.std(ddof=1)) / np.sqrt(groups), groups - 1.0, "families"
    elif counts.sum() > groups:
        freedom, sample = float(counts.sum() - groups), "runs"
        within = gain.var(ddof=0).to_numpy(float) @ counts / freedom  # pooled: a group may have one run only
        spread = float(np.sqrt(within * np.sum(1 / counts))) / groups
    else:
        return None
    reach = float(stats.t.ppf(0.5 + level / 2, freedom)) * spread
    return Difference(value, value - reach, value + reach, sample, wins)


def against_best(found: Mapping[Axis, Foresight], level: float) -> tuple[Axis, dict[Axis, Difference | None]]:
    """The axis with the highest R², and by how much it exceeds each other.

    The intervals hold all at once (Bonferroni over the rivals): the best of many was picked to look best.
    """
    best = max(found, key=lambda axis: found[axis].r2)
    rivals = [axis for axis in found if axis != best]
    together = 1 - (1 - level) / max(len(rivals), 1)
    return best, {axis: difference(found[best], found[axis], together) for axis in rivals}
