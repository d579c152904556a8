"""What else a table has of a task that is at chance everywhere: tuned checkpoints, continuous metrics, easier parts."""

from __future__ import annotations

import numpy as np
import pandas as pd

from onset.errors import OnsetError
from onset.metrics.info import info
from onset.stats.data import CurveData, curve_data
from onset.stats.prediction.predicted_score import refusal

STAGES = ("stage", "tuned", "tuning", "training_stage")
"""Columns that tell tuned checkpoints from others."""
MOST_PARTS = 3


def alternatives(obs: pd.DataFrame, task: str, metric: str) -> str:
    """A sentence on what of the same task can be predicted all the same; empty where the table has nothing.

    ``obs`` are the rows of one loss measure.
    """
    here = obs[obs["task"] == task] if "task" in obs else obs
    told = [*_tuned(here, metric), *_soft(here, metric), *_parts(obs, task, metric)]
    return "" if not told else "; the table has what would show more: " + "; ".join(told)


def _tuned(rows: pd.DataFrame, metric: str) -> list[str]:
    """Stages of training (tuned, say) whose checkpoints are above chance by themselves."""
    of_metric = rows[rows["metric"] == metric] if "metric" in rows else rows
    found = []
    for column in (name for name in STAGES if name in rows and rows[name].nunique() > 1):
        for level, part in of_metric.groupby(column, sort=False):
            if (data := _predictable(part)) is not None:
                found.append(f"checkpoints with {column} '{level}' score {_best(data)}")
    return found


def _soft(rows: pd.DataFrame, metric: str) -> list[str]:
    """Continuous metrics of the same items that can be predicted."""
    if "metric" not in rows:
        return []
    found = []
    for name, part in rows.groupby("metric", sort=False):
        if name != metric and info(str(name)).continuous and (data := _predictable(part)) is not None:
            ends = data.score[np.argsort(-data.loss)][[0, -1]]
            found.append(f"{name} goes from {ends[0]:.3g} to {ends[1]:.3g} and can be predicted")
    return found


def _parts(obs: pd.DataFrame, task: str, metric: str) -> list[str]:
    """Parts of the task (names that begin with its own) that are above chance, the clearest first."""
    if not {"task", "metric"} <= set(obs):
        return []
    names = [name for name in obs["task"].unique() if str(name) != task and str(name).startswith(task)]
    known = {
        str(name): data
        for name in names
        if (data := _predictable(obs[(obs["task"] == name) & (obs["metric"] == metric)])) is not None
    }
    clearest = sorted(known, key=lambda name: -float(known[name].ability.max()))
    return [f"its part {name} scores {_best(known[name])}" for name in clearest[:MOST_PARTS]]


def _predictable(rows: pd.DataFrame) -> CurveData | None:
    if rows.empty:
        return None
    try:
        data = curve_data(rows)
    except OnsetError:
        return None
    return None if refusal(data) else data


def _best(data: CurveData) -> str:
    """The score at the lowest losses, beside chance."""
    lowest = np.argsort(data.loss)[: max(2, len(data) // 10)]
    chance = "" if data.chance.value is None else f" (chance {data.chance.value:.3g})"
    return f"{float(np.mean(data.score[lowest])):.3g} at a loss of {float(data.loss.min()):.3g}{chance}"
