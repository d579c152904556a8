"""Turn: whether a jump is the model's or the metric's; wrong, and an artefact is published as an ability."""

from __future__ import annotations

from typing import Any

import pytest

from onset.errors import OnsetError
from onset.results import Finding, LossInterval, Verdict
from onset.stats.metric_comparison import compare_task


def finding(metric: str, verdict: Verdict, chance: float | None = 0.25, **changes: Any) -> Finding:
    values: dict[str, Any] = {
        "task": "exam", "metric": metric, "loss_name": "c4", "direction": "higher", "chance": chance, "n_points": 40,
        "n_runs": 3, "spearman": -0.9, "pearson": -0.9, "verdict": verdict, "why": "",
        "threshold": LossInterval(loss=2.2, low=2.1, high=2.3) if verdict == "emergent" else None,
    }  # fmt: skip
    return Finding(**{**values, **changes})


def test_a_turn_under_continuous_metrics_too_is_the_models() -> None:
    """Lost: the paper's fourth claim."""
    found = compare_task([finding("accuracy", "emergent"), finding("correct_choice_prob", "emergent"),
                  finding("brier", "emergent", 0.75), finding("gold_bits_per_byte", "smooth", None)])  # fmt: skip
    assert found.verdict == "model"
    assert "accuracy has a threshold at 2.20 [2.10, 2.30]" in found.why


def test_a_jump_over_a_smooth_improvement_is_the_metrics() -> None:
    """Lost: Schaeffer's warning; accuracy's jump would pass for an ability that sets in."""
    found = compare_task([finding("exact_match", "emergent", 0.0), finding("correct_choice_prob", "smooth")])
    assert found.verdict == "metric"
    assert found.sentence == "absent under continuous metrics"


def test_a_fall_without_known_chance_is_no_ability() -> None:
    """Lost: a Brier score that falls from 1.5 to 0.75, or bits per byte, would be read as an ability."""
    found = compare_task([finding("accuracy", "emergent"), finding("brier", "smooth", None)])
    assert found.verdict == "inconclusive"


@pytest.mark.parametrize(
    "findings",
    [
        [finding("accuracy", "emergent")],
        [finding("brier", "emergent")],
        [finding("accuracy", "smooth"), finding("brier", "smooth")],
        [finding("accuracy", "emergent"), finding("brier", "at_chance")],
        [finding("accuracy", "emergent"), finding("brier", "smooth"), finding("correct_choice_prob", "emergent")],
    ],
)
def test_without_agreement_it_cannot_tell(findings: list[Finding]) -> None:
    """Lost: a verdict where the metrics are missing, silent or disagree."""
    assert compare_task(findings).verdict == "inconclusive"


def test_two_tasks_are_refused() -> None:
    """Lost: one task's accuracy judged by another's Brier score."""
    with pytest.raises(OnsetError, match="one task"):
        compare_task([finding("accuracy", "emergent"), finding("brier", "emergent", task="other")])


@pytest.mark.parametrize("other", ["accuracy_per_byte", "accuracy_unconditional", "pass@1", "f1", "mc1", "acc_norm"])
def test_another_discontinuous_metric_confirms_nothing(other: str) -> None:
    """Lost: two accuracies of the same answers taken for evidence that the metric does not make the threshold."""
    made = compare_task([finding("accuracy", "emergent"), finding(other, "emergent")])
    assert made.verdict == "inconclusive"
    assert "a continuous metric" in made.why


def test_exact_match_under_its_published_name_is_a_discontinuous_metric() -> None:
    """Lost: GSM8K as the harness names it, said not to be measured by exact match at all."""
    made = compare_task([finding("exact_match:strict-match", "emergent"), finding("gold_bits_per_byte", "emergent")])
    assert made.verdict == "model"
