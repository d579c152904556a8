"""Predictors: the paper's Figure 1 against Figure 6 as numbers; wrong, and loss looks no better than compute."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from onset.stats.predictors import predictors


def family(sizes: int = 4, direction: float = 1.0) -> pd.DataFrame:
    """Scores that depend on loss alone."""
    rows = []
    for number in range(sizes):
        tokens = np.geomspace(1e9, 1e11, 12)
        params = 1e8 * 4**number
        loss = 1.7 + 400.0 / params**0.34 + 410.0 / tokens**0.28
        rows.append(pd.DataFrame({"run": f"r{number}", "params": params, "tokens": tokens, "loss": loss}))
    frame = pd.concat(rows, ignore_index=True)
    return frame.assign(score=direction * (5.0 - frame["loss"]) / 10, task="t", metric="accuracy")


@pytest.mark.parametrize("direction", [1.0, -1.0])
def test_loss_foresees_a_left_out_size_and_compute_does_not(direction: float) -> None:
    """Lost: the paper's main contrast, also for metrics where lower is better."""
    found = predictors(family(direction=direction))
    assert found["loss"]["r2_held_out"] is not None
    assert found["flops"]["r2_held_out"] is not None
    assert found["loss"]["r2_held_out"] > 0.95
    assert found["loss"]["r2_held_out"] > found["flops"]["r2_held_out"] + 0.02
    assert found["loss"]["error_pp"] < found["flops"]["error_pp"]


def test_too_few_sizes_say_nothing() -> None:
    """Lost: a number would be shown where no size could be left out."""
    assert predictors(family(sizes=1))["loss"] == {"r2_held_out": None, "error_pp": None}
    two = predictors(family(sizes=2))
    assert two["params"]["r2_held_out"] is None
    assert two["loss"]["r2_held_out"] is not None


def test_a_missing_column_is_missing_not_zero() -> None:
    """Lost: a table without tokens would be told that tokens foresee nothing."""
    found = predictors(family().assign(tokens=np.nan))
    assert found["tokens"]["r2_held_out"] is None
    assert found["flops"]["r2_held_out"] is None
    assert found["loss"]["r2_held_out"] is not None


def test_gemstones_loss_beats_compute_for_a_left_out_shape() -> None:
    """Lost: a published result that this tool must be able to tell."""
    shared = os.environ.get("ONSET_SHARED")
    if not shared:
        pytest.skip("ONSET_SHARED is not set")
    table = pd.read_csv(Path(shared) / "data" / "results" / "gemstones.csv.gz")
    table = table[(table["metric"] == "acc") & (table["task"] != "mmlu")]
    for _, rows in table.groupby("task"):
        found = predictors(rows)
        assert (found["loss"]["r2_held_out"] or 0.0) > (found["flops"]["r2_held_out"] or 1.0)


def test_a_constant_score_has_no_r2() -> None:
    """Lost: 0/0, shown as a perfect prediction of a score that never changes."""
    rows = pd.DataFrame(
        {"params": [1e6] * 5 + [1e7] * 5, "tokens": range(1, 11), "loss": [3.0 - 0.1 * i for i in range(10)],
         "score": [0.1 + 0.2 + 0.025] * 5 + [0.325] * 5}
    )  # fmt: skip
    assert all(value["r2_held_out"] is None for value in predictors(rows).values())
