"""Runs with curves of their own: where runs set in at losses that differ by more than their errors.

The common model takes a run's shift along the loss to first order, which holds for shifts that are small beside the
rise. Here every run has a curve of its own; the interval of a loss then spans those of the runs, and the log Bayes
factor is the mean of theirs: the runs answer the same items of one task, and are no independent witnesses of its form.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri
from scipy.stats import chi2
from scipy.stats import t as student

from onset.stats.curve.estimands import posterior_of
from onset.stats.curve.marginal_likelihood import Sample, first_samples, mean_curve, redrawn, side_marginal
from onset.stats.curve.model import CurveModel
from onset.stats.curve.row_noise import Rows
from onset.stats.data import Array
from onset.stats.noise import PRIOR_SCALES, Components

MOST_RUNS, FEWEST_ROWS = 8, 8
"""Runs that are asked, and checkpoints that each must have."""
UNEQUAL = 0.001
"""p-value of Cochran's Q from which onset losses differ between runs."""
SUSPECT = 1.0
"""Drift or shift of the common model, in prior scales, from which runs are asked at all."""
LEAST_ABILITY = 3.0
"""Log Bayes factor for an ability in a run by itself, for a run to have an onset loss."""


@dataclass(frozen=True)
class UnequalRuns:
    """Onset losses that differ between runs."""

    onset: tuple[float, float, float]
    """Mean over runs, and an interval that holds every run's."""
    threshold: tuple[float, float, float]
    log_bf_threshold: float
    """Mean over runs."""
    without_run: float
    """The least mean with one run left out."""
    by_run: dict[str, float]
    """Onset loss of each run."""


def unequal_runs(model: CurveModel, delta: float, seed: int, level: float = 0.95) -> UnequalRuns | None:
    """The runs by themselves, where their onset losses differ by more than their errors; else None."""
    data, noise = model.window.data, model.noise
    counts = np.bincount(data.run)
    if not 2 <= len(counts) <= MOST_RUNS or counts.min() < FEWEST_ROWS:
        return None
    if max(noise.drift / PRIOR_SCALES["drift"], noise.shift / PRIOR_SCALES["shift"]) < SUSPECT:
        return None
    fitted = _each_run(model, seed)
    found = {}
    for run, samples in enumerate(fitted):
        on, off = (side_marginal(_side(samples, side)) for side in (True, False))
        ability = float(np.logaddexp(on, off) - np.log(2))
        one = _onset(samples, model.rows, delta, level) if ability > LEAST_ABILITY else None
        mine = data.loss[data.run == run]
        if one is not None and mine.min() < one[0] < mine.max():
            found[run] = one
    if len(found) < 2 or not _differ(found):
        return None
    factors = np.array([_factor(fitted[run]) for run in found])
    return UnequalRuns(
        _joint(np.array([one[0] for one in found.values()]), [one[2] for one in found.values()], level),
        _joint(np.array([one[3][1] for one in found.values()]), [(one[3][0], one[3][2]) for one in found.values()],
               level),
        float(factors.mean()), float((factors.sum() - factors.max()) / (len(factors) - 1)),
        {data.runs[run]: one[0] for run, one in found.items()},
    )  # fmt: skip


def _each_run(model: CurveModel, seed: int) -> list[list[Sample]]:
    """Curves of each run, under a noise that is estimated about the runs' own curves."""
    rows, data = model.rows, model.window.data
    families = [sample.family for sample in model.comparison.samples]
    parts = Components(items=model.noise.items, drift=0.3 * PRIOR_SCALES["drift"])
    fitted: list[list[Sample]] = []
    curve, coefficients = mean_curve(list(model.comparison.samples), model.comparison.likelihood)
    for _ in range(2):
        likelihood = rows.likelihood(parts, curve)
        fitted, left = [], np.zeros(len(data))
        for run in range(len(data.runs)):
            products = likelihood.only_run(run)
            samples = first_samples(families, rows.grid, products, seed)
            for round_ in range(2):
                samples = redrawn(samples, rows.grid, products, seed + round_, 512)
            fitted.append(samples)
            own, coefficients = mean_curve(samples, products)
            mine = data.run == run
            left[mine] = (data.ability - rows.weights @ own - likelihood.columns @ coefficients)[mine]
        parts, _ = rows.fitted(curve, Components(items=model.noise.items), left)
        parts = Components(items=parts.items, drift=parts.drift, memory=parts.memory, loss=parts.loss)
    return fitted


def _side(samples: list[Sample], threshold: bool) -> list[Sample]:
    return [sample for sample in samples if sample.family.threshold is threshold]


def _factor(samples: list[Sample]) -> float:
    return side_marginal(_side(samples, True)) - side_marginal(_side(samples, False))


Onset = tuple[float, float, tuple[float, float], tuple[float, float, float]]
"""Median, standard deviation, interval, and threshold with its interval."""


def _onset(samples: list[Sample], rows: Rows, delta: float, level: float) -> Onset | None:
    weight, onset, eta = posterior_of(samples, rows, delta, rows.window.room)
    known, kinked = np.isfinite(onset), np.isfinite(eta)
    if weight[known].sum() < 0.95 or not kinked.any():
        return None
    low, middle, high = _quantiles(onset[known], weight[known], level)
    sd = max((high - low) / (2.0 * float(ndtri(0.5 + level / 2))), 1e-9)
    return middle, sd, (low, high), _quantiles(eta[kinked], weight[kinked], level)


def _quantiles(values: Array, weight: Array, level: float) -> tuple[float, float, float]:
    order = np.argsort(values)
    share = np.cumsum(weight[order]) - weight[order] / 2
    low, middle, high = np.interp([0.5 - level / 2, 0.5, 0.5 + level / 2], share / weight.sum(), values[order])
    return float(low), float(middle), float(high)


def _differ(found: dict[int, Onset]) -> bool:
    """Cochran's Q over the runs' onset losses."""
    value, weight = (
        np.array([one[0] for one in found.values()]), np.array([1.0 / one[1] ** 2 for one in found.values()])
    )  # fmt: skip
    mean = float(np.average(value, weights=weight))
    return bool(chi2.sf(float(weight @ (value - mean) ** 2), len(value) - 1) < UNEQUAL)


def _joint(values: Array, intervals: list[tuple[float, float]], level: float) -> tuple[float, float, float]:
    """Mean over runs; with up to three runs the interval spans theirs, with more it is Student's for the mean."""
    middle = float(values.mean())
    if len(values) <= 3:
        return middle, min(one[0] for one in intervals), max(one[1] for one in intervals)
    half = float(student.ppf(0.5 + level / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return middle, middle - half, middle + half
