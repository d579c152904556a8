"""Splits of one task (validation, test) that get different verdicts: a reader must see both."""

from __future__ import annotations

import re
from collections.abc import Sequence

from onset.results import Finding

SPLIT = re.compile(r"(?:^|[_\-:./ ])(train|val|valid|validation|dev|test|heldout)(?=$|[_\-:./ ])", re.IGNORECASE)
"""The name of a split within a task's name."""


def base_task(task: str) -> str:
    """The task without the name of its split; the task itself where it names none."""
    return re.sub(r"[_\-:./ ]+", "_", SPLIT.sub("", task)).strip("_") if SPLIT.search(task) else task


def disagreeing_splits(findings: Sequence[Finding]) -> list[str]:
    """One note for each task, metric and loss measure whose splits have different verdicts."""
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((base_task(finding.task), finding.metric, finding.loss_name), []).append(finding)
    notes = []
    for (_, metric, _), group in groups.items():
        if len({finding.verdict for finding in group}) > 1:
            told = ", ".join(f"{finding.task} {finding.verdict.replace('_', ' ')}" for finding in group)
            notes.append(f"splits of one task have different verdicts under {metric}: {told}; neither stands alone")
    return notes
