"""The frame behind the picture of loss axes side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from onset.analysis.findings import Analysis
from onset.report import words

AXES_SHOWN = 4
TASKS_SHOWN = 6
POINTS_SHOWN = 1500
"""Of axes and tasks side by side, at most; numbers are of all."""


def on_axes(analysis: Analysis) -> pd.DataFrame:
    """The same scores on each of a few loss axes: ``axis, label, task, family, run, loss, score``.

    Of axes: the best, the default, then others of the best one's text and others still. Of tasks: those whose scores
    vary most. Empty where no axes were compared.
    """
    columns = ["axis", "label", "task", "family", "run", "loss", "score"]
    if analysis.placed is None or analysis.placed.empty:
        return pd.DataFrame(columns=columns)
    placed, entries = analysis.placed, list(analysis.extra.get("axes", ()))
    metric = placed.groupby("task")["metric"].agg(lambda names: words.headline(sorted(set(names))))
    placed = placed[placed["metric"] == placed["task"].map(metric)]
    spread = placed.groupby("task")["score"].std().sort_values(ascending=False)
    tasks = sorted(spread.index[:TASKS_SHOWN], key=lambda task: words.title(str(task)).rank)
    default = (analysis.extra.get("axis_choice") or {}).get("default") or {}

    def importance(entry: Mapping[str, object]) -> int:
        if entry["best"] or (entry["loss_name"], entry["loss_unit"]) == tuple(default.values()):
            return 0
        return 1 if entry["loss_name"] == entries[0]["loss_name"] else 2

    made = []
    for entry in sorted(entries, key=importance)[:AXES_SHOWN]:
        rows = placed[(placed["loss_name"] == entry["loss_name"]) & (placed["loss_unit"] == entry["loss_unit"])]
        for task in tasks:
            of_task = rows[rows["task"] == task]
            of_task = of_task.iloc[:: max(1, math.ceil(len(of_task) / POINTS_SHOWN))]
            axis, label = f"{entry['loss_name']} ({entry['loss_unit']})", words.title(str(task)).text
            made.append(of_task.assign(axis=axis, label=label)[columns])
    frame = pd.concat(made, ignore_index=True)
    ordered: pd.DataFrame = frame.astype({"family": "str", "run": "str", "loss": float, "score": float}).sort_values(
        "label", key=lambda labels: labels.map({label: at for at, label in enumerate(dict.fromkeys(labels))}),
        kind="stable", ignore_index=True,
    )  # fmt: skip
    return ordered
