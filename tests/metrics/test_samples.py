"""Metrics of sampled answers: a biased pass@k would make an ability appear with the number of samples alone."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from onset.errors import OnsetError
from onset.metrics import info
from onset.metrics.measures import check_samples, item_values, lookup, measure


def rows(*lists: list[bool] | None) -> pd.DataFrame:
    """Item rows of free answers with the given samples."""
    return pd.DataFrame({
        "run": "r", "step": 0, "task": "t", "digest": "d", "item": [f"i{n}" for n in range(len(lists))], "choice": 0,
        "gold": True, "logprob": -1.0, "bytes": 4, "correct": False, "samples_correct": list(lists),
    })  # fmt: skip


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_pass_at_k_is_the_share_of_all_draws_of_k_samples_that_hold_a_right_one(k: int) -> None:
    """Lost otherwise: the estimator of Chen et al. 2021; the naive 1 - (1 - c/n)^k is biased downwards."""
    for right in range(6):
        samples = [True] * right + [False] * (5 - right)
        exact = np.mean([any(draw) for draw in combinations(samples, k)])
        assert measure(rows(samples), [f"pass@{k}"]).score[0] == pytest.approx(exact, abs=1e-12)


def test_items_with_too_few_samples_are_left_out_and_coverage_is_of_those_that_were_sampled() -> None:
    """Lost otherwise: an item that was not sampled counted as failed."""
    frame = rows([True, False, False], [False, False, False], [False], None)
    found = measure(frame).set_index("metric")
    assert found.score["pass@1"] == pytest.approx(1 / 9)
    assert (found.n_examples["coverage"], found.left_out["coverage"]) == (3, 1)
    assert found.score["coverage"] == pytest.approx(1 / 3)
    two = measure(frame, ["pass@2"])
    assert (two.n_examples[0], two.left_out[0]) == (2, 2)
    assert item_values(frame, "pass@2").value.round(6).tolist()[:2] == [0.666667, 0.0]


def test_pass_at_k_is_known_by_name_and_the_chance_of_one_sample_is_that_of_the_best_constant_answer() -> None:
    """Lost otherwise: the direction and the chance level of a sampled task."""
    assert info.info("pass@16").direction == "higher"
    assert lookup("pass@16").name == "pass@16"
    with pytest.raises(OnsetError, match="no metric"):
        lookup("pass@0")
    found = measure(rows([True, False]), ["pass@1", "pass@2"], constant_answer={"t": 0.1}).set_index("metric")
    assert found.chance["pass@1"] == 0.1
    assert np.isnan(found.chance["pass@2"]), "k guesses may differ: not known"


def test_a_pass_at_k_of_more_samples_than_are_drawn_is_refused_before_a_model_is_asked() -> None:
    """Lost otherwise: hours of sampling, and a metric that has no row."""
    check_samples(["pass@8", "accuracy"], 8)
    with pytest.raises(OnsetError, match="pass@9 needs 9 samples"):
        check_samples(["pass@9"], 8)


def test_rows_without_samples_have_no_metric_of_samples() -> None:
    """Lost otherwise: a column of zeros beside every free answer."""
    assert set(measure(rows(None, None)).metric) == {"exact_match", "gold_bits_per_byte"}
