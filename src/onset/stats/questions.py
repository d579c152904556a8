"""What is to be read beside a verdict: on how many questions it rests, and whether they were asked as meant."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

from onset.results import Finding

_OF_QUESTIONS = re.compile(r"asked \d|\d+ prompts lost|\d+ questions |not asked: ")
"""How a note on a task's questions goes on after its name."""


def with_questions(findings: Sequence[Finding], rows: pd.DataFrame, notes: Sequence[str]) -> tuple[Finding, ...]:
    """The findings with ``n_examples`` from the rows, and ``asked`` from the notes of a study on its task.

    A study's notes on how a task was asked begin with its name and a colon (``store.coverage.notes``).
    """
    counts = rows.dropna(subset=["n_examples"]).groupby(["task", "metric", "loss_name"]).n_examples.min()
    told: dict[str, list[str]] = {}
    for note in notes:
        task, _, rest = note.partition(": ")
        if _OF_QUESTIONS.match(rest):
            told.setdefault(task, []).append(rest)
    return tuple(
        finding.model_copy(update={
            "n_examples": int(counts[finding.key]) if finding.key in counts.index else None,
            "asked": "; ".join(told.get(finding.task, [])),
        })
        for finding in findings
    )  # fmt: skip
