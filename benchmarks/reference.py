"""Onset loss and threshold beside a long Markov chain of the same model, on planted tables.

    pip install emcee
    python benchmarks/reference.py [--tables 20] [--seed 71] [--steps 800]

The reference shares the definition of the model with `onset.stats.curve` (functional forms, priors, columns of shared
errors, estimated noise) and nothing of its computation: the covariance is dense and its coefficients are integrated
into it, heights and parameters are sampled by emcee's ensemble sampler (Foreman-Mackey et al. 2013; moves by
differential evolution), the weight of a form is a mean over draws from its prior. Printed are both medians and
intervals, and the largest difference of an end in shares of the interval. Forms further behind the best than ``BEHIND``
in onset's own comparison are left to it: they have no weight.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import emcee
import numpy as np
import pandas as pd
from scipy.special import logsumexp

from markdown import table
from onset.stats.curve.estimands import draws_of, quantiles
from onset.stats.curve.families import CurveFamily
from onset.stats.curve.model import CurveModel, fit_curve_model
from onset.stats.data import Array, curve_data
from planting import plant

KINDS = (
    "straight", "saturating", "bent_up", "sudden", "logistic", "exponential", "gompertz", "rounded", "tanh", "hill",
)  # fmt: skip
WALKERS, BURN, THIN = 32, 0.4, 5
BEHIND = 5.0
FROM_PRIOR = 200_000
DELTA, LEVEL = 0.02, 0.95


@dataclass
class Dense:
    """The scores of a fitted model with a dense covariance: noise, and errors that runs share."""

    model: CurveModel

    def __post_init__(self) -> None:
        likelihood, data = self.model.comparison.likelihood, self.model.window.data
        whitener = likelihood.noise.whiten(np.eye(len(data)))
        noise = np.linalg.inv(whitener.T @ whitener)
        covariance = noise + likelihood.columns @ likelihood.columns.T
        self.root = np.linalg.inv(np.linalg.cholesky(covariance))
        self.scores = self.root @ data.ability
        self.x, self.room = self.model.window.x, self.model.window.room

    def log_likelihood(self, family: CurveFamily, unit: Array, height: Array) -> Array:
        """(k,) of (k, d) places in the prior's unit cube and (k,) heights."""
        white = self.root @ (family.values(unit, self.x) * height)
        return np.asarray(-0.5 * ((self.scores[:, None] - white) ** 2).sum(axis=0))

    def log_marginal(self, family: CurveFamily, rng: np.random.Generator) -> float:
        """Mean likelihood over draws from the prior, the height among them integrated on a grid of its Gaussian."""
        found = []
        for _ in range(FROM_PRIOR // 10_000):
            white = self.root @ family.values(rng.random((10_000, len(family.bounds))), self.x)
            precision = np.maximum((white**2).sum(axis=0), 1e-12)
            best, sd = (self.scores @ white) / precision, 1.0 / np.sqrt(precision)
            grid = np.clip(best + sd * np.linspace(-6, 6, 61)[:, None], 0.0, self.room)
            logs = -0.5 * precision * (grid - best) ** 2
            area = np.trapezoid(np.exp(logs - logs.max(axis=0)), grid, axis=0) / self.room
            known = area > 0
            found.append(np.log(area[known]) + logs.max(axis=0)[known] + 0.5 * precision[known] * best[known] ** 2)
        return float(logsumexp(np.concatenate(found)) - np.log(FROM_PRIOR))

    def chain(self, family: CurveFamily, start: Array, steps: int, seed: int) -> tuple[Array, Array]:
        """Places (k, d) and heights (k,) of a long chain from a start (places and height)."""
        rng, dims = np.random.default_rng(seed), len(start)

        def log_density(at: Array) -> Array:
            inside = np.all((at[:, :-1] > 0) & (at[:, :-1] < 1), axis=1) & (at[:, -1] > 0) & (at[:, -1] < self.room)
            value = np.full(len(at), -np.inf)
            if inside.any():
                value[inside] = self.log_likelihood(family, at[inside, :-1], at[inside, -1])
            return value

        scale = np.r_[np.full(dims - 1, 1.0), self.room]
        first = np.clip(start + 0.02 * scale * rng.standard_normal((WALKERS, dims)), 1e-3 * scale, 0.999 * scale)
        moves = [(emcee.moves.DEMove(), 0.7), (emcee.moves.DESnookerMove(), 0.1), (emcee.moves.StretchMove(), 0.2)]
        sampler = emcee.EnsembleSampler(WALKERS, dims, log_density, vectorize=True, moves=moves)
        sampler.random_state = np.random.RandomState(seed).get_state()
        sampler.run_mcmc(first, steps)
        flat = sampler.get_chain(discard=int(BURN * steps), thin=THIN, flat=True)
        return flat[:, :-1], flat[:, -1]


def reference(model: CurveModel, delta: float, steps: int, seed: int) -> tuple[Array, Array, Array]:
    """Weighted onset losses and thresholds (NaN where there is none): values (k, 2) and weights (k,), by MCMC."""
    dense, window, rng = Dense(model), model.window, np.random.default_rng(seed)
    logs, parts = [], []
    for side in (True, False):
        samples = model.comparison.side(side)
        best = max(one.log_marginal for one in samples)
        for sample in samples:
            if sample.log_marginal < best - BEHIND:
                continue
            top = int(np.argmax(sample.log_weight))
            start = np.r_[sample.unit[top], np.clip(sample.solved.centre[top], 0.02 * window.room, 0.98 * window.room)]
            unit, height = dense.chain(sample.family, start, steps, seed)
            loss = np.linspace(window.low, float(window.data.loss.max()), 3000)
            excess = sample.family.values(unit, (loss - window.low) / window.span) * height
            onset = _first_above(loss, excess, delta)
            eta = window.low + window.span * sample.family.natural(unit)[0] if side else np.full(len(onset), np.nan)
            parts.append(np.column_stack([onset, eta]))
            logs.append(dense.log_marginal(sample.family, rng) - np.log(len(samples)))
    weights = np.exp(np.array(logs) - logsumexp(logs))
    shares = [np.full(len(part), weight / len(part)) for part, weight in zip(parts, weights, strict=True)]
    values = np.concatenate(parts)
    sides = np.array([np.isfinite(part[0, 1]) for part in parts])
    factor = np.log(weights[sides].sum()) - np.log(weights[~sides].sum())
    return values, np.concatenate(shares), np.asarray(factor)


def _first_above(loss: Array, excess: Array, delta: float) -> Array:
    above = excess >= delta
    found = loss[len(loss) - 1 - np.argmax(above[::-1], axis=0)]
    return np.where(above.any(axis=0), found, np.nan)


def weighted(values: Array, weights: Array) -> Array:
    """Lower end, median and upper end of weighted values, NaN left out."""
    known = np.isfinite(values)
    order = np.argsort(values[known])
    share = np.cumsum(weights[known][order])
    tail = (1 - LEVEL) / 2
    return np.interp([tail, 0.5, 1 - tail], (share - 0.5 * weights[known][order]) / share[-1], values[known][order])


def compared(kind: str, seed: int, steps: int) -> dict[str, object]:
    """One table: both answers, and the largest difference in shares of the reference's interval."""
    planted = plant(kind, seed, sizes=4, items=1500, known_items=True, checkpoints=16, bad_run="", families=1)
    model = fit_curve_model(curve_data(planted.observations))
    delta = DELTA / model.data.scale
    begin = time.process_time()
    values, weights, factor = reference(model, delta, steps, seed)
    seconds = time.process_time() - begin
    ours = draws_of(model.comparison, model.rows, 0)
    on = draws_of(model.comparison, model.rows, 0, side=True)
    row: dict[str, object] = {"kind": kind}
    pairs: list[tuple[str, Callable[[], Array], Array]] = [
        ("onset", lambda: ours.onset(delta), values[:, 0]), ("threshold", lambda: on.threshold, values[:, 1]),
    ]  # fmt: skip
    for name, mine, theirs in pairs:
        found, other = quantiles(mine(), LEVEL), weighted(theirs, weights)
        ends = np.array([found.low, found.value, found.high])
        row |= {
            name: f"{ends[1]:.3f} [{ends[0]:.3f}, {ends[2]:.3f}]",
            f"{name}, MCMC": f"{other[1]:.3f} [{other[0]:.3f}, {other[2]:.3f}]",
            f"{name}, difference": float(np.abs(ends - other).max() / max(other[2] - other[0], 1e-9)),
        }
    alone = model.comparison.log_marginal(True) - model.comparison.log_marginal(False)
    return {**row, "log BF": alone, "log BF, MCMC": float(factor), "seconds, MCMC": seconds}


def main() -> None:
    """Prints one row a table, and how many agree within a fifth of an interval."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=20)
    parser.add_argument("--seed", type=int, default=71)
    parser.add_argument("--steps", type=int, default=800)
    options = parser.parse_args()
    rows = []
    for index in range(options.tables):
        rows.append(compared(KINDS[index % len(KINDS)], options.seed * 1000 + index, options.steps))
        print(table(pd.DataFrame(rows[-1:])), flush=True)
    found = pd.DataFrame(rows)
    print(table(found, digits=2))
    for name in ("onset", "threshold"):
        agree = (found[f"{name}, difference"] < 0.2).sum()
        print(f"\n{name}: {agree} of {len(found)} agree within a fifth of an interval.")


if __name__ == "__main__":
    main()
