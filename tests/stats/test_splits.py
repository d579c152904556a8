"""Splits of one task: two verdicts on one ability must be read together."""

from __future__ import annotations

import pytest

from onset.results import Finding, Verdict
from onset.stats.splits import base_task, disagreeing_splits


@pytest.mark.parametrize(
    ("task", "base"),
    [("mmlu_val", "mmlu"), ("mmlu-test", "mmlu"), ("piqa:validation", "piqa"), ("arc_test_easy", "arc_easy"),
     ("contest", "contest"), ("latest_news", "latest_news"), ("validity", "validity")],
)  # fmt: skip
def test_a_split_is_a_word_of_its_own_in_a_name(task: str, base: str) -> None:
    assert base_task(task) == base


def finding(task: str, verdict: Verdict, loss_name: str = "c4") -> Finding:
    return Finding(task=task, metric="accuracy", loss_name=loss_name, verdict=verdict, why="")


def test_splits_with_different_verdicts_are_told_together() -> None:
    """Lost: whichever split suits, cited alone."""
    made = [finding("mmlu_val", "emergent"), finding("mmlu_test", "smooth"), finding("piqa_val", "smooth")]
    (note,) = disagreeing_splits([*made, finding("piqa_test", "smooth")])
    assert "mmlu_val emergent, mmlu_test smooth" in note
    assert disagreeing_splits([finding("a_val", "emergent"), finding("a_test", "smooth", "pile")]) == []
