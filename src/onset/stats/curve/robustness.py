"""Robustness of a threshold: Bayes factors with one run or one checkpoint left out, and the rows on either side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onset.stats.curve.marginal_likelihood import mean_curve
from onset.stats.curve.model import CurveModel
from onset.stats.data import Array, Bools

MOST_RUNS, MOST_ROWS = 6, 3
"""Left out one by one: those that say most for a threshold."""


@dataclass(frozen=True)
class LeftOut:
    """Least log Bayes factors (ability, threshold) over what was left out, and the run of the second."""

    run: tuple[float, float] | None
    decisive_run: str
    checkpoint: tuple[float, float] | None


def leave_out(model: CurveModel) -> LeftOut:
    """Bayes factors without each of the runs and checkpoints that say most for a threshold."""
    likelihood, comparison = model.comparison.likelihood, model.comparison
    gain = _gain(model)
    names = model.window.data.runs
    by_run = np.bincount(model.window.data.run, gain, minlength=len(names))
    found_runs = []
    if len(names) > 1:
        for run in np.argsort(-by_run)[:MOST_RUNS]:
            found_runs.append((names[run], comparison.without(likelihood.without_run(int(run)))))
    found_rows = [comparison.without(likelihood.without_row(int(row))) for row in np.argsort(-np.abs(gain))[:MOST_ROWS]]
    decisive = min(found_runs, key=lambda one: one[1][1])[0] if found_runs else ""
    return LeftOut(_least([one[1] for one in found_runs]), decisive, _least(found_rows))


def _least(found: list[tuple[float, float]]) -> tuple[float, float] | None:
    return (min(one[0] for one in found), min(one[1] for one in found)) if found else None


def _gain(model: CurveModel) -> Array:
    """(n,) log likelihood that each row adds for curves with a threshold, at the mean curves of both sides."""
    squares = []
    for side in (True, False):
        curve, coefficients = mean_curve(model.comparison.side(side), model.comparison.likelihood)
        squares.append(model.comparison.likelihood.residuals(curve, np.ones(1), coefficients) ** 2)
    return np.asarray(0.5 * (squares[1] - squares[0]))


def errors_from_chance(model: CurveModel) -> Array:
    """(n,) distance of each score from chance in its own standard errors, all parts of the noise counted."""
    data, rows = model.window.data, model.rows
    noise = rows.noise(model.noise, rows.sizes(np.zeros(len(rows.grid))))
    return np.asarray(data.ability / np.sqrt(noise.variance))


def together(model: CurveModel, errors: Array, chosen: Bools) -> float:
    """Standard errors from chance of the chosen scores together.

    What all share by answering the same items does not average out: it is in the variance of the sum as often as
    there are pairs.
    """
    if not chosen.any():
        return 0.0
    rows = model.rows
    sizes = rows.sizes(np.zeros(len(rows.grid)))
    noise = rows.noise(model.noise, sizes)
    families = len(model.window.data.families) if len(model.window.data.families) > 1 else 0
    columns = rows.columns(model.noise, sizes)
    columns = columns[:, : columns.shape[1] - families - int(model.window.free_floor)]
    common = (columns[chosen] / np.sqrt(noise.variance[chosen, None])).sum(axis=0)
    return float(np.clip(errors[chosen], -3.0, None).sum() / np.sqrt(chosen.sum() + common @ common))
