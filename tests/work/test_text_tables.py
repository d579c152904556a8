"""What a terminal says of findings: a verdict stands beside the number that it was judged by."""

from __future__ import annotations

import io

from rich.console import Console

from onset.report import cells
from onset.results import Analysis, Finding, LossInterval, LossShift, SizeEffect
from onset.work.text_tables import findings_table

EFFECT = SizeEffect(
    verdict="equivalent", pp_per_decade=35.9, low=-10.7, high=82.6,
    along_loss=LossShift(nats_per_decade=0.01, low=-0.05, high=0.07, margin=0.1),
)  # fmt: skip


def finding(metric: str = "accuracy", loss_name: str = "c4", effect: SizeEffect | None = EFFECT) -> Finding:
    return Finding(
        task="t", metric=metric, loss_name=loss_name, verdict="emergent", why="", size_effect=effect,
        onset=LossInterval(loss=0.55, low=0.5, high=0.6), threshold=LossInterval(loss=0.5, low=0.4, high=0.6),
    )  # fmt: skip


def printed(*findings: Finding) -> str:
    out = io.StringIO()
    Console(file=out, width=200).print(findings_table(Analysis(findings=findings)))
    return out.getvalue()


def test_a_size_effect_stands_with_its_interval_its_shift_and_its_verdict() -> None:
    """Lost otherwise: 36 points that are 'equivalent' read as a mistake."""
    assert "35.9 [-10.7, 82.6] or +0.010 nats equivalent" in printed(finding())
    assert "35.9 [-10.7, 82.6] equivalent" in printed(finding(effect=EFFECT.with_changes(along_loss=None)))
    assert "equivalent" not in printed(finding(effect=None))


def test_onset_and_threshold_have_their_intervals() -> None:
    assert "0.55 [0.50, 0.60]" in printed(finding())
    assert "0.50 [0.40, 0.60]" in printed(finding())


def test_one_row_a_task_and_the_loss_measure_where_there_are_two() -> None:
    """Lost otherwise: two rows of one task that nobody can tell apart."""
    assert "brier" not in printed(finding(), finding("brier"))
    assert "c4" not in printed(finding())
    two = printed(finding(), finding(loss_name="pile"))
    assert "c4" in two
    assert "pile" in two


def test_the_page_says_it_too() -> None:
    assert cells.size_effect(EFFECT.with_changes(along_loss=None)).note == "−10.7 to 82.6"
    assert cells.size_effect(EFFECT).note.split("\n") == ["−10.7 to 82.6", "curve +0.01 nats, −0.05 to 0.07"]
