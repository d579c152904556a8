"""The questions that ``limit`` takes where it is chosen by information: the first ranks of results/items.parquet."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from onset.errors import OnsetError
from onset.tables.files import read_table
from onset.tasks.task import Task

NEEDED = ("task", "item", "rank")


def with_most_informative(task: Task, ranked: Path, limit: int | None) -> Task:
    """The task with the ``limit`` questions that tell most about its onset, by a table that ``onset analyze`` wrote.

    Raises OnsetError without a limit, and where the table does not rank this task's questions.
    """
    if limit is None:
        raise OnsetError(
            "questions chosen by information need a number of them", where=f"task '{task.name}'", advice="give a limit"
        )
    known = {item.id for item in task.items()}
    chosen = [item for item in _ranks(ranked, task.name) if item in known][:limit]
    if len(chosen) < min(limit, len(known)):
        raise OnsetError(
            f"the table ranks {len(chosen)} of the questions of task '{task.name}', and {limit} are asked for",
            where=ranked,
            advice="rank them with 'onset analyze' of a study of ten checkpoints or more, or give a smaller limit",
        )
    return task.with_only(chosen)


def _ranks(ranked: Path, task: str) -> Iterable[str]:
    """Items of a task, the most informative first; a task asked in two forms is that of its name."""
    table = read_table(ranked)
    if missing := [name for name in NEEDED if name not in table]:
        raise OnsetError(
            f"the table has no column '{missing[0]}'", where=ranked, advice="give results/items.parquet of a study"
        )
    rows = table[(table["task"].astype(str).str.partition("@")[0] == task) & table["rank"].notna()]
    ordered = rows.assign(rank=pd.to_numeric(rows["rank"])).sort_values("rank", kind="stable")
    return list(dict.fromkeys(ordered["item"].astype(str)))
