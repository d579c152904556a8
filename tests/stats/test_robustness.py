"""Guards: without them a turn that the choice of items made, or one run, is reported as an ability."""

from __future__ import annotations

import numpy as np
import pandas as pd

from onset.stats.marginal_likelihood import Solver, Weighed, weigh
from onset.stats.point_noise import Noise
from onset.stats.points import points
from onset.stats.robustness import complaint


def weighed(gain: float, *, items: int, share: float, runs: str = "abc") -> Weighed:
    """Runs of twenty checkpoints on the same items, at chance above a loss of 3 and better by ``gain`` below."""
    loss = np.tile(np.linspace(4.0, 2.0, 20), len(runs))
    table = pd.DataFrame({
        "run": np.repeat(list(runs), 20), "loss": loss, "score": 0.25 + gain * (loss < 3.0), "chance": 0.25,
        "n_examples": items, "task": "planted", "metric": "accuracy",
    })  # fmt: skip
    seen = points(table)
    return Weighed(Solver(seen, Noise(share=share), np.zeros(len(seen.loss))), ())


def test_an_error_that_all_checkpoints_share_does_not_average_out() -> None:
    """Lost: thirty checkpoints that repeat one answer key's luck would count as thirty witnesses."""
    # 1.5 standard errors of one score: far from chance if independent, nothing if all are one draw of items.
    luck = 1.5 * np.sqrt(0.25 * 0.75 / 400)
    trouble = complaint(weighed(luck, items=400, share=0.02), 3.0, 2.9)
    assert trouble is not None
    assert "choice of the items" in trouble


def test_what_the_evidence_has_weighed_already_is_not_taken_back() -> None:
    """Lost: real abilities that the evidence, items and all, has shown would be hidden by a second, stricter look."""
    error = np.sqrt(0.25 * 0.75 / 400)
    assert complaint(weighed(2.4 * error, items=400, share=0.02, runs="a"), 3.0, 2.9) is None
    assert complaint(weighed(1.9 * error, items=400, share=0.02, runs="a"), 3.0, 2.9) is not None


def test_an_ability_well_beyond_the_items_error_passes() -> None:
    """Lost: the guard would hide real abilities."""
    seen = weighed(0.15, items=400, share=0.02).solver.points
    assert complaint(weigh(seen, np.random.default_rng(0)), 3.0, 2.9) is None


def test_one_checkpoint_alone_is_named() -> None:
    """Lost: a single lucky checkpoint would be an ability."""
    found = weighed(0.0, items=400, share=1.0)
    found.solver.points.ability[-1] = 0.3
    trouble = complaint(found, 3.0, 2.9)
    assert trouble is not None
    assert "one checkpoint alone" in trouble
