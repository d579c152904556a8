"""The loss at which each question is answered for good, with its uncertainty, from right and wrong answers.

    P(right | loss) = guess + (1 - slip - guess) * logistic(slope * (place - loss))

An item response model whose ability is known: it is the loss of the checkpoint. ``place`` and ``slope`` are integrated
over on a grid, so that every item has an exact posterior however few of its answers differ; the prior of slopes is
learnt from all items of the task (empirical Bayes). Checkpoints of a run answer alike: the likelihood is taken to the
power of what so many independent ones would count for (by the correlation of neighbours, as in a composite likelihood).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit

from onset.stats.data import Array

SLIP = 0.02
"""Known questions are answered wrong so often: one late mistake does not say that a question was never learnt."""
PLACES, SLOPES = 120, 12
STEPS = 8
"""Of the expectation maximisation of the prior of slopes."""
BEYOND = 0.5
"""How far the grid of places goes on beyond the losses seen, as a share of their range: half of the prior is there."""


@dataclass(frozen=True, eq=False)
class Responses:
    """Answers of one task: rows are checkpoints in the order of (run, training), columns are items."""

    items: tuple[str, ...]
    run: np.ndarray
    """(n,) numbers of runs."""
    loss: Array
    """(n,)"""
    value: Array
    """(n, items) credit of each answer, 0 to 1; NaN where it was not asked."""


def responses(rows: pd.DataFrame) -> Responses:
    """Item values (``run, step, item, value, loss``) of one task as a matrix."""
    wide = rows.pivot_table(index=["run", "step"], columns="item", values="value", aggfunc="first")
    loss = rows.groupby(["run", "step"])["loss"].first().reindex(wide.index).to_numpy(float)
    run = pd.factorize(wide.index.get_level_values("run"))[0]
    return Responses(tuple(map(str, wide.columns)), run, loss, wide.to_numpy(float))


def learnt_at(asked: Responses, guess: float, level: float = 0.95) -> pd.DataFrame:
    """One row an item: ``item, loss, low, high, known, state, slope, flips, right, asked``.

    ``loss`` with ``low, high`` is where it is answered for good; missing where that lies beyond the losses seen:
    ``state`` is ``learnt``, ``not_yet`` or ``from_the_start`` by the larger part of the posterior, and ``known`` the
    probability that it is learnt by the lowest loss. ``slope`` in units of the logit per unit of loss. ``flips`` counts
    right answers that went wrong at the next checkpoint of a run.
    """
    ends = float(asked.loss.min()), float(asked.loss.max())
    places, slopes, curves = _grid(ends, asked.loss, guess)
    told = np.isfinite(asked.value)
    credit = np.where(told, asked.value, 0.0)
    power = _independent(asked)
    logs = power * (credit.T @ np.log(curves) + (told - credit).T @ np.log1p(-curves))
    posterior = _with_prior(logs.reshape(len(asked.items), len(places), len(slopes)))
    by_place = posterior.sum(axis=2)
    cumulated = np.cumsum(by_place, axis=1)
    tail = (1.0 - level) / 2.0
    low, middle, high = (np.array([np.interp(at, one, places) for one in cumulated]) for at in (tail, 0.5, 1.0 - tail))
    known = by_place[:, places >= ends[0]].sum(axis=1)
    early = by_place[:, places > ends[1]].sum(axis=1)
    state = np.select([early > 0.5, known < 0.5], ["from_the_start", "not_yet"], "learnt")
    here = state == "learnt"
    return pd.DataFrame({
        "item": asked.items, "loss": np.where(here, np.clip(middle, *ends), np.nan),
        "low": np.where(here, np.clip(low, *ends), np.nan), "high": np.where(here, np.clip(high, *ends), np.nan),
        "known": known, "state": state, "slope": posterior.sum(axis=1) @ slopes, "flips": flips(asked),
        "right": np.nanmean(np.where(told, asked.value, np.nan), axis=0), "asked": told.sum(axis=0),
    })  # fmt: skip


def flips(asked: Responses) -> np.ndarray:
    """(items,) right answers that were wrong at the next checkpoint of the same run (Toneva et al. 2019)."""
    same = asked.run[1:] == asked.run[:-1]
    lost = (asked.value[:-1] > 0.5) & (asked.value[1:] < 0.5)
    return np.asarray((lost & same[:, None]).sum(axis=0))


def _grid(ends: tuple[float, float], loss: Array, guess: float) -> tuple[Array, Array, Array]:
    """Places, slopes, and the probability of a right answer (checkpoints, places * slopes)."""
    span = max(ends[1] - ends[0], 1e-9)
    places = np.linspace(ends[0] - BEYOND * span, ends[1] + BEYOND * span, PLACES)
    slopes = np.geomspace(4.0 / span, 400.0 / span, SLOPES)
    depth = slopes[None, None, :] * (places[None, :, None] - loss[:, None, None])
    curves = guess + (1.0 - SLIP - guess) * expit(depth)
    return places, slopes, np.clip(curves, 1e-4, 1.0 - 1e-4).reshape(len(loss), -1)


def _with_prior(logs: Array) -> Array:
    """(items, places, slopes) posterior, flat in place, the prior of slopes learnt from all items."""
    # Single precision: a benchmark of 14,000 questions has 20 million places and slopes.
    likelihood = np.exp(logs - logs.max(axis=(1, 2), keepdims=True)).astype(np.float32)
    prior = np.full(logs.shape[2], 1.0 / logs.shape[2], dtype=np.float32)
    for _ in range(STEPS):
        joint = likelihood * prior
        posterior = joint / joint.sum(axis=(1, 2), keepdims=True)
        # Two items' worth of the flat prior keep every slope possible.
        prior = posterior.sum(axis=(0, 1), dtype=np.float64).astype(np.float32) + np.float32(2.0 / len(prior))
        prior /= prior.sum()
    return np.asarray(posterior, dtype=float)


def _independent(asked: Responses) -> float:
    """What one checkpoint counts for: (1 - r) / (1 + r), r the correlation of neighbours' answers about their curve."""
    rest = _about_a_step(asked)
    same = asked.run[1:] == asked.run[:-1]
    if same.sum() < 3:
        return 1.0
    first, second = rest[:-1][same], rest[1:][same]
    total = float(np.sqrt((first**2).sum() * (second**2).sum()))
    r = float((first * second).sum()) / total if total > 0 else 0.0
    return (1.0 - r) / (1.0 + r) if r > 0 else 1.0


def _about_a_step(asked: Responses) -> Array:
    """(n, items) answers less each item's means above and below the loss that divides them best."""
    order = np.argsort(-asked.loss, kind="stable")
    told = np.isfinite(asked.value[order])
    value = np.where(told, asked.value[order], 0.0)
    sums, counts = value.cumsum(axis=0), told.cumsum(axis=0)
    early = sums / np.maximum(counts, 1)
    late = (sums[-1] - sums) / np.maximum(counts[-1] - counts, 1)
    gain = early**2 * counts + late**2 * (counts[-1] - counts)
    cut, every = gain.argmax(axis=0), np.arange(value.shape[1])
    before = np.arange(len(order))[:, None] <= cut[None, :]
    rest = np.empty_like(value)
    rest[order] = np.where(told, value - np.where(before, early[cut, every], late[cut, every]), 0.0)
    return rest
