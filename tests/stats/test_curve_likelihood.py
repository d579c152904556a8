"""The likelihood of many curves at once is that of each alone, and leaving a row out is never having had it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import multivariate_normal

from onset.stats.curve.likelihood import CurveLikelihood, interpolation, loss_grid
from onset.stats.data import curve_data
from onset.stats.noise import Components, noise_of


def small(seed: int = 0) -> tuple[object, np.ndarray, np.ndarray]:
    """Two runs of five rows, with noise of every kind, and the covariance that it stands for."""
    import pandas as pd

    rng = np.random.default_rng(seed)
    loss = np.concatenate([np.linspace(3, 2, 5), np.linspace(2.9, 2.1, 5)])
    table = pd.DataFrame({
        "run": list("aaaaabbbbb"), "loss": loss, "score": 0.25 + 0.2 * np.maximum(2.6 - loss, 0)
        + 0.01 * rng.standard_normal(10), "chance": 0.25, "n_examples": 800, "metric": "accuracy",
    })  # fmt: skip
    data = curve_data(table)
    parts = Components(items=0.8, run=0.005, shift=0.002, drift=0.006, memory=0.5, loss=0.001)
    there, slope = np.linspace(0.3, 1, 10), np.full(10, 0.2)
    noise = noise_of(data, parts, there, slope, data.item_variance())
    root = noise.whiten(np.eye(10))
    return data, root, np.linalg.inv(root.T @ root)


def likelihood(seed: int = 0) -> tuple[CurveLikelihood, np.ndarray, np.ndarray, np.ndarray]:
    data, _, covariance = small(seed)
    parts = Components(items=0.8, run=0.005, shift=0.002, drift=0.006, memory=0.5, loss=0.001)
    noise = noise_of(data, parts, np.linspace(0.3, 1, 10), np.full(10, 0.2), data.item_variance())  # type: ignore[arg-type,attr-defined]
    columns = np.column_stack([np.full(10, 0.015), 0.01 * np.linspace(-1, 1, 10)])
    grid = loss_grid(data.loss)  # type: ignore[attr-defined]
    weights = interpolation(data.loss, grid)  # type: ignore[attr-defined]
    found = CurveLikelihood(data.ability, columns, weights, noise, 0.75)  # type: ignore[attr-defined]
    return found, grid, columns, covariance


def test_evidence_is_the_integral_over_heights() -> None:
    """A wrong closed form would bias every Bayes factor."""
    found, grid, columns, covariance = likelihood()
    y = found.whitened[:, 0]
    ability = np.linalg.solve(found.noise.whiten(np.eye(10)), y)
    whole = covariance + columns @ columns.T
    curve = np.maximum(2.6 - grid, 0) / 0.6
    at = np.interp(small()[0].loss, grid, curve)  # type: ignore[attr-defined]
    base = multivariate_normal(np.zeros(10), whole).logpdf(ability)
    integral = quad(
        lambda height: np.exp(multivariate_normal(np.zeros(10), whole).logpdf(ability - height * at) - base), 0, 0.75,
        points=[0.1, 0.15, 0.2],
    )[0]  # fmt: skip
    assert found.solve(curve[:, None]).evidence[0] == pytest.approx(np.log(integral / 0.75), abs=1e-4)


@pytest.mark.parametrize("row", [0, 3, 9])
def test_a_row_left_out_is_as_if_never_seen(row: int) -> None:
    """Leave one checkpoint out is only robust where correlated neighbours do not carry the row along."""
    found, grid, columns, covariance = likelihood()
    ability = np.linalg.solve(found.noise.whiten(np.eye(10)), found.whitened[:, 0])
    curve = np.maximum(2.7 - grid, 0) / 0.7
    keep = np.arange(10) != row
    at = np.interp(small()[0].loss, grid, curve)[keep]  # type: ignore[attr-defined]
    inverse = np.linalg.inv((covariance + columns @ columns.T)[np.ix_(keep, keep)])
    solved = found.without_row(row).solve(curve[:, None])
    assert solved.precision[0] == pytest.approx(at @ inverse @ at, rel=1e-6)
    assert solved.centre[0] == pytest.approx((at @ inverse @ ability[keep]) / (at @ inverse @ at), rel=1e-6)


def test_runs_left_out_and_alone_add_up() -> None:
    """The products of one run and those without it are those of all rows."""
    found, _, _, _ = likelihood()
    assert np.allclose(found.only_run(0).grid + found.without_run(0).grid, found.products.grid)


def test_large_tables_keep_their_rows() -> None:
    """A curve is read off the grid by straight lines; the rows themselves are not averaged."""
    x = np.sort(np.random.default_rng(0).uniform(0, 2.5, 5000))
    grid = loss_grid(x)
    assert len(grid) <= 160
    assert np.allclose(interpolation(x, grid) @ (3 - grid), 3 - x)
