"""Scores are placed at losses exactly, or between near neighbours, and never beyond."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from onset.adapters import join
from onset.errors import OnsetError


def frame(run: str, steps: list[float], tokens: list[float] | None = None, **more: object) -> pd.DataFrame:
    nothing = [np.nan] * len(steps)
    made = pd.DataFrame({"run": run, "step": steps, "tokens": nothing if tokens is None else tokens, "params": np.nan})
    return made.assign(**more)


def losses(steps: list[float], values: list[float], *, run: str = "a", training: bool = False) -> pd.DataFrame:
    return frame(
        run, steps, [step * 1000 for step in steps], loss=values, loss_name="v", loss_unit="nats/token"
    ).assign(training=training)


def test_between_neighbours_and_not_across_a_gap() -> None:
    """A score would be placed at a loss that nobody measured."""
    curve = losses([100, 200, 800], [4.0, 3.0, 2.0])
    scores = frame("a", [50, 100, 100 * 2**0.5, 400, 900])
    joined = join.join(scores, curve)
    assert joined.frame.step.tolist() == [100, 100 * 2**0.5]
    np.testing.assert_allclose(joined.frame.loss, [4.0, 3.5])
    assert joined.frame.tokens.tolist() == [100_000, 141_421]
    assert joined.notes == (
        "losses interpolated between neighbours at most a factor 2 apart: 1 checkpoints (1 exact)",
        "scores that have no loss and are left out: 3 "
        "(1 checkpoints between losses that are further apart; 2 outside their run's losses)",
    )
    assert len(join.join(scores, curve, gap=4).frame) == 3


def test_the_median_of_training_losses_around_the_checkpoint_stands_for_it() -> None:
    """The loss of one batch is noise around the loss of the model, and a spike of a few batches is none of it."""
    steps = [float(step) for step in range(9000, 11001)]
    noise = np.random.default_rng(0).normal(0, 0.1, len(steps))
    noise[1000:1020] += 8.0
    joined = join.join(frame("a", [10000.0]), losses(steps, list(3 + noise), training=True))
    assert joined.frame.loss.iloc[0] == pytest.approx(3, abs=0.03)
    assert "medians" in joined.notes[0]


def test_two_losses_of_one_checkpoint_are_refused() -> None:
    with pytest.raises(OnsetError, match="two losses 'v' at step 100"):
        join.join(frame("a", [100]), losses([100, 100], [3.0, 3.1]))


def test_runs_are_matched_by_name_only() -> None:
    """Two runs would be one because no third was there."""
    found = join.match_runs(["lab/OLMo-1B ", "opt_125m", "x"], ["olmo-1b", "OPT-125m", "y"])
    assert found == {"lab/OLMo-1B ": "olmo-1b", "opt_125m": "OPT-125m"}
    with pytest.raises(OnsetError, match="no checkpoint of b has a loss") as caught:
        join.join(frame("b", [100]), losses([100], [3.0]))
    assert "--rename" in str(caught.value)
    assert join.match_runs(["model"], ["x/model", "y/model"]) == {}


def test_the_size_that_the_losses_give_is_taken() -> None:
    joined = join.join(frame("a", [100]), losses([100], [3.0]).assign(params=5e6, corpus="c4"))
    assert joined.frame.params.tolist() == [5e6]
    assert joined.frame.corpus.tolist() == ["c4"]
