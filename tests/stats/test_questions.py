"""A verdict without its number of questions, or on questions that were asked otherwise than meant, misleads."""

from __future__ import annotations

import pandas as pd

from onset.results import Finding
from onset.stats.questions import with_questions


def test_the_number_of_questions_and_what_befell_them_stand_beside_a_verdict() -> None:
    """Lost otherwise: a model of a small context is asked 0-shot, and judged as on the 8-shot task."""
    findings = [
        Finding(task=task, metric="accuracy", loss_name="c4", verdict="smooth", why="because")
        for task in ("gsm8k", "piqa")
    ]
    rows = pd.DataFrame({
        "task": ["gsm8k", "gsm8k", "piqa"], "metric": "accuracy", "loss_name": "c4", "n_examples": [40, 38, None],
    })  # fmt: skip
    notes = [
        "gsm8k: asked 0-shot instead of 8-shot: all prompts were cut to fit the context (10 of 10 checkpoints)",
        "piqa: losses interpolated between neighbours", "no task at all",
    ]  # fmt: skip
    gsm8k, piqa = with_questions(findings, rows, notes)
    assert (gsm8k.n_examples, piqa.n_examples) == (38, None)
    assert gsm8k.asked.startswith("asked 0-shot instead of 8-shot: all prompts")
    assert piqa.asked == "", "a loss may have the name of a task"
