"""How noisy scores are: items, runs and neighbouring checkpoints, estimated together and told apart.

The covariance of two scores of one run is

    items      p (1 - p) / n on the diagonal, or the given standard error squared, times ``share``
    run        what a run has more or less than its family, everywhere: t_i t_j
    drift      what neighbouring checkpoints share: s_i s_j memory^|i - j|

with t and s allowed to be larger where there is an ability than where there is chance, because
runs that guess differ less than runs that know. Scores of different runs are independent given
the law. The parts are found by maximum likelihood on the residuals of a pilot fit, with weak
priors, because two to six runs say little about the variance between runs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onset.analysis.points import Points

Array = NDArray[np.float64]

SHARES = (1.0, 0.6, 0.3, 0.1, 0.02)
MEMORIES = (0.0, 0.4, 0.7, 0.9)


@dataclass(frozen=True)
class Noise:
    """The parts of the noise beyond that of items; all but ``share`` and ``memory`` in score."""

    share: float = 1.0
    """Part of the items' variance that differs from checkpoint to checkpoint (the items are the same)."""
    run_chance: float = 0.0
    run_ability: float = 0.0
    drift_chance: float = 0.0
    drift_ability: float = 0.0
    memory: float = 0.0
    loss: float = 0.0
    """Error of a measured loss, nats: it moves scores where the law is steep."""


def items_variance(points: Points, ability: Array) -> Array:
    """Variance of each score from its items, at a supposed ability.

    The given standard error where there is one; else p (1 - p) / n, which is exact for shares of
    right answers and the most it can be for any other score between 0 and 1; else zero (unknown).
    """
    given = points.stderr**2
    if points.bounded:
        score = points.to_score(ability)
        # One item more or less: a score of exactly 0 or 1 is not free of noise.
        edge = 0.5 / np.where(np.isfinite(points.count), points.count, 1e4)
        score = np.clip(score, edge, 1 - edge)
        binomial = score * (1 - score) / points.count
    else:
        binomial = np.full(len(points.loss), np.nan)
    variance = np.where(np.isfinite(given) & (given > 0), given, binomial)
    return np.where(np.isfinite(variance), variance, 0.0)


def presence(ability: Array) -> Array:
    """How much of the ability is there, 0 to 1: what the noise beyond items grows with."""
    top = float(np.max(ability))
    return np.sqrt(np.clip(ability / top, 0.0, 1.0)) if top > 0 else np.zeros_like(ability)


def steepness(points: Points, ability: Array) -> Array:
    """Score per nat at each point, from the ability of a law at the points."""
    order = np.argsort(points.loss)
    loss, level = points.loss[order], np.maximum.accumulate(ability[order][::-1])[::-1]
    # Over a window of neighbours, as the place of a corner is not known exactly.
    reach = max(1, len(loss) // 40)
    ahead, behind = np.minimum(np.arange(len(loss)) + reach, len(loss) - 1), np.maximum(np.arange(len(loss)) - reach, 0)
    gap = np.maximum(loss[ahead] - loss[behind], 1e-3 * max(float(np.ptp(loss)), 1e-9))
    found = np.empty(len(loss))
    found[order] = np.maximum(level[behind] - level[ahead], 0.0) / gap
    return found


def covariances(points: Points, noise: Noise, ability: Array, known: Array | None = None) -> list[Array]:
    """The covariance matrix of each run's scores, in the order of the points."""
    known = items_variance(points, ability) if known is None else known
    if noise.loss > 0:
        known = known + (noise.loss * steepness(points, ability)) ** 2 / noise.share
    there = presence(ability)
    run = np.hypot(noise.run_chance, noise.run_ability * there)
    drift = np.hypot(noise.drift_chance, noise.drift_ability * there) / np.sqrt(points.weight)
    blocks = []
    for begin, end in _spans(points):
        size = end - begin
        lag = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
        memory = np.where(lag == 0, 1.0, noise.memory**lag)
        block = np.outer(run[begin:end], run[begin:end]) + np.outer(drift[begin:end], drift[begin:end]) * memory
        block[np.diag_indices(size)] += noise.share * known[begin:end] + 1e-12
        blocks.append(block)
    return blocks


def roots(blocks: list[Array]) -> list[Array]:
    """Inverse Cholesky factors: ``root @ residuals`` of a run are independent with variance one."""
    return [np.linalg.inv(np.linalg.cholesky(block)) for block in blocks]


def whiten(roots_of_runs: list[Array], starts: NDArray[np.int64], values: Array) -> Array:
    """Values (n,) or (n, k) with the noise of each run made independent with variance one."""
    return np.concatenate(
        [root @ values[start : start + len(root)] for root, start in zip(roots_of_runs, starts, strict=True)]
    )


def estimate(points: Points, ability: Array, sweeps: int = 2) -> Noise:
    """The noise that best explains the distances of the points from a pilot law's ability.

    Coordinate ascent over a coarse grid of each part: the likelihood is flat near its top, and a
    finer answer would be spurious.
    """
    residuals = points.ability - ability
    known = items_variance(points, ability)
    typical = float(np.sqrt(np.mean(residuals**2))) + 1e-9
    floor = float(np.sqrt(np.median(known))) if np.any(known > 0) else 0.0
    unknown = not np.any(known > 0)
    steps = np.r_[0.0, np.geomspace(0.15, 1.6, 7)] * typical
    best = Noise(drift_chance=0.7 * typical, drift_ability=0.5 * typical) if unknown else Noise()
    score = _support(points, best, residuals, ability, known, floor or typical)
    options: list[tuple[str, tuple[float, ...]]] = [
        ("drift_chance", tuple(steps)), ("drift_ability", tuple(steps)), ("memory", MEMORIES),
        ("run_chance", tuple(steps)), ("run_ability", tuple(steps)), ("share", SHARES),
        ("loss", tuple(np.r_[0.0, np.geomspace(4e-4, 1.2e-2, 6)] * float(np.ptp(points.loss)))),
    ]  # fmt: skip
    for _ in range(sweeps):
        before = score
        for name, values in options:
            if name == "share" and unknown:
                continue
            for value in values:
                trial = replace(best, **{name: float(value)})
                if trial == best or (unknown and trial.drift_chance == 0):
                    continue
                found = _support(points, trial, residuals, ability, known, floor or typical)
                if found > score:
                    best, score = trial, found
        if score - before < 0.05:
            break
    return best


def _support(points: Points, noise: Noise, residuals: Array, ability: Array, known: Array, scale: float) -> float:
    total = 0.0
    spans = _spans(points)
    for block, (begin, end) in zip(covariances(points, noise, ability, known), spans, strict=True):
        factor = np.linalg.cholesky(block)
        white = np.linalg.solve(factor, residuals[begin:end])
        total -= 0.5 * float(white @ white) + float(np.log(np.diag(factor)).sum())
    extra = (noise.run_chance, noise.run_ability, noise.drift_chance, noise.drift_ability)
    # Weak priors: exponential in each part on the scale of the items' noise or of half a point of
    # score, and a preference for items that are as noisy as independent draws.
    total -= sum(value / (3 * scale + 0.005) for value in extra)
    total -= noise.loss / (4e-3 * float(np.ptp(points.loss)) + 1e-12)
    return total - 1.5 * abs(np.log(noise.share)) ** 0.5 - 0.5 * noise.memory


def _spans(points: Points) -> list[tuple[int, int]]:
    starts = points.starts
    return list(zip(starts.tolist(), [*starts[1:].tolist(), len(points.loss)], strict=True))
