"""The scores of a planted curve: runs and families that differ, faults of real tables, and the luck of the items."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

if TYPE_CHECKING:
    from planting import Design

Array = NDArray[np.float64]
Curve = Callable[[Array], Array]

CHANCE = (
    "chance", "chance_wobbly", "chance_shifted", "chance_drift_down", "lucky_checkpoint", "lucky_run",
    "chance_same_items",
)  # fmt: skip


def measured(table: pd.DataFrame, plan: Design, curve: Curve, rng: np.random.Generator, kind: str) -> pd.DataFrame:
    """The table with scores of a curve, as someone would hand it in."""
    loss = table["loss"].to_numpy()
    codes, families = pd.factorize(table["run"])[0], pd.factorize(table["family"])[0]
    shift = plan.run_shift * rng.standard_normal(codes.max() + 1)
    # A run sets in earlier or later: its scores are those of another loss.
    clean = curve(loss + shift[codes])
    ability = clean - plan.chance
    there = np.clip(ability / 0.02, 0, 1) if kind not in CHANCE else np.zeros(len(loss))
    decades = np.log10(table["params"].to_numpy() / 1e9)
    decades = decades - decades.mean()
    score = clean + there * plan.effect / 100 * decades
    if families.max() > 0:
        offsets = plan.family_offset * rng.standard_normal(families.max() + 1)
        score += there * (offsets - offsets.mean())[families]
    runs_seen = table["run"].to_numpy()
    names = list(dict.fromkeys(runs_seen))
    bad = names[int(rng.integers(len(names)))]
    # Runs differ more where there is an ability than where all guess.
    share = 0.25 + 0.75 * there
    for name in names:
        here = runs_seen == name
        score[here] += share[here] * plan.run_noise * rng.standard_normal()
        score[here] += share[here] * plan.drift * _drift(int(here.sum()), 0.7, rng)
        if plan.bad_run == "noisy" and name == bad:
            score[here] += share[here] * 0.02 * rng.standard_normal(int(here.sum()))
        if plan.bad_run == "shifted" and name == bad:
            score[here] += there[here] * 0.05 * rng.choice([-1.0, 1.0])
        if kind == "chance_wobbly":
            score[here] += 0.012 * _drift(int(here.sum()), 0.6, rng)
        if kind == "chance_drift_down":
            part = np.linspace(0, 1, int(here.sum()))
            score[here] -= min(0.03, plan.chance) * part
    if kind == "lucky_checkpoint":
        score[int(rng.integers(len(score)))] += rng.uniform(0.05, 0.15)
    if kind == "lucky_run":
        # Contaminated: one run knows the answers early, the others at the same losses do not.
        lucky = (runs_seen == bad) & (loss < np.quantile(loss, 0.5))
        score[lucky] += rng.uniform(0.05, 0.15)
    if kind == "chance_shifted":
        # Letters answered by habit score what the answer key makes of the habit.
        score += rng.standard_normal() * np.sqrt(plan.chance * (1 - plan.chance) / plan.items)
    if kind == "chance_same_items":
        score = _same_items(loss, plan, rng)
    else:
        score = rng.binomial(plan.items, np.clip(score, 0, 1)) / plan.items
    frame = table.assign(
        loss=loss + plan.loss_noise * rng.standard_normal(len(loss)),
        task=kind,
        metric="accuracy",
        score=score,
        chance=plan.chance,
        n_examples=plan.items if plan.known_items else np.nan,
        direction="higher",
    )
    if plan.lower_is_better:
        frame = frame.assign(score=1 - frame["score"], chance=1 - plan.chance, metric="brier", direction="lower")
    return frame


def _same_items(loss: Array, plan: Design, rng: np.random.Generator) -> Array:
    """Chance on the same items for everybody: answers stay as they are between models near to each other in loss."""
    places = 64
    anew, own = rng.uniform(0.1, 0.8) / places, rng.uniform(0.02, 0.2)
    at = np.rint((plan.high - loss) / (plan.high - plan.low) * (places - 1)).astype(int).clip(0, places - 1)
    right = rng.random(plan.items) < plan.chance
    score = np.empty(len(loss))
    for place in range(places):
        drawn = rng.random(plan.items) < plan.chance
        right = np.where(rng.random(plan.items) < anew, drawn, right)
        for index in np.flatnonzero(at == place):
            guessed = rng.random(plan.items) < plan.chance
            score[index] = np.where(rng.random(plan.items) < own, guessed, right).mean()
    return score


def _drift(count: int, memory: float, rng: np.random.Generator) -> Array:
    """A stationary series of variance one in which neighbours share ``memory`` of their value."""
    steps = rng.standard_normal(count)
    series = np.empty(count)
    for index in range(count):
        last = series[index - 1] if index else 0.0
        series[index] = memory * last + (np.sqrt(1 - memory**2) if index else 1.0) * steps[index]
    return series
