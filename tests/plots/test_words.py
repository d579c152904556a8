"""What a page says in words: a reader would be misled where these fail."""

from __future__ import annotations

import pytest

from onset.metrics import info as scales
from onset.plots import words
from onset.plots.sentences import sentence
from onset.results import EffectVerdict, Finding, LossInterval, SizeEffect, Width

SEEN = words.Seen(1.47, 0.82)


def emergent() -> Finding:
    return Finding(
        task="world_exam_en", metric="accuracy", loss_name="world", direction="higher", chance=0.25, n_points=40,
        n_runs=4, spearman=-0.9, pearson=-0.7, verdict="emergent", why="A threshold is supported.",
        threshold=LossInterval(loss=0.841, low=0.83, high=0.85),
        size_effect=SizeEffect(verdict="equivalent", pp_per_decade=0.1, low=-0.4, high=0.6),
    )  # fmt: skip


def test_an_emergent_finding_is_told_as_a_paper_would() -> None:
    assert sentence(emergent(), SEEN) == (
        "On world_exam_en, accuracy is at or below chance (0.25) at losses above 0.841 nats/token "
        "(95 % interval 0.830 to 0.850) and rises below it; at equal loss ten times the parameters change it by "
        "+0.1 pp [−0.4, 0.6], which is equivalent to none (within ±1 pp)."
    )


def test_onset_loss_and_width_are_told_with_their_intervals() -> None:
    """Lost: the estimand that every curve above chance has, threshold or not."""
    finding = emergent().with_changes(
        onset=LossInterval(loss=0.86, low=0.85, high=0.87), width=Width(nats=0.04, low=0.02, high=0.07)
    )
    told = sentence(finding, SEEN)
    assert (
        "it exceeds chance by 2 pp at a loss of 0.860 [0.850, 0.870], with an onset width of 0.04 [0.02, 0.07]" in told
    )


def test_a_score_where_lower_is_better_falls_after_its_threshold() -> None:
    finding = emergent().with_changes(metric="brier", direction="lower", chance=0.75)
    told = sentence(finding, SEEN)
    assert "and falls below it" in told
    assert "at chance or worse (0.75)" in told


def test_a_task_at_chance_is_given_no_threshold_and_no_promise() -> None:
    finding = emergent().with_changes(verdict="at_chance", threshold=None, size_effect=None)
    told = sentence(finding, SEEN)
    assert "is not shown to exceed chance (0.25) at any loss seen (1.47 to 0.82 nats/token)" in told
    assert told.endswith("what lower losses would bring is not known.")
    assert "0.84" not in told


@pytest.mark.parametrize("verdict", ["smooth", "inconclusive"])
def test_without_a_threshold_the_reason_is_told_and_no_threshold(verdict: str) -> None:
    finding = emergent().with_changes(verdict=verdict, threshold=None, why="No threshold is supported.")
    told = sentence(finding, SEEN)
    assert told.endswith("No threshold is supported.")
    assert "at losses above" not in told


@pytest.mark.parametrize(
    ("verdict", "part"),
    [
        ("equivalent", "equivalent to none (within ±2 pp)"),
        ("differs", "differs from none by more than 2 pp"),
        ("inconclusive", "inconclusive against a margin of 2 pp"),
    ],
)
def test_a_size_effect_is_told_by_its_verdict(verdict: EffectVerdict, part: str) -> None:
    effect = SizeEffect(verdict=verdict, pp_per_decade=3.0, low=1.0, high=5.0, margin=2.0)
    assert part in sentence(emergent().with_changes(size_effect=effect), SEEN)


def test_a_size_effect_that_was_not_estimated_is_not_told() -> None:
    effect = SizeEffect(verdict="inconclusive")
    assert "ten times" not in sentence(emergent().with_changes(size_effect=effect), SEEN)


def test_a_score_without_known_chance_has_no_chance_level_made_up() -> None:
    assert "chance (" not in sentence(emergent().with_changes(chance=None), SEEN)


def test_one_of_several_losses_is_named() -> None:
    assert "On world_exam_en and the loss 'world', " in sentence(emergent(), SEEN, name_loss=True)


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
    assert words.losses(LossInterval(loss=2.70123, low=2.4, high=3.1)) == ("2.70", "2.40", "3.10")
    assert words.losses(LossInterval(loss=0.84123, low=0.8391, high=0.8432)) == ("0.841", "0.839", "0.843")


def test_known_tasks_have_titles_and_unknown_ones_keep_their_names() -> None:
    assert words.title("world_exam_zh").text == "Exam · Chinese"
    assert words.title("mmlu").text == "MMLU"
    assert words.title("my_task.v2").text == "my_task.v2"


def test_the_headline_is_the_published_kind_of_metric() -> None:
    assert scales.headline(["brier", "accuracy", "correct_choice_prob"]) == "accuracy"
    assert scales.headline(["gold_bits_per_byte", "exact_match"]) == "exact_match"
    assert scales.headline(["wer", "brier"]) == "brier"
