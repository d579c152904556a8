"""Marginal likelihoods against brute force: a Bayes factor that depends on the sampler is none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp

from onset.stats.curve.families import ROUNDED
from onset.stats.curve.model import fit_curve_model
from onset.stats.data import curve_data


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    loss = np.tile(np.linspace(3.6, 2.0, 20), 3)
    score = rng.binomial(1000, 0.25 + 0.5 * np.maximum(2.6 - loss, 0)) / 1000
    return pd.DataFrame({
        "run": np.repeat(list("abc"), 20), "loss": loss, "score": score, "chance": 0.25, "n_examples": 1000,
        "metric": "accuracy",
    })  # fmt: skip


@pytest.mark.parametrize("name", ["hinge", "exponential", "logistic"])
def test_importance_sampling_agrees_with_a_fine_grid(table: pd.DataFrame, name: str) -> None:
    """Narrow peaks are neither missed nor overrated."""
    model = fit_curve_model(curve_data(table))
    sample = next(one for one in model.comparison.samples if one.family.name == name)
    dims = len(sample.family.bounds)
    count = {1: 4000, 3: 48}[dims]
    axes = np.meshgrid(*[(np.arange(count) + 0.5) / count] * dims, indexing="ij")
    unit = np.stack([axis.ravel() for axis in axes], axis=1)
    found = [
        model.comparison.likelihood.solve(sample.family.values(part, model.rows.grid)).evidence
        for part in np.array_split(unit, max(1, len(unit) // 8000))
    ]
    brute = logsumexp(np.concatenate(found)) - np.log(len(unit))
    assert sample.log_marginal == pytest.approx(brute, abs=0.15)


def test_the_error_of_the_bayes_factor_is_told(table: pd.DataFrame) -> None:
    """Another seed moves the log Bayes factor by about as much as the error that is reported."""
    found = [fit_curve_model(curve_data(table), seed).comparison for seed in range(3)]
    assert max(one.error for one in found) < 0.15
    assert np.ptp([one.log_bf_threshold for one in found]) < 0.5


def test_curves_are_zero_above_the_threshold_and_one_at_the_lowest_loss(table: pd.DataFrame) -> None:
    """A curve that leaks above its threshold would claim ability where there is none."""
    model = fit_curve_model(curve_data(table))
    for sample in model.comparison.side(True):
        x = np.linspace(0, 2.5, 60)
        values, eta = sample.family.values(sample.unit, x), sample.parameters[0]
        corner = 6 * ROUNDED
        assert np.all(values[x[:, None] > eta[None, :] + corner] < 0.02)
        assert np.allclose(values[0], 1.0)
