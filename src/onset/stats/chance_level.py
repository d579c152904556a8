"""Scores and chance: runs above it without a curve, and scores at a few fixed levels (answer-label bias)."""

from __future__ import annotations

import numpy as np

from onset.stats.curve.model import CurveModel
from onset.stats.data import CurveData
from onset.stats.noise import item_variance

CLEAR = 4.0
"""Standard errors at which a run is above chance by itself: the clearest of many is looked at."""
FEWEST = 10
"""Scores at high losses without which no levels are seen."""
EACH, ALL = 0.15, 0.4
"""Share of the scores that sit at one fixed level, and at such levels together."""


def runs_above_chance(model: CurveModel) -> tuple[str, ...]:
    """Runs whose scores together exceed chance by ``CLEAR`` standard errors, items counted once.

    Of a run with three checkpoints or more the best does not count: one lucky checkpoint is no run above chance.
    """
    data = model.window.data
    if data.chance.value is None:
        return ()
    # By their own item error, and not by a noise that was fitted to explain the scatter of such runs.
    items, _ = item_variance(data, np.zeros(len(data)))
    weight = 1.0 / items
    for run in np.flatnonzero(np.bincount(data.run) >= 3):
        mine = np.flatnonzero(data.run == run)
        weight[mine[np.argmax(data.ability[mine] / np.sqrt(items[mine]))]] = 0.0
    own = 1.0 / np.bincount(data.run, weight)
    total = np.bincount(data.run, data.ability * weight) * own
    clear = total / np.sqrt(own + float(np.median(items)))
    return tuple(name for run, name in enumerate(data.runs) if clear[run] > CLEAR)


def label_bias_note(data: CurveData, above: float | None) -> list[str]:
    """A warning where scores at losses above ``above`` (None: all) sit at few fixed levels away from chance."""
    high = data.loss > (above if above is not None else data.loss.min() - 1.0)
    chance = data.chance.value
    if chance is None or high.sum() < FEWEST:
        return []
    scores = np.round(data.score[high] / data.scale, 3)
    known = data.item_variance()
    known = known[np.isfinite(known)]
    error = float(np.sqrt(np.median(known))) if known.size else np.nan
    levels, counts = np.unique(scores, return_counts=True)
    away = np.abs(levels - chance / data.scale) > 2.0 * (error if np.isfinite(error) else 0.01)
    fixed = np.flatnonzero(away & (counts >= EACH * high.sum()))
    if counts[fixed].sum() < ALL * high.sum():
        return []
    named = ", ".join(f"{levels[index] * data.scale:.3g}" for index in fixed)
    return [
        f"{int(counts[fixed].sum())} of {int(high.sum())} scores at high losses sit at fixed levels ({named}) away "
        f"from chance ({chance:.3g}): these models may give one label to all items."
    ]
