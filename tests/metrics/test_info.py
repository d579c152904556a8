"""Lost without these: one answer to what a metric's name says, whoever asks."""

from __future__ import annotations

import math

import pytest

from onset.metrics import info as metrics

SAME = {
    "accuracy": ("acc", "acc,none", "ACC", "acc_raw"),
    "exact_match": ("em", "exact_match:strict-match", "exact_match,flexible-extract", "exact_match,none"),
    "pass": ("pass@1", "pass@100", "pass_at_1"),
    "accuracy_per_byte": ("acc_norm", "acc_norm,none", "acc_per_char"),
    "f1": ("f1,none", "F1"),
    "bleu": ("bleu", "BLEU", "bleu,none"),
}


@pytest.mark.parametrize(("name", "published"), [(name, one) for name, many in SAME.items() for one in many])
def test_a_published_name_has_the_properties_of_the_metric(name: str, published: str) -> None:
    """Lost: GSM8K of lm-eval, whose exact match is called by its filter, judged as an unknown metric."""
    assert metrics.canonical(published) == name
    for field in ("direction", "low", "high", "continuous", "error", "chance"):
        assert getattr(metrics.info(published), field) == getattr(metrics.REGISTRY[name], field)


@pytest.mark.parametrize(
    "name",
    ["accuracy_per_byte", "accuracy_unconditional", "pass@1", "f1", "mc1", "acc_norm", "exact_match:strict-match",
     "exact_match:flexible-extract", "care_accuracy", "bleu", "rougeL", "win_rate"],
)  # fmt: skip
def test_metrics_of_one_answer_are_discontinuous(name: str) -> None:
    """Lost: a threshold under accuracy "confirmed" by another accuracy of the same answers."""
    assert metrics.info(name).continuous is False
    assert metrics.is_share(name)


@pytest.mark.parametrize(
    "name", ["brier", "correct_choice_prob", "choice_log_loss", "gold_bits_per_byte", "mc2", "word_perplexity", "nll"]
)
def test_metrics_of_probabilities_are_continuous(name: str) -> None:
    """Lost: the metrics that can tell whether a jump is the metric's own."""
    assert metrics.info(name).continuous is True


def test_ranges_and_directions() -> None:
    """Lost: a score outside of its range that nobody refuses, or a loss that is read as an accuracy."""
    assert metrics.bounds("brier_score") == (0.0, 2.0)
    assert metrics.bounds("ppl") == (1.0, math.inf)
    assert metrics.bounds("acc,none") == (0.0, 1.0)
    assert metrics.bounds("log_likelihood_of_gold") == (-math.inf, math.inf)
    assert metrics.bounds("centered_accuracy")[0] == -math.inf
    assert metrics.direction("answer_ce") == "lower"
    assert metrics.direction("cross_entropy_loss") == "lower"
    assert metrics.direction("avg_logprob") == "higher"
    assert metrics.direction("whatever") is None
    assert metrics.info("whatever").continuous is None


def test_binary_items_err_binomially() -> None:
    """Lost: the number of items, which says how far a score can be trusted, ignored by a metric's name."""
    for name in ("accuracy", "acc,none", "exact_match:strict-match", "pass@1", "mc1"):
        assert metrics.info(name).error == "binomial"
    assert metrics.info("f1").error == "bounded"
    assert metrics.info("ppl").error == "unknown"


def test_the_headline_is_the_published_discontinuous_metric() -> None:
    """Lost: a table of tasks by bits per byte where exact match was measured as well."""
    names = ["exact_match:flexible-extract", "gold_bits_per_byte", "exact_match:strict-match"]
    assert metrics.headline(names) == "exact_match:strict-match"
    assert metrics.headline(["acc_norm", "acc", "brier"]) == "acc"
    assert metrics.headline(["gold_bits_per_byte", "f1"]) == "f1"
    assert metrics.headline(["brier", "care_accuracy"]) == "care_accuracy"
    assert metrics.headline(["whatever", "brier"]) == "brier"
    assert sorted(["gold_bits_per_byte", "brier", "accuracy"], key=metrics.rank)[0] == "accuracy"


def test_labels_keep_names_that_say_more() -> None:
    """Lost: two curves of one task with the same label."""
    assert metrics.label("acc") == "Accuracy"
    assert metrics.label("acc,none") == "Accuracy"
    assert metrics.label("exact_match:strict-match") == "exact_match:strict-match"
    assert metrics.label("my_metric") == "my_metric"
