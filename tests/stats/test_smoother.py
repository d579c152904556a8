"""Smooth: the curve under collapse and forecast; wrong, and every interval above it is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from onset.stats import series
from onset.stats import smoother as smooth
from onset.stats.mixture import Mixture


def table(items: int = 2000, checkpoints: int = 15, seed: int = 0) -> pd.DataFrame:
    """Three runs on one straight curve: 100 points a nat from loss 3 down to 2.5."""
    rng = np.random.default_rng(seed)
    frames = []
    for run in range(3):
        loss = np.linspace(3.0 - 0.02 * run, 2.5, checkpoints)
        seen = rng.binomial(items, 0.2 + (3.0 - loss)) / items
        tokens = np.linspace(1e9, 1e10, checkpoints)
        frames.append(pd.DataFrame({"run": f"r{run}", "loss": loss, "score": seen, "tokens": tokens}))
    return pd.concat(frames, ignore_index=True).assign(metric="accuracy", n_examples=items)


def test_the_curve_and_its_slope_are_found() -> None:
    """Lost: points a nat, which turn an error of loss into one of score."""
    model = smooth.fit(series.points(table()))
    means, deviations, slope = model.at(np.array([2.8]))
    assert model.scale_weights @ means == pytest.approx(40.0, abs=1.5)
    assert slope[0] == pytest.approx(-100.0, rel=0.1)
    assert (deviations < 2.0).all()


def test_the_band_widens_beyond_the_losses_seen() -> None:
    """Lost: a forecast far away would look as sure as one at hand."""
    model = smooth.fit(series.points(table()))
    _, deviations, _ = model.at(np.array([2.5, 2.4, 2.3, 2.1]))
    spread = model.scale_weights @ deviations
    assert list(spread) == sorted(spread)
    assert spread[-1] > 3 * spread[0]


def test_large_tables_are_averaged_within_runs_and_say_the_same() -> None:
    """Lost: a table of 300,000 rows would not end, or would mix runs."""
    rows = series.points(table(checkpoints=400))
    assert len(rows) <= series.MAX_ROWS
    assert rows.weight.sum() == pytest.approx(1200)
    means, _, _ = smooth.fit(rows).at(np.array([2.8]))
    assert float(np.mean(means)) == pytest.approx(40.0, abs=1.5)


def test_a_perfect_score_keeps_some_noise() -> None:
    """Lost: rows at a ceiling would weigh without end."""
    frame = table().assign(score=1.0)
    variance = series.item_variance(frame)
    assert (variance > 0).all()
    assert np.isnan(series.item_variance(frame.drop(columns="n_examples"))).all()


def test_able_from_finds_where_chance_ends() -> None:
    """Lost: points at chance would count as points with the ability."""
    frame = table()
    high = frame.assign(loss=frame["loss"] + 0.5, score=0.2, run=frame["run"] + "h")
    model = smooth.fit(series.points(pd.concat([frame, high], ignore_index=True)))
    limit = smooth.able_from(model, 0.2, lower_is_better=False)
    assert limit is not None
    assert 2.85 < limit < 3.1
    flat = smooth.fit(series.points(high))
    assert smooth.able_from(flat, 0.2, lower_is_better=False) is None


def test_a_mixture_of_one_is_a_normal() -> None:
    """Lost: intervals would not have the level that they claim."""
    one = Mixture(np.ones(1), np.array([[1.0]]), np.array([[[4.0]]]))
    low, high = one.interval(np.ones(1), 0.95)
    assert (low, high) == (pytest.approx(1 - 3.92, abs=0.01), pytest.approx(1 + 3.92, abs=0.01))
    assert one.joint_p() == pytest.approx(0.617, abs=0.001)
