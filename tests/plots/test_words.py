"""What a page says in words: a reader would be misled where these fail."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onset.metrics import info as scales
from onset.plots import words
from onset.stats.findings import Finding, SizeEffect
from onset.stats.result import Interval

SEEN = words.Seen(1.47, 0.82)


def emergent() -> Finding:
    return Finding(
        task="world_exam_en", metric="accuracy", loss_name="world", direction="higher", chance=0.25, n_points=40,
        n_runs=4, spearman=-0.9, pearson=-0.7, verdict="emergent", why="A turn is supported.",
        threshold=Interval(0.841, 0.83, 0.85), collapse=SizeEffect("collapses", 0.1, -0.4, 0.6, 1.0),
    )  # fmt: skip


def test_an_emergent_finding_is_told_as_a_paper_would() -> None:
    assert words.sentence(emergent(), SEEN) == (
        "On world_exam_en, accuracy stays at chance (0.25) until the loss falls to 0.841 nats/token "
        "(95 % interval 0.830 to 0.850), then rises; at equal loss ten times the parameters move it by +0.1 points "
        "[−0.4, 0.6], within the margin of 1 point."
    )


def test_a_score_where_lower_is_better_falls_after_its_threshold() -> None:
    finding = replace(emergent(), metric="brier", direction="lower", chance=0.75)
    assert "then falls" in words.sentence(finding, SEEN)


def test_a_task_at_chance_is_given_no_threshold_and_no_promise() -> None:
    finding = replace(emergent(), verdict="at_chance", threshold=None, collapse=None)
    told = words.sentence(finding, SEEN)
    assert "is not shown to leave chance (0.25) at any loss seen (1.47 to 0.82 nats/token)" in told
    assert told.endswith("what lower losses would bring is not known.")
    assert "0.84" not in told


@pytest.mark.parametrize("verdict", ["smooth", "unresolved"])
def test_without_a_threshold_the_reason_is_told_and_no_threshold(verdict: str) -> None:
    finding = replace(emergent(), verdict=verdict, threshold=None, why="No turn is supported.")  # type: ignore[arg-type]
    told = words.sentence(finding, SEEN)
    assert told.endswith("No turn is supported.")
    assert "until" not in told


@pytest.mark.parametrize(
    ("verdict", "part"),
    [
        ("collapses", "within the margin of 2 points"),
        ("size_matters", "beyond the margin of 2 points"),
        ("unresolved", "cannot be told whether size matters by more than 2 points"),
    ],
)
def test_size_is_said_to_matter_only_as_far_as_its_verdict_says(verdict: str, part: str) -> None:
    effect = SizeEffect(verdict, 3.0, 1.0, 5.0, 2.0)  # type: ignore[arg-type]
    assert part in words.sentence(replace(emergent(), collapse=effect), SEEN)


def test_a_size_effect_that_was_not_estimated_is_not_told() -> None:
    effect = SizeEffect("unresolved", float("nan"), float("nan"), float("nan"), 1.0)
    assert "ten times" not in words.sentence(replace(emergent(), collapse=effect), SEEN)


def test_a_score_without_known_chance_has_no_chance_level_made_up() -> None:
    assert "chance (" not in words.sentence(replace(emergent(), chance=None), SEEN)


def test_one_of_several_losses_is_named() -> None:
    assert "On world_exam_en and the loss 'world', " in words.sentence(emergent(), SEEN, name_loss=True)


@pytest.mark.parametrize(
    ("value", "text"),
    [(158_000, "158 k"), (1.5e9, "1.5 B"), (999_999_999, "1 B"), (12, "12"), (2.5e12, "2.5 T"), (float("nan"), "")],
)
def test_counts_read_as_people_say_them(value: float, text: str) -> None:
    assert words.count(value) == text


def test_numbers_keep_their_sign_and_zero_has_none() -> None:
    assert words.number(-0.25) == "−0.25"
    assert words.number(0.25, sign=True) == "+0.25"
    assert words.number(-0.001) == "0.00"
    assert words.number(None) == ""


def test_a_threshold_shows_the_decimals_that_its_interval_deserves() -> None:
    assert words.losses(Interval(2.70123, 2.4, 3.1)) == ("2.70", "2.40", "3.10")
    assert words.losses(Interval(0.84123, 0.8391, 0.8432)) == ("0.841", "0.839", "0.843")


def test_known_tasks_have_titles_and_unknown_ones_keep_their_names() -> None:
    assert words.title("world_exam_zh").text == "Exam · Chinese"
    assert words.title("mmlu").text == "MMLU"
    assert words.title("my_task.v2").text == "my_task.v2"


def test_the_headline_is_the_published_kind_of_metric() -> None:
    assert scales.headline(["brier", "accuracy", "correct_choice_prob"]) == "accuracy"
    assert scales.headline(["gold_bits_per_byte", "exact_match"]) == "exact_match"
    assert scales.headline(["wer", "brier"]) == "brier"
