"""A two-parameter item response model with a known guessing rate: difficulty and discrimination of each question.

    P(right | ability) = guess + (1 - guess) * logistic(discrimination * (ability - difficulty))

Abilities of checkpoints are standard normal and integrated over (marginal maximum likelihood, Bock and Aitkin 1981);
items are fitted by Newton steps with weak priors: log discrimination ~ N(0, 1), difficulty ~ N(0, 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from onset.stats.data import Array

NODES = 41
REACH = 4.5
"""Abilities are integrated over from minus to plus so many standard deviations."""
MOST_STEPS = 200
CLOSE = 1e-4
LOG_SLOPE, DIFFICULTY = 1.0, 3.0
"""Standard deviations of the priors."""


@dataclass(frozen=True, eq=False)
class ItemResponse:
    """A fitted model; arrays by item and by checkpoint."""

    difficulty: Array
    discrimination: Array
    ability: Array
    """Posterior mean of each checkpoint, in standard deviations."""
    guess: float

    def information(self, ability: float) -> Array:
        """(items,) Fisher information about an ability (Lord 1980): p'^2 / (p (1 - p))."""
        logistic = expit(self.discrimination * (ability - self.difficulty))
        share = self.guess + (1.0 - self.guess) * logistic
        slope = (1.0 - self.guess) * self.discrimination * logistic * (1.0 - logistic)
        return np.asarray(slope**2 / np.maximum(share * (1.0 - share), 1e-9))


def fit(value: Array, guess: float = 0.0) -> ItemResponse:
    """The model of answers (checkpoints, items), 0 to 1, NaN where not asked."""
    told = np.isfinite(value)
    credit = np.where(told, value, 0.0)
    nodes = np.linspace(-REACH, REACH, NODES)
    weight = np.exp(-0.5 * nodes**2)
    weight /= weight.sum()
    share = np.clip((credit.sum(axis=0) + 0.5) / (told.sum(axis=0) + 1.0), guess + 0.01, 0.99)
    inner = np.clip((share - guess) / (1.0 - guess), 0.01, 0.99)
    slope, cross = np.ones(len(share)), -np.log(inner / (1.0 - inner))
    posterior = np.zeros((len(value), NODES))
    for _ in range(MOST_STEPS):
        posterior = _abilities(credit, told, slope, cross, nodes, weight, guess)
        right, asked = credit.T @ posterior, told.T.astype(float) @ posterior
        new_slope, new_cross = _items(right, asked, slope, cross, nodes, guess)
        change = max(float(np.abs(new_slope - slope).max()), float(np.abs(new_cross - cross).max()))
        slope, cross = new_slope, new_cross
        if change < CLOSE:
            break
    return ItemResponse(cross, slope, posterior @ nodes, guess)


def _shares(slope: Array, cross: Array, nodes: Array, guess: float) -> Array:
    """(items, nodes) probability of a right answer."""
    return np.asarray(guess + (1.0 - guess) * expit(slope[:, None] * (nodes[None, :] - cross[:, None])))


def _abilities(
    credit: Array, told: Array, slope: Array, cross: Array, nodes: Array, weight: Array, guess: float
) -> Array:
    """(checkpoints, nodes) posterior of abilities."""
    share = np.clip(_shares(slope, cross, nodes, guess), 1e-6, 1.0 - 1e-6)
    logs = credit @ np.log(share) + (told - credit) @ np.log1p(-share) + np.log(weight)
    made = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(made / made.sum(axis=1, keepdims=True))


def _items(
    right: Array, asked: Array, slope: Array, cross: Array, nodes: Array, guess: float, steps: int = 3
) -> tuple[Array, Array]:
    """Newton steps (Fisher scoring) of all items at once, in log slope and difficulty."""
    log_slope, place = np.log(slope), cross.copy()
    for _ in range(steps):
        a = np.exp(log_slope)[:, None]
        logistic = expit(a * (nodes[None, :] - place[:, None]))
        share = np.clip(guess + (1.0 - guess) * logistic, 1e-6, 1.0 - 1e-6)
        steep = (1.0 - guess) * logistic * (1.0 - logistic)
        score = (right - asked * share) / (share * (1.0 - share)) * steep
        weight = asked * steep**2 / (share * (1.0 - share))
        by_slope, by_place = a * (nodes[None, :] - place[:, None]), -a * np.ones_like(nodes)[None, :]
        gradient = np.stack([
            (score * by_slope).sum(axis=1) - log_slope / LOG_SLOPE**2,
            (score * by_place).sum(axis=1) - place / DIFFICULTY**2,
        ], axis=1)  # fmt: skip
        hessian = np.empty((len(place), 2, 2))
        hessian[:, 0, 0] = (weight * by_slope**2).sum(axis=1) + LOG_SLOPE**-2
        hessian[:, 1, 1] = (weight * by_place**2).sum(axis=1) + DIFFICULTY**-2
        hessian[:, 0, 1] = hessian[:, 1, 0] = (weight * by_slope * by_place).sum(axis=1)
        step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        step = np.clip(step, -1.0, 1.0)
        log_slope, place = log_slope + step[:, 0], place + step[:, 1]
    return np.exp(np.clip(log_slope, -4.0, 4.0)), np.clip(place, -9.0, 9.0)
