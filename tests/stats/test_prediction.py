"""Curves drawn on beyond the losses seen. Lost if they fail: the score of the next larger model, or its uncertainty."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from onset.stats.data import CurveData, curve_data
from onset.stats.prediction.averaging import CANDIDATES, Fold, average
from onset.stats.prediction.link import Link
from onset.stats.prediction.local_logistic import fit
from onset.stats.prediction.predicted_score import PredictedScore, learn


def logistic(loss: np.ndarray) -> np.ndarray:
    """Chance 0.25, half of the room at a loss of 2.4."""
    return 0.25 + 0.75 / (1 + np.exp(4.0 * (loss - 2.4)))


def planted(
    seed: int = 0, sizes: int = 5, items: int = 3000, family: float = 0.0, families: int = 1, task: str = "a"
) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frames = []
    for name in range(families):
        for number, params in enumerate(1e8 * 3.0 ** np.arange(sizes)):
            tokens = np.geomspace(2e9, 1e11, 10)
            loss = 1.7 + 406 / params**0.34 + 411 / tokens**0.28
            shift = 0.02 * rng.standard_normal() + family * (name - (families - 1) / 2)
            share = logistic(loss + shift)
            frames.append(pd.DataFrame({
                "run": f"r{name}-{number}", "family": f"f{name}", "params": params, "tokens": tokens, "loss": loss,
                "score": rng.binomial(items, share) / items,
            }))  # fmt: skip
    return pd.concat(frames, ignore_index=True).assign(task=task, metric="accuracy", chance=0.25, n_examples=items)


def held_out(table: pd.DataFrame) -> tuple[CurveData, pd.DataFrame]:
    largest = table["params"] == table["params"].max()
    return curve_data(table[~largest]), table[largest].sort_values("loss")


@pytest.mark.parametrize("bandwidth", [0.1, np.inf])
def test_a_logistic_curve_goes_on_as_one(bandwidth: float) -> None:
    """Lost: the fit that everything stands on."""
    known, unseen = held_out(planted(items=100_000))
    curve = fit(known, bandwidth)
    value, variance = curve.value(unseen["loss"].to_numpy(), 9.9)
    share = curve.link.inverse(value)
    truth = (logistic(unseen["loss"].to_numpy()) - 0.25) / 0.75
    np.testing.assert_allclose(share, truth, atol=0.03)
    assert (variance > 0).all()


def test_a_link_returns_what_it_was_given() -> None:
    """Lost: scores of metrics in percent, or where lower is better, on another scale than they came."""
    rows = planted()
    percent = rows.assign(score=100 * rows["score"], chance=25.0)
    brier = rows.assign(metric="brier", score=1.5 * (1 - rows["score"]), chance=1.125)
    losses = rows.assign(metric="choice_log_loss", score=2 - rows["score"], chance=np.nan)
    for table, kind in ((rows, "logit"), (percent, "logit"), (brier, "logit"), (losses, "log")):
        data = curve_data(table)
        link = Link.of(data)
        share = link.share(data.ability)
        assert link.kind == kind
        np.testing.assert_allclose(link.ability(share), data.ability, atol=1e-12)
        assert share.min() > -0.05
        inside = np.clip(share, 0.05, 0.95)
        np.testing.assert_allclose(link.inverse(link.start(inside)), inside, atol=1e-9)
    same = [fit(curve_data(table), 0.15).coefficients[:2] for table in (rows, percent)]
    np.testing.assert_allclose(same[0], same[1], rtol=1e-6)


def test_a_family_is_predicted_by_its_own_level() -> None:
    """Lost: a curve between two corpora that belongs to neither."""
    known, unseen = held_out(planted(family=0.2, families=2, items=20_000))
    curve = fit(known, np.inf)
    rows = unseen[unseen["family"] == "f1"]
    own, _ = curve.value(rows["loss"].to_numpy(), 9.9, "f1")
    other, variance = curve.value(rows["loss"].to_numpy(), 9.9, "f9")
    truth = (rows["score"].to_numpy() - 0.25) / 0.75
    assert np.abs(curve.link.inverse(own) - truth).mean() < 0.5 * np.abs(curve.link.inverse(other) - truth).mean()
    assert (variance > curve.value(rows["loss"].to_numpy(), 9.9, "f1")[1]).all()


def fold(*misses: float, variance: float = 1e-4) -> Fold:
    """One held-out run that each candidate misses by so much; those not named by 0.05."""
    means = np.full((len(CANDIDATES), 1), 0.55)
    means[: len(misses), 0] = 0.5 + np.array(misses)
    return Fold(means, np.full(means.shape, variance), np.array([0.5]))


def test_weights_go_to_the_curves_that_predicted_larger_sizes() -> None:
    """Lost: an average that listens to a curve bent the wrong way beyond the data."""
    (own, other) = average([[fold(0.02, 0.0), fold(0.03, 0.001)], [fold(0.0, 0.02)]])
    assert own.weights.argmax() == 1
    assert own.weights[0] < 0.5 * own.weights[1]
    assert own.weights[2] < 0.1 * own.weights[1]
    assert own.weights.sum() == pytest.approx(1.0)
    (untried, *_) = average([[], [fold(0.02, 0.0)], [fold(0.02, 0.0)]])
    assert untried.weights.argmax() == 1, "a task without folds goes by the table's others"
    assert other.weights[0] > own.weights[0]


def test_misses_on_the_table_itself_stretch_the_interval() -> None:
    """Lost: intervals that stay narrow where the table's own larger sizes lay far outside."""
    (close,) = average([[fold(*[0.001] * len(CANDIDATES))] * 4])
    (far,) = average([[fold(*[0.035] * len(CANDIDATES))] * 4])
    assert close.stretch < 1.0
    assert far.stretch > 2.0


