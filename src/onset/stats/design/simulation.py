"""A table of a family that was not trained, drawn from what is believed: losses, then scores of every checkpoint.

A checkpoint's loss is the law's at its tokens, higher by ``ANNEALING`` times the rate, with a deviation of its run. Its
score has the noise that the statistics suppose of real tables (``stats.noise``), and the luck of items that all models
share: an answer is right where a standard normal lies below a bound, and half of its variance is the item's own.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from onset.stats.data import Array
from onset.stats.design.belief import ANNEALING, BelievedCurve, BelievedLaw
from onset.stats.design.family import Family, PlannedRun
from onset.stats.loss_rows import rate_shapes
from onset.stats.mixed.smooth_curve import FULL_EFFECT
from onset.stats.noise import presence

SHARED = 0.5
"""Part of the variance of an answer that is the item's own, the same for all models."""

WITHIN = 5e-4
"""Standard deviation of log loss from checkpoint to checkpoint, by the batch and the held-out text."""

MOST_ITEMS = 4000
"""Items are drawn one by one up to so many; of more, the error of a mean is as small as it should be all the same."""


@dataclass(frozen=True)
class Simulated:
    """Tables of one draw, the same runs, losses and noise."""

    none: pd.DataFrame
    """Without an effect of size."""
    effect: pd.DataFrame
    """With the effect of size that was asked for."""


def simulate(family: Family, law: BelievedLaw, curve: BelievedCurve, effect_pp: float, seed: int) -> Simulated:
    """One table of a family, with and without a size effect of ``effect_pp`` points a decade of parameters.

    The noise of a run depends on the seed and its name alone, so that families that share runs share their luck.
    """
    table = checkpoints(family, law, seed)
    loss = table["loss"].to_numpy(float)
    base, extra = _abilities(table, curve, seed)
    decades = np.log10(table["params"].to_numpy(float))
    ends = np.log10([run.params for run in family.runs])
    visible = np.clip(curve.at(loss) / FULL_EFFECT, 0.0, 1.0)
    moved = visible * effect_pp / 100.0 * (decades - ends.mean())
    frames = [
        _table(table, curve, family, _answers(table, curve.chance + base + more + extra, family.items, seed))
        for more in (np.zeros(len(loss)), moved)
    ]
    return Simulated(*frames)


def checkpoints(family: Family, law: BelievedLaw, seed: int) -> pd.DataFrame:
    """``run, params, tokens, loss, schedule`` of all checkpoints of one draw."""
    frames = []
    for run in family.runs:
        rng = _luck(seed, run.name, 0)
        share = np.array(run.shares)
        rate = rate_shapes(share).get(run.schedule, np.zeros(len(share)))
        noise = law.spread * rng.standard_normal() + WITHIN * rng.standard_normal(len(share))
        loss = law.loss(run.params, run.tokens * share) * np.exp(ANNEALING * rate + noise)
        frames.append(
            pd.DataFrame({
                "run": run.name, "params": run.params, "tokens": run.tokens * share, "loss": loss,
                "schedule": run.schedule,
            })
        )  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def final_score(run: PlannedRun, law: BelievedLaw, curve: BelievedCurve, seed: int) -> float:
    """What a run of that size and number of tokens scores at its end, with its own luck and without that of items."""
    end = Family("end", (run,), np.inf)
    table = checkpoints(end, law, seed).tail(1)
    base, extra = _abilities(table, curve, seed)
    return float(np.clip(curve.chance + base + extra, 0.0, 1.0)[0])


def _abilities(table: pd.DataFrame, curve: BelievedCurve, seed: int) -> tuple[Array, Array]:
    """Ability of each row with its run's shift along the loss, and what runs and drift add."""
    loss, noise = table["loss"].to_numpy(float), curve.noise
    lowest = float(loss.min())
    base, extra = np.empty(len(loss)), np.empty(len(loss))
    for name, rows in table.groupby("run", sort=False):
        rng = _luck(seed, str(name), 1)
        run, shift = rng.standard_normal(2)
        here = rows.index.to_numpy() - table.index[0]
        measured = noise.loss * lowest * rng.standard_normal(len(here))
        base[here] = curve.at(loss[here] + noise.shift * lowest * shift + measured)
        extra[here] = noise.run * run + noise.drift * _drift(len(here), noise.memory, rng)
    return base, extra * presence(base)


def _drift(count: int, memory: float, rng: np.random.Generator) -> Array:
    """A stationary series of variance one in which neighbours correlate by ``memory``."""
    steps, series, last = rng.standard_normal(count), np.empty(count), 0.0
    for place, step in enumerate(steps):
        last = step if place == 0 else memory * last + np.sqrt(1.0 - memory**2) * step
        series[place] = last
    return series


def _answers(table: pd.DataFrame, share: Array, items: float, seed: int) -> Array:
    """Share of right answers of each row, on the same items for all."""
    count = round(min(items, MOST_ITEMS))
    item = _luck(seed, "items", 2).standard_normal(count).astype(np.float32)
    bound = ndtri(np.clip(share, 1e-6, 1.0 - 1e-6))
    chance = ndtr((bound[:, None] - np.sqrt(SHARED) * item[None, :]) / np.sqrt(1.0 - SHARED))
    own = np.empty(len(share))
    for name, rows in table.groupby("run", sort=False):
        here = rows.index.to_numpy()
        own[here] = _luck(seed, str(name), 3).standard_normal(len(here))
    mean = chance.mean(axis=1) + own * np.sqrt(np.mean(chance * (1.0 - chance), axis=1) / count)
    # Means of more items than were drawn lie nearer to what is expected by the root of their number.
    return np.asarray(np.clip(share + (mean - share) * np.sqrt(count / items), 0.0, 1.0))


def _table(table: pd.DataFrame, curve: BelievedCurve, family: Family, score: Array) -> pd.DataFrame:
    return table.assign(
        family=family.name, loss_name="simulated", loss_unit="nats/token", task=curve.task, metric=curve.metric,
        score=np.round(score * family.items) / family.items, chance=curve.chance, n_examples=family.items,
        direction="higher", step=np.nan, flops=6.0 * table["params"] * table["tokens"], stderr=np.nan,
    )  # fmt: skip


def _luck(seed: int, name: str, part: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(name.encode()), part])
