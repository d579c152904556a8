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

from onset.stats.points import Points

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
        # Two items more or less: a score of exactly 0 or 1 is not free of noise.
        edge = np.minimum(2 / np.where(np.isfinite(points.count), points.count, 1e4), 0.5)
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


@dataclass(frozen=True)
class Layout:
    """Points as one row a run, padded to the longest run, so that all runs are worked at once."""

    place: NDArray[np.int64]
    """(runs, longest) index of each point; padding points at the first one."""
    real: NDArray[np.bool_]
    """(runs, longest) whether there is a point."""
    lag: Array
    """(longest, longest) distance between checkpoints of a run, in checkpoints."""

    @classmethod
    def of(cls, points: Points) -> Layout:
        """The layout of the points of a family."""
        starts = points.starts
        sizes = np.diff(np.append(starts, len(points.loss)))
        steps = np.arange(int(sizes.max()))
        real = steps[None, :] < sizes[:, None]
        place = np.where(real, starts[:, None] + steps[None, :], 0)
        return cls(place, real, np.abs(np.subtract.outer(steps, steps)).astype(float))


@dataclass(frozen=True)
class _Scales:
    """What the covariance is made of besides the parts of the noise; (runs, longest) each."""

    layout: Layout
    known: Array
    edge: Array
    """Variance of a score of exactly 0 or 1, which no share makes smaller."""
    there: Array
    steep: Array
    weight: Array

    @classmethod
    def of(cls, points: Points, ability: Array) -> _Scales:
        layout = Layout.of(points)
        known = items_variance(points, ability)
        edge = np.minimum(known, np.where(np.isfinite(points.count), 2 / points.count**2, 0.0))
        per_point = (known, edge, presence(ability), steepness(points, ability), points.weight)
        return cls(layout, *(values[layout.place] for values in per_point))

    def covariance(self, trials: list[Noise]) -> Array:
        """(trials, runs, longest, longest); padding is of variance one and independent."""

        def part(name: str) -> Array:
            return np.array([getattr(trial, name) for trial in trials])[:, None, None]

        run = np.hypot(part("run_chance"), part("run_ability") * self.there)
        drift = np.hypot(part("drift_chance"), part("drift_ability") * self.there) / np.sqrt(self.weight)
        # 0 ** 0 is one: a drift without memory is noise of each checkpoint's own.
        memory = part("memory") ** self.layout.lag
        block = run[..., :, None] * run[..., None, :] + drift[..., :, None] * drift[..., None, :] * memory[:, None]
        both = self.layout.real[:, :, None] & self.layout.real[:, None, :]
        block = np.where(both, block, 0.0)
        share = part("share")
        own = share * self.known + (1 - share) * self.edge + (part("loss") * self.steep) ** 2 + 1e-12
        diagonal = np.arange(block.shape[-1])
        block[..., diagonal, diagonal] += np.where(self.layout.real, own, 1.0)
        return np.asarray(block)


def variances(points: Points, noise: Noise, ability: Array) -> Array:
    """(n,) variance of each score, all parts counted, at a supposed ability."""
    scales = _Scales.of(points, ability)
    block = scales.covariance([noise])[0]
    return np.asarray(np.diagonal(block, axis1=1, axis2=2)[scales.layout.real])


def roots(points: Points, noise: Noise, ability: Array) -> list[Array]:
    """Inverse Cholesky factors by run: ``root @ residuals`` are independent with variance one."""
    scales = _Scales.of(points, ability)
    found = np.linalg.inv(np.linalg.cholesky(scales.covariance([noise])[0]))
    sizes = scales.layout.real.sum(axis=1)
    return [np.asarray(root[:size, :size]) for root, size in zip(found, sizes, strict=True)]


def whiten(roots_of_runs: list[Array], starts: NDArray[np.int64], values: Array) -> Array:
    """Values (n,) or (n, k) with the noise of each run made independent with variance one."""
    if all(len(root) == 1 for root in roots_of_runs):
        scale = np.array([root[0, 0] for root in roots_of_runs])
        return np.asarray(values * (scale if values.ndim == 1 else scale[:, None]))
    return np.concatenate(
        [root @ values[start : start + len(root)] for root, start in zip(roots_of_runs, starts, strict=True)]
    )


def estimate(
    points: Points, ability: Array, distance: Array, start: Noise | None = None, sweeps: int = 2
) -> tuple[Noise, float]:
    """The noise that best explains the ``distance`` of the points from a pilot law of this ability, and its log prior.

    Coordinate ascent over a coarse grid of each part: the likelihood is flat near its top, and a
    finer answer would be spurious.
    """
    scales = _Scales.of(points, ability)
    residuals = np.where(scales.layout.real, distance[scales.layout.place], 0.0)
    typical = float(np.sqrt(np.mean(distance**2))) + 1e-9
    unknown = not np.any(scales.known > 0)
    floor = typical if unknown else float(np.sqrt(np.median(scales.known[scales.layout.real])))
    reach = float(np.ptp(points.loss))
    steps = np.append(0.0, np.geomspace(0.15, 1.6, 7)) * typical
    options: dict[str, Array] = {
        "drift_chance": steps, "drift_ability": steps, "memory": np.array(MEMORIES),
        "run_chance": steps, "run_ability": steps, "share": np.array(SHARES),
        "loss": np.append(0.0, np.geomspace(4e-4, 1.2e-2, 6)) * reach,
    }  # fmt: skip
    if unknown:
        # Without a known part the rest must not vanish, and a share of nothing is nothing.
        del options["share"]
        options["drift_chance"] = steps[1:]
    best = Noise(drift_chance=float(steps[5]), drift_ability=float(steps[4])) if unknown else start or Noise()
    score = -np.inf
    for _ in range(sweeps):
        before = score
        for name, values in options.items():
            trials = [replace(best, **{name: float(value)}) for value in values]
            found = _support(scales, residuals, trials, floor, reach)
            if found.max() > score:
                best, score = trials[int(np.argmax(found))], float(found.max())
        if score - before < 0.05:
            break
    return best, _prior(best, floor, reach)


def _support(scales: _Scales, residuals: Array, trials: list[Noise], floor: float, reach: float) -> Array:
    """(trials,) log likelihood of the residuals, and the priors."""
    block = scales.covariance(trials)
    factor = np.linalg.cholesky(block)
    logs = np.log(np.diagonal(factor, axis1=2, axis2=3)).sum(axis=(1, 2))
    white = np.empty(block.shape[:3])
    for index in range(block.shape[-1]):
        # Forward substitution, one checkpoint of every run and trial at a time.
        told = np.einsum("trj,trj->tr", factor[:, :, index, :index], white[:, :, :index])
        white[:, :, index] = (residuals[:, index] - told) / factor[:, :, index, index]
    likelihood = -0.5 * (white**2).sum(axis=(1, 2)) - logs
    return np.asarray(likelihood + np.array([_prior(trial, floor, reach) for trial in trials]))


def _prior(noise: Noise, floor: float, reach: float) -> float:
    """Weak priors: exponential in each part, on the scale of the items' noise or half a point of score,
    and a preference for items as noisy as independent draws."""
    extra = noise.run_chance + noise.run_ability + noise.drift_chance + noise.drift_ability
    total = -extra / (3 * floor + 0.005) - noise.loss / (4e-3 * reach + 1e-12)
    return float(total - 1.5 * abs(np.log(noise.share)) ** 0.5 - 0.5 * noise.memory)
