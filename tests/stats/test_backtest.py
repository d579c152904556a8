"""Back-test: whether past forecasts came true; wrong, and a reader trusts intervals that never covered."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from onset.errors import OnsetError
from onset.stats.backtest import METHODS, backtest
from onset.stats.prediction.least_squares import logistic
from onset.stats.proxy_metrics import followers


def planted(sizes: int, seed: int = 0, checkpoints: int = 10) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frames = []
    for number, params in enumerate(1e8 * 3.0 ** np.arange(sizes)):
        tokens = np.geomspace(2e9, 2e11, checkpoints)
        loss = 1.7 + 406 / params**0.34 + 411 / tokens**0.28
        for task, truth in (("sets_in", 0.25 + 0.6 * np.clip(3.2 - loss, 0, None)), ("chance", 0.25 + 0 * loss)):
            frames.append(pd.DataFrame({
                "run": f"r{number}", "params": params, "tokens": tokens, "loss": loss, "task": task,
                "metric": "accuracy", "score": rng.binomial(2000, truth) / 2000, "chance": 0.25, "n_examples": 2000,
            }))  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def test_larger_sizes_are_foreseen_beside_two_baselines() -> None:
    """Lost: whether the forecast is better than what everybody does."""
    found = backtest(planted(5))
    table = found.summary().set_index("method")
    assert set(table.index) == set(METHODS)
    assert table.loc["score_from_loss", "coverage"] >= 0.85
    assert table.loc["score_from_loss", "error_pp"] < table.loc["logistic_in_compute", "error_pp"]
    assert set(found.refusals["task"]) == {"chance"}
    assert set(found.by_task()["task"]) == {"sets_in"}
    assert (found.predictions["params"] > 2e8).all()


def test_too_few_sizes_are_refused() -> None:
    """Lost: a back-test that tests nothing."""
    with pytest.raises(OnsetError, match="needs 3 sizes"):
        backtest(planted(2))


def test_the_logistic_baseline_finds_a_logistic_curve() -> None:
    """Lost: a baseline so poor that any forecast would beat it."""
    at = np.linspace(-3, 0, 40)
    score = 0.25 + 0.5 / (1 + np.exp(-4 * (at + 1)))
    found = logistic(at, score, np.array([0.5]), 0.25, True, 0.95)
    assert found[0][0] == pytest.approx(0.25 + 0.5 / (1 + np.exp(-6)), abs=0.01)


def test_the_soft_metric_that_the_hard_one_follows_stands_first() -> None:
    """Lost: which continuous metric to predict a task by."""
    rows = planted(5)
    hard = rows[rows["task"] == "sets_in"]
    rng = np.random.default_rng(3)
    close = 1.2 - 0.9 * (hard["score"] - 0.25) + 0.005 * rng.standard_normal(len(hard))
    far = 1.0 + 0.2 * rng.standard_normal(len(hard)) + 0.1 * hard["loss"]
    table = pd.concat([
        hard, hard.assign(metric="gold_bits_per_byte", score=close, chance=np.nan),
        hard.assign(metric="choice_log_loss", score=far, chance=np.nan),
    ], ignore_index=True)  # fmt: skip
    found = followers(table)
    assert found["soft"].tolist() == ["gold_bits_per_byte", "choice_log_loss"]
    assert found["error_pp"].iloc[0] < 4 < 2 * found["error_pp"].iloc[0] < found["error_pp"].iloc[1]
    assert found["rank_correlation"].iloc[0] > 0.9
    assert followers(hard).empty
