"""Which question of a study is learnt when, from its item rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from onset.errors import OnsetError
from onset.results import Analysis, Questions
from onset.stats.items.order import TaskAnswers, questions
from onset.stats.items.smallest_set import smallest_set
from onset.tables.items import answers


def learnt(source: Path, analysis: Analysis, *, smallest: bool = False, seed: int = 0) -> Questions | None:
    """When each question of a study's folder is learnt; None for a table, and where no task has enough checkpoints.

    On the analysis' first loss measure. ``smallest`` also looks for the fewest questions that keep each verdict.
    """
    if not (source / "runs").is_dir() or not analysis.findings:
        return None
    name, unit = analysis.findings[0].loss_name, analysis.findings[0].loss_unit
    seen = analysis.observations[analysis.observations["loss_name"] == name]
    findings = {(one.task, one.metric): one for one in analysis.findings if one.loss_name == name}
    onsets = {task: one.onset.loss for (task, _), one in findings.items() if one.onset}
    kept: list[TaskAnswers] = []

    def tasks() -> Iterator[TaskAnswers]:
        for one in _placed(source, seen):
            if smallest and (one.task, one.metric) in findings:
                kept.append(one)
            yield one

    try:
        found = questions(tasks(), loss_name=name, loss_unit=unit, level=analysis.level, seed=seed, onsets=onsets)
    except OnsetError:
        return None
    sets = [smallest_set(one, findings[one.task, one.metric], seen[seen["task"] == one.task]) for one in kept]
    return found.with_changes(smallest=pd.DataFrame(sets)) if sets else found


def _placed(source: Path, seen: pd.DataFrame) -> Iterator[TaskAnswers]:
    """The answers of each task with the loss and chance of their checkpoints."""
    for task, metric, rows in answers(source):
        here = seen[(seen["task"] == task) & (seen["metric"] == metric)]
        if here.empty:
            continue
        places = here[["run", "step", "loss"]].drop_duplicates(["run", "step"])
        known = here["chance"].dropna()
        yield TaskAnswers(task, metric, float(known.mean()) if len(known) else 0.0, rows.merge(places))
