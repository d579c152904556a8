"""The mixed model behind size effects and forecasts. Lost if it fails: intervals that do not hold the truth."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from onset.stats.data import Array, CurveData, curve_data
from onset.stats.mixed.mixed_model import Block, Mixture, Rows, fit, quantile
from onset.stats.mixed.smooth_curve import fit_curve
from onset.stats.mixed.spline import Spline


def rows_of(seed: int, run: float, runs: int = 12, per: int = 8) -> tuple[Rows, Array]:
    rng = np.random.default_rng(seed)
    loss = np.sort(rng.uniform(2, 3, (runs, per)), axis=1)[:, ::-1].ravel()
    number = np.repeat(np.arange(runs), per)
    treated = (number % 2).astype(float)
    score = (
        0.5 + 0.02 * treated + np.repeat(run * rng.standard_normal(runs), per) + 0.01 * rng.standard_normal(runs * per)
    )
    frame = pd.DataFrame({"run": [f"{value:03d}" for value in number], "loss": loss, "score": score,
                          "metric": "accuracy", "stderr": 0.01})  # fmt: skip
    data = curve_data(frame)
    count = len(data)
    rows = Rows(data, np.full(count, 1e-4), True, np.ones(count), np.zeros(count))
    return rows, np.column_stack([np.ones(count), treated])


def test_an_effect_between_runs_has_the_error_of_runs_not_of_rows() -> None:
    """With run effects, a t-test over run means is right, and rows taken for independent are wrong by a factor."""
    rows, fixed = rows_of(1, run=0.01)
    model = fit(rows, fixed, [])
    means = pd.Series(rows.data.score).groupby(rows.data.run).mean().to_numpy()
    treated = np.arange(12) % 2 == 1
    expected = stats.ttest_ind(means[treated], means[~treated]).confidence_interval(0.95)
    low, high = model.coefficients.interval(np.array([0.0, 1.0]), 0.95)
    assert_allclose(model.coefficients.mean[1], means[treated].mean() - means[~treated].mean(), atol=1e-3)
    assert 0.6 < (high - low) / (expected.high - expected.low) < 1.4


def test_intervals_of_an_effect_hold_it_as_often_as_they_say() -> None:
    held = 0
    for seed in range(60):
        rows, fixed = rows_of(seed, run=0.006, runs=8, per=5)
        low, high = fit(rows, fixed, []).coefficients.interval(np.array([0.0, 1.0]), 0.9)
        held += low < 0.02 < high
    assert 48 <= held <= 60


def test_a_block_shrinks_to_nothing_where_nothing_is_there() -> None:
    rows, fixed = rows_of(2, run=0.0)
    waves = np.cos(np.pi * np.arange(1, 6) * (rows.data.loss[:, None] - 2))
    model = fit(rows, fixed, [Block("waves", waves, 0.05)])
    assert model.scales[0] < 0.01


def test_quantiles_of_a_mixture_are_those_of_its_draws() -> None:
    weights, means, deviations = np.array([0.3, 0.7]), np.array([0.0, 1.0]), np.array([1.0, 0.5])
    assert quantile(weights, means, deviations, 0.5) == pytest.approx(0.83, abs=0.02)
    mixture = Mixture(np.ones(1), np.zeros((1, 1)), np.ones((1, 1, 1)))
    assert_allclose(mixture.interval(np.ones(1), 0.95), [-1.96, 1.96], atol=1e-3)


def test_the_spline_goes_on_straight_and_follows_a_jump() -> None:
    loss = np.linspace(2, 3, 200)
    jump = np.where(loss < 2.5, 0.7, 0.0)
    spline = Spline.over(loss, jump)
    assert np.sum(np.abs(spline.knots - 2.5) < 0.05) >= 6
    beyond = np.array([1.8, 1.9, 2.0])
    for columns in (spline.fixed(beyond), spline.random(beyond)):
        assert_allclose(columns[0] - columns[1], columns[1] - columns[2], atol=1e-8)
    smooth = Spline.over(loss, 3.0 - loss)
    near = loss[:, None] + np.array([-1e-5, 1e-5])
    change = (smooth.random(near[:, 1]) - smooth.random(near[:, 0])) / 2e-5
    assert_allclose(smooth.random(loss, derivative=True), change, rtol=1e-3, atol=0.01)


def jumping(per: int = 60) -> CurveData:
    loss = np.linspace(3, 2, per)
    score = np.where(loss < 2.5, 0.9, 0.25)
    frames = [pd.DataFrame({"run": f"r{run}", "loss": loss + 0.002 * run, "score": score}) for run in range(3)]
    return curve_data(pd.concat(frames).assign(metric="accuracy", chance=0.25, n_examples=1000))


def test_a_curve_with_a_jump_has_residuals_about_zero() -> None:
    curve = fit_curve(jumping())
    away = np.abs(curve.data.loss - 2.5) > 0.05
    assert_allclose(curve.fitted[away], curve.data.ability[away], atol=0.03)
    assert set(np.round(curve.visible[curve.data.loss > 2.6])) == {0.0}
