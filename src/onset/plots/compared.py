"""The frame behind the picture of loss measures side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from onset.metrics import info as scales
from onset.plots import words
from onset.results import Analysis, LossMeasure, LossName

AXES_SHOWN = 4
TASKS_SHOWN = 4
POINTS_SHOWN = 1500
"""Of axes and tasks side by side, at most; numbers are of all."""


def on_axes(analysis: Analysis) -> pd.DataFrame:
    """The same scores on each of a few loss measures: ``axis, label, task, family, run, loss, score``.

    Of measures: the best and the default, then the others by rank; drawn in the order of their rank. Of tasks: those
    whose scores vary most. Empty where none were compared.
    """
    columns = ["axis", "label", "task", "family", "run", "loss", "score"]
    if analysis.placed is None or analysis.placed.empty:
        return pd.DataFrame(columns=columns)
    placed, entries = analysis.placed, analysis.loss_measures
    default = analysis.loss_choice.default if analysis.loss_choice else None
    metric = placed.groupby("task")["metric"].agg(lambda names: scales.headline(sorted(set(names))))
    placed = placed[placed["metric"] == placed["task"].map(metric)]
    spread = placed.groupby("task")["score"].std().sort_values(ascending=False)
    tasks = sorted(spread.index[:TASKS_SHOWN], key=lambda task: words.title(str(task)).rank)
    made = []
    for entry in _shown(entries, default):
        rows = placed[(placed["loss_name"] == entry.loss_name) & (placed["loss_unit"] == entry.loss_unit)]
        for task in tasks:
            of_task = rows[rows["task"] == task]
            of_task = of_task.iloc[:: max(1, math.ceil(len(of_task) / POINTS_SHOWN))]
            axis, label = f"{entry.loss_name} ({entry.loss_unit})", words.title(str(task)).text
            made.append(of_task.assign(axis=axis, label=label)[columns])
    frame = pd.concat(made, ignore_index=True)
    ordered: pd.DataFrame = frame.astype({"family": "str", "run": "str", "loss": float, "score": float}).sort_values(
        "label", key=lambda labels: labels.map({label: at for at, label in enumerate(dict.fromkeys(labels))}),
        kind="stable", ignore_index=True,
    )  # fmt: skip
    return ordered


def _shown(entries: Sequence[LossMeasure], default: LossName | None) -> list[LossMeasure]:
    """The measures to draw, of all by rank: the first ones, and the default wherever it stands."""
    own = [
        entry
        for entry in entries
        if default is not None and (entry.loss_name, entry.loss_unit) == (default.loss_name, default.loss_unit)
    ]
    kept = own + [entry for entry in entries if entry not in own][: AXES_SHOWN - len(own)]
    return [entry for entry in entries if entry in kept]
