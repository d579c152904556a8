"""The drawn curve: a reader compares it with the points, so it must go through them everywhere."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from onset.stats.threshold import threshold


def means_by_third(residuals: pd.DataFrame) -> list[float]:
    """Mean residual in each third of the losses seen."""
    third = pd.cut(residuals["loss"], 3, labels=False)
    return [float(one) for one in residuals.groupby(third)["residual"].mean()]


def table(loss: np.ndarray, score: np.ndarray, runs: int, items: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame({
        "run": np.repeat([f"run-{index}" for index in range(runs)], len(loss)), "loss": np.tile(loss, runs),
        "score": rng.binomial(items, np.tile(score, runs)) / items, "chance": 0.36, "n_examples": items,
        "metric": "accuracy",
    })  # fmt: skip


def test_a_leap_at_the_very_end_leaves_the_rest_where_it_is() -> None:
    """Near the leap all models answer the same lucky items; the curve drawn at high losses must not be lifted by it."""
    loss = np.r_[np.linspace(2.0, 0.56, 14), np.linspace(0.515, 0.495, 6), np.linspace(0.488, 0.48, 4)]
    score = np.select([loss < 0.49, loss < 0.52], [0.36 + 0.5 * (0.49 - loss) / 0.01 + 0.07, 0.43], 0.36)
    seen = table(loss, score, 4, 200, 3)
    found = threshold(seen)
    assert found.residuals is not None
    assert max(np.abs(means_by_third(found.residuals))) < 0.015
    assert found.predict([1.5])["score"].iloc[0] == pytest.approx(seen.loc[seen["loss"] > 1, "score"].mean(), abs=0.012)


@pytest.mark.parametrize("kind", ["straight", "smooth", "chance"])
def test_no_third_of_the_losses_is_missed(kind: str) -> None:
    """A curve that lies above the points in one part and below them in another has a mean residual of zero, too."""
    loss = np.linspace(4, 1.7, 25)
    ability = {
        "straight": 0.5 * np.clip((2.6 - loss) / 0.9, 0, 1), "smooth": 0.5 / (1 + np.exp((loss - 2.4) / 0.3)),
        "chance": 0 * loss,
    }[kind]  # fmt: skip
    found = threshold(table(loss, 0.37 + ability, 4, 1000, 4))
    assert found.residuals is not None
    assert max(np.abs(means_by_third(found.residuals))) < 0.008


def test_families_are_drawn_between() -> None:
    """Two families with offsets where the ability is there: the curve runs through their mean, weighed by rows."""
    loss = np.linspace(4, 1.7, 25)
    ability = 0.5 * np.clip((2.6 - loss) / 0.9, 0, 1)
    low, high = (table(loss, 0.36 + ability * share, 2, 2000, 5) for share in (0.92, 1.08))
    seen = pd.concat([low.assign(family="a"), high.assign(family="b", run="other-" + high["run"])])
    found = threshold(seen)
    assert found.residuals is not None
    assert max(np.abs(means_by_third(found.residuals))) < 0.008
