"""How well loss, compute, parameters and tokens each foresee a size that was left out.

One size is left out, a monotone curve is fitted to the others (isotonic regression, straight lines between
its values, level beyond its ends), and the left-out scores are predicted from the one column. The paper
shows it by eye: performance on one curve against loss (its Figure 1), not against compute (its Figure 6).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

Vector = NDArray[np.float64]

PREDICTORS = ("loss", "flops", "params", "tokens")

FEWEST_SIZES = {"loss": 2, "flops": 2, "params": 3, "tokens": 2}
"""With fewer sizes there is nothing to learn from: two sizes leave one, which says nothing of size."""


def predictors(obs: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    """For loss, flops, params and tokens: ``r2_held_out`` and ``error_pp`` over left-out sizes.

    ``obs`` are rows of one (task, metric, loss). R² is of all left-out predictions together, against the
    mean of all scores: at most 1, and below 0 where the mean would have done better. The error is the mean
    absolute one in points (0.01 of the score). Both are None with fewer sizes than ``FEWEST_SIZES``, or
    where the column is missing. Compute is the table's ``flops``, else 6 * params * tokens.
    """
    size = pd.to_numeric(obs["params"]).to_numpy(dtype=float)
    score = obs["score"].to_numpy(dtype=float)
    rising = _better_is_higher(obs)
    return {name: _foresight(_column(obs, name), score, size, name, rising) for name in PREDICTORS}


def _column(obs: pd.DataFrame, name: str) -> Vector:
    """A predictor's values; NaN where the table does not have them."""
    if name in obs and obs[name].notna().any():
        values: Vector = pd.to_numeric(obs[name]).to_numpy(dtype=float)
        return values
    if name == "flops" and {"params", "tokens"} <= set(obs.columns):
        product: Vector = 6.0 * obs["params"].to_numpy(dtype=float) * obs["tokens"].to_numpy(dtype=float)
        return product
    return np.full(len(obs), np.nan)


def _better_is_higher(obs: pd.DataFrame) -> bool:
    """The metric's direction: the table's word, else the way the score goes as loss falls."""
    if "direction" in obs and obs["direction"].notna().any():
        return str(obs["direction"].dropna().iloc[0]) != "lower"
    return not float(obs["loss"].rank().corr(obs["score"].rank())) > 0


def _foresight(values: Vector, score: Vector, size: Vector, name: str, rising: bool) -> dict[str, float | None]:
    known = np.isfinite(values) & np.isfinite(score) & np.isfinite(size)
    values, score, size = values[known], score[known], size[known]
    nothing: dict[str, float | None] = {"r2_held_out": None, "error_pp": None}
    sizes = np.unique(size)
    if len(sizes) < FEWEST_SIZES[name]:
        return nothing
    # Scores get better as loss falls and as everything else grows.
    increasing = rising if name != "loss" else not rising
    guess = np.empty(len(score))
    for left_out in sizes:
        out = size == left_out
        guess[out] = monotone(values[~out], score[~out], increasing)(values[out])
    spread = float(np.sum((score - score.mean()) ** 2))
    if spread <= 1e-18 * len(score) * max(1.0, float(np.max(score**2))):  # constant but for rounding: R² is 0/0
        return nothing
    return {
        "r2_held_out": 1.0 - float(np.sum((score - guess) ** 2)) / spread,
        "error_pp": 100.0 * float(np.mean(np.abs(score - guess))),
    }


class monotone:
    """Isotonic regression of score on values, with straight lines between and level beyond the ends."""

    def __init__(self, values: Vector, score: Vector, increasing: bool) -> None:
        self.at, place, counts = np.unique(values, return_inverse=True, return_counts=True)
        mean = np.bincount(place, weights=score) / counts
        self.height = isotonic_regression(mean, weights=counts.astype(float), increasing=increasing).x

    def __call__(self, values: Vector) -> Vector:
        """Predicted scores."""
        predicted: Vector = np.interp(values, self.at, self.height)
        return predicted
