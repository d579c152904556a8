"""What an analyst may choose freely must not choose the verdict: unit, scale, name, order, seed, early checkpoints."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onset.results import Threshold
from onset.stats.threshold import threshold

CLAIMS = {"emergent", "smooth", "at_chance"}
few = settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def planted(kind: str, highest: float = 3.6, seed: int = 0) -> pd.DataFrame:
    """Four runs of twenty checkpoints: an onset at 2.6, its rounded brother, or an exponential."""
    rng = np.random.default_rng(seed)
    loss = np.concatenate([np.linspace(highest, 2.0 + shift, 20) for shift in (0.0, 0.03, 0.06, 0.09)])
    ability = {
        "hinge": 0.6 * np.maximum(2.6 - loss, 0),
        "softplus": 0.6 * 0.06 * np.logaddexp(0, (2.6 - loss) / 0.06),
        "exponential": 0.5 * np.exp(-(loss - 2.0) / 0.15),
    }[kind]
    return pd.DataFrame({
        "run": np.repeat(list("abcd"), 20), "loss": loss, "score": rng.binomial(2000, 0.25 + ability) / 2000,
        "chance": 0.25, "n_examples": 2000.0, "task": "t", "metric": "accuracy",
    })  # fmt: skip


def with_early(table: pd.DataFrame, highest: float, seed: int = 1) -> pd.DataFrame:
    """The table and twelve more checkpoints a run at chance, between a loss of 4.2 and ``highest``."""
    rng = np.random.default_rng(seed)
    loss = np.tile(np.linspace(highest, 4.2, 12), 4)
    early = pd.DataFrame({
        "run": np.repeat(list("abcd"), 12), "loss": loss, "score": rng.binomial(2000, 0.25, 48) / 2000,
        "chance": 0.25, "n_examples": 2000.0, "task": "t", "metric": "accuracy",
    })  # fmt: skip
    return pd.concat([early, table], ignore_index=True)


def assert_same(first: Threshold, second: Threshold, factor: float = 1.0) -> None:
    """Verdicts equal, and onset losses up to the unit."""
    assert first.verdict == second.verdict
    for name in ("onset", "threshold"):
        one, other = getattr(first, name), getattr(second, name)
        assert (one is None) == (other is None)
        if one is not None:
            for part in ("loss", "low", "high"):
                assert getattr(other, part) == pytest.approx(factor * getattr(one, part), rel=1e-3)


@pytest.mark.parametrize("kind", ["hinge", "softplus", "exponential"])
@few
@given(highest=st.floats(4.5, 12.0), seed=st.integers(0, 5))
def test_early_checkpoints_at_chance_change_nothing(kind: str, highest: float, seed: int) -> None:
    """Whoever logs more early checkpoints would find more emergence."""
    table = planted(kind, seed=seed)
    plain, more = threshold(table), threshold(with_early(table, highest))
    assert plain.onset is not None
    assert more.onset is not None
    assert plain.verdict == more.verdict or not {plain.verdict, more.verdict} <= CLAIMS
    width = plain.onset.high - plain.onset.low
    assert abs(more.onset.low - plain.onset.low) <= 0.1 * width
    assert abs(more.onset.high - plain.onset.high) <= 0.1 * width


@few
@given(factor=st.floats(0.2, 5.0), kind=st.sampled_from(["hinge", "exponential"]))
def test_the_unit_of_the_loss_changes_nothing(factor: float, kind: str) -> None:
    """Bits per byte and nats per token are one loss in two units."""
    table = planted(kind)
    assert_same(threshold(table), threshold(table.assign(loss=factor * table["loss"])), factor)


def test_the_scale_of_the_score_changes_nothing() -> None:
    """Percent and shares are one score; BLEU runs from 0 to 100."""
    table = planted("hinge")
    percent = table.assign(score=100 * table["score"], chance=25.0)
    assert_same(threshold(table), threshold(percent))
    assert_same(threshold(percent), threshold(percent.assign(metric="bleu")))


@pytest.mark.parametrize("metric", ["acc", "acc,none", "exact_match:strict-match", "pass@1", "accuracy_per_byte"])
def test_the_name_of_the_metric_changes_nothing(metric: str) -> None:
    """Harnesses name one accuracy in many ways."""
    table = planted("hinge")
    assert_same(threshold(table), threshold(table.assign(metric=metric)))


@few
@given(seed=st.integers(0, 1000))
def test_the_order_of_rows_changes_nothing(seed: int) -> None:
    """A table sorted otherwise is the same table."""
    table = planted("softplus")
    assert_same(threshold(table), threshold(table.sample(frac=1, random_state=seed)))


@few
@given(seed=st.integers(1, 1000), kind=st.sampled_from(["hinge", "exponential", "softplus"]))
def test_the_seed_changes_no_claim(seed: int, kind: str) -> None:
    """Who runs the analysis again with another seed must read the same."""
    table = planted(kind)
    first, second = threshold(table), threshold(table, seed=seed)
    assert first.verdict == second.verdict
    assert first.log_bayes_factor is not None
    assert second.log_bayes_factor is not None
    assert first.log_bayes_factor.threshold == pytest.approx(second.log_bayes_factor.threshold, abs=0.4)
