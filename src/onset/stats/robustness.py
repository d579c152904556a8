"""Guards: what must be seen on both sides of a threshold before it is reported as found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from onset.stats.marginal_likelihood import Weighed
from onset.stats.point_noise import variances

Array = NDArray[np.float64]

LEAST_ABOVE = 3
"""Checkpoints at chance above a threshold."""
LEAST_BELOW = 3
"""Checkpoints below a threshold."""
CLEAR = 2.5
"""Standard errors from which several checkpoints together are above chance."""
CLEAR_ITEMS = 2.0
"""The same once the items are counted as one draw for all; the evidence for an ability has weighed them before."""
TURNED = -1.5
"""Log evidence for a turn, with one run left out, below which that run alone had held it."""
LEFT = 0.0
"""Log evidence for an ability, with one run left out, below which that run alone had held it."""
CLEAR_RUN = 2.0
"""Standard errors from which the checkpoints of a second run are."""
MOST_LEFT_OUT = 8
"""Runs left out one by one: those that speak most for the turn."""


def complaint(weighed: Weighed, eta: float, low: float) -> str | None:
    """Why a threshold cannot be reported as found, or None.

    ``eta`` and ``low`` are the threshold and the lower end of its interval.
    """
    points = weighed.solver.points
    above, below = points.loss > eta, points.loss < eta
    several = len(points.names) > 1
    seen_above, seen_below = float(points.weight[above].sum()), float(points.weight[below].sum())
    if low <= points.loss.min() + 1e-12 or seen_below < LEAST_BELOW:
        return f"only {seen_below:.0f} checkpoint(s) are below it; checkpoints at lower losses would tell"
    if seen_above < LEAST_ABOVE:
        return f"only {seen_above:.0f} checkpoint(s) are above it; checkpoints at higher losses would tell"
    ahead = np.maximum(_distance(weighed), -3.0)
    # Left without its best checkpoint, the rest must still be above chance together.
    rest = below & (np.arange(len(ahead)) != int(np.argmax(np.where(below, ahead, -np.inf))))
    if ahead[rest].sum() < CLEAR * np.sqrt(max(rest.sum(), 1)):
        return "one checkpoint alone holds it; more checkpoints at lower losses would tell"
    if _together(weighed, ahead, rest) < CLEAR_ITEMS:
        return (
            "the choice of the items alone explains how far the scores below it are above chance; more items would tell"
        )
    of_runs = [_together(weighed, ahead, below & (points.run == run)) for run in range(len(points.names))]
    if several and sum(found > CLEAR_RUN for found in of_runs) < 2:
        return "one run alone is above chance below it; a second run at such losses would tell"
    if several and len(set(points.run[above].tolist())) < 2:
        return "one run alone was seen above it; a second run at such losses would tell"
    if several and (name := _held_by_one_run(weighed)):
        return f"the run {name} alone holds it; more runs across it would tell"
    return None


def _distance(weighed: Weighed) -> Array:
    """Each point's distance above chance in its own standard errors, all parts of the noise counted."""
    solver = weighed.solver
    at_chance = variances(solver.points, solver.noise, np.zeros(len(solver.points.loss)))
    return np.asarray(solver.points.ability / np.sqrt(at_chance))


def _together(weighed: Weighed, ahead: Array, chosen: NDArray[np.bool_]) -> float:
    """How far the chosen points together are above chance, in standard errors of their sum.

    What all share by answering the same items does not average out: it is in the variance of the sum as often as
    there are pairs.
    """
    solver = weighed.solver
    error = np.sqrt(variances(solver.points, solver.noise, np.zeros(len(ahead))))
    common = (solver.basis[chosen] / error[chosen, None]).sum(axis=0)
    return float(ahead[chosen].sum() / np.sqrt(max(chosen.sum(), 1) + common @ common))


def _held_by_one_run(weighed: Weighed) -> str | None:
    """The run without which the evidence for the turn is gone or turned round."""
    solver, count = weighed.solver, len(weighed.solver.points.names)
    sums = [solver.sums(sample.values) for sample in weighed.samples]
    for run in _telling(weighed, count):
        keep = np.ones(count)
        keep[run] = 0.0
        solved = [solver.solve(one, keep) for one in sums]
        without = Weighed(
            solver,
            tuple(
                replace(sample, evidence=evidence, height=height, common=common)
                for sample, (evidence, height, common) in zip(weighed.samples, solved, strict=True)
            ),
        )
        if without.leaves_chance < LEFT or without.turns < TURNED:
            return solver.points.names[run]
    return None


def _telling(weighed: Weighed, count: int) -> list[int]:
    """Runs in order of how much ability they show."""
    shown = np.maximum(_distance(weighed), 0.0) ** 2
    total = np.bincount(weighed.solver.points.run, shown, minlength=count)
    return [int(run) for run in np.argsort(-total)[:MOST_LEFT_OUT]]