def test_intervals_cover_a_size_that_was_held_out() -> None:
    """Lost: what an interval at 80 % means."""
    covered = []
    for seed in range(30):
        known, unseen = held_out(planted(seed, items=1000))
        (made,) = learn([known])
        assert isinstance(made, PredictedScore)
        rng = np.random.default_rng(seed)
        for row in unseen.iloc[[0, 4, 8]].itertuples():
            drawn = made.draw(np.full(800, row.loss), 9.9, 1000.0, rng)
            low, high = np.quantile(drawn, [0.1, 0.9])
            covered.append(low <= row.score <= high)
    assert 0.7 < np.mean(covered) <= 0.97


def test_a_task_of_unknown_chance_that_does_not_rise_is_refused() -> None:
    """Lost: a forecast from the noise of a task at a chance level that nobody gave."""
    rng = np.random.default_rng(0)
    rows = planted().assign(chance=np.nan)
    flat = rows.assign(score=rng.binomial(3000, 0.25, len(rows)) / 3000)
    refused, made = learn([curve_data(flat), curve_data(rows)])
    assert isinstance(refused, str)
    assert "chance level is not known" in refused
    assert isinstance(made, PredictedScore)


def test_a_parabola_is_held_where_it_would_turn_back() -> None:
    """Lost otherwise: scores that level off are foretold to fall again."""
    loss = np.tile(np.linspace(4.0, 2.6, 15), 2)
    score = 0.25 + 0.5 * (1 - np.exp(-np.maximum(3.2 - loss, 0) / 0.2))
    rows = pd.DataFrame({"run": np.repeat(["a", "b"], 15), "params": np.repeat([1e8, 4e8], 15), "loss": loss,
                         "tokens": np.tile(np.arange(1, 16), 2), "score": score, "chance": 0.25,
                         "n_examples": 5000, "metric": "accuracy", "task": "t"})  # fmt: skip
    curve = fit(curve_data(rows), 0.25, 2)
    value, _ = curve.value(np.array([2.6, 2.4, 2.2]))
    assert np.all(np.diff(value) >= -1e-9)
