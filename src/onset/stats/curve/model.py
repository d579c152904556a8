"""Fit the hierarchical curve model to one (task, metric, loss measure): window, noise, and all curve families."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onset.stats.curve.families import families
from onset.stats.curve.likelihood import CurveLikelihood, loss_grid
from onset.stats.curve.marginal_likelihood import (
    ModelComparison,
    Sample,
    again,
    compare,
    first_samples,
    mean_curve,
    redrawn,
)
from onset.stats.curve.row_noise import Rows
from onset.stats.curve.window import FitWindow, fit_window
from onset.stats.data import Array, CurveData
from onset.stats.noise import Components, item_variance

STARTS = (Components(), Components(items=0.7, run=0.01, drift=0.015))
"""Where the search for the noise begins: its likelihood has several maxima."""


@dataclass(frozen=True, eq=False)
class CurveModel:
    """The fitted model of one curve."""

    data: CurveData
    """All rows."""
    window: FitWindow
    rows: Rows
    comparison: ModelComparison
    noise: Components
    """Of the likeliest noise."""


def fit_curve_model(data: CurveData, seed: int = 0) -> CurveModel:
    """Window, noise and model comparison.

    The noise is taken from what the mean curve leaves over, of the curves with a threshold and of the smooth ones in
    turn: neither side may choose it alone. Bayes factors are averaged over both where they are about as likely.
    """
    window = fit_window(data, item_variance(data)[0])
    grid = loss_grid(window.x)
    rows = Rows.of(window, grid)
    flat = data.chance.value is not None and not window.free_floor
    forms = families(float(window.x.max()), flat=flat, relative_low=window.low / window.span)
    start = np.maximum(np.interp(grid, *_sorted(window.x, data_of(rows))), 0.0)
    parts = Components(run=0.003, drift=0.005)
    likelihood = rows.likelihood(parts, start)
    # The noise decides more than the draws do: it is found on draws that do not depend on the seed.
    samples = first_samples(forms, grid, likelihood, 0)
    candidates = _noises(samples, rows, likelihood, STARTS)
    likelihood = candidates[0][1]
    samples = redrawn(again(samples, likelihood), grid, likelihood, 0, 512)
    candidates = _noises(samples, rows, likelihood, (candidates[0][2],))
    comparison = compare(samples, grid, [found[:2] for found in candidates], _no_ability(rows), seed)
    noise = next(found[2] for found in candidates if found[1] is comparison.likelihood)
    return CurveModel(data, window, rows, comparison, noise)


def _no_ability(rows: Rows) -> float:
    """Log likelihood of the scores without an ability, with the prior of the noise, under the noise that suits it."""
    nothing, best = np.zeros(len(rows.grid)), -np.inf
    for start in STARTS:
        parts = start
        for _ in range(2):
            likelihood = rows.likelihood(parts, nothing)
            coefficients = likelihood.products.coefficients(nothing[:, None], np.zeros(1))[:, 0]
            left = rows.window.data.ability - likelihood.columns @ coefficients
            parts, prior = rows.fitted(nothing, parts, left)
            best = max(best, rows.likelihood(parts, nothing).log_likelihood_of_no_ability() + prior)
    return best


def data_of(rows: Rows) -> Array:
    """(n,) ability of the rows, without the free floor."""
    return rows.window.data.ability - rows.window.floor


def _sorted(x: Array, y: Array) -> tuple[Array, Array]:
    """Increasing x with the running maximum of a moving median of y from the highest x on: a rough start."""
    order = np.argsort(x, kind="stable")
    reach = max(1, len(x) // 20)
    padded = np.pad(y[order], reach, mode="edge")
    smooth = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1), axis=1)
    return x[order], np.asarray(np.maximum.accumulate(smooth[::-1])[::-1])


def _noises(
    samples: list[Sample], rows: Rows, likelihood: CurveLikelihood, starts: tuple[Components, ...]
) -> list[tuple[float, CurveLikelihood, Components]]:
    """Noises that explain what either side leaves over: log prior, likelihood, components; the likeliest first."""
    found: list[tuple[float, float, CurveLikelihood, Components]] = []
    for side in (True, False):
        own = [sample for sample in samples if sample.family.threshold is side]
        curve, coefficients = mean_curve(own, likelihood)
        left = rows.window.data.ability - rows.weights @ curve - likelihood.columns @ coefficients
        tried = [(*rows.fitted(curve, start, left), curve) for start in starts]
        best = None
        for parts, prior, pilot in tried:
            other = rows.likelihood(parts, pilot)
            total = prior + other.log_likelihood_of_no_ability() + _evidence(samples, other)
            if best is None or total > best[0]:
                best = (total, prior, other, parts)
        assert best is not None
        found.append(best)
    found.sort(key=lambda one: -one[0])
    return [one[1:] for one in found]


def _evidence(samples: list[Sample], likelihood: CurveLikelihood) -> float:
    """Log marginal likelihood of all families under a noise, from the curves that lead now."""
    found = ModelComparison(likelihood, tuple(again([_leading(sample) for sample in samples], likelihood)))
    return found.log_bf_ability


def _leading(sample: Sample, count: int = 128) -> Sample:
    keep = np.zeros(len(sample.weight), dtype=bool)
    keep[np.argsort(-sample.log_weight)[:count]] = True
    return sample.kept(keep)
