"""Loss spikes as natural experiments: tokens and size stay while the loss jumps, so which of them do scores follow?

At a spike the score is compared with two predictions: that of the neighbouring checkpoints, at the same tokens and
size, and that of the task's curve at the loss of the spike. ``ratio`` is the drop that is seen as a share of the drop
that the loss predicts, over all tasks by weighted least squares through zero: 1 where scores follow the loss, 0 where
they follow the tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy import stats

from onset.metrics import info as metrics
from onset.results import SpikeEffect, SpikeVerdict, check_level
from onset.stats.data import Array, curve_data
from onset.stats.mixed.smooth_curve import fit_curve
from onset.stats.noise import item_variance
from onset.stats.parallel import Workers

NEIGHBOURS = 3
"""Checkpoints on each side whose losses say what the loss should be."""

SPIKE_SHARE = 0.03
"""Least excess of a spike, as a share of the loss."""

SPIKE_DEVIATIONS = 6.0
"""Least excess in robust standard deviations of the losses about their neighbours."""

EDGE_SHARE = 0.1
"""Least share at the first checkpoint of a run, where only later ones are neighbours and the loss falls by itself."""

EDGE_TOKENS = 1.5
"""The first checkpoint is compared where the next has at most so many times its tokens."""

FEWEST_TASKS = 3

FARTHEST = 1.0
"""A spike may lie this many ranges of the calm losses above the highest of them for the curve to say what it does."""


@dataclass(frozen=True)
class Spike:
    """A checkpoint whose loss lies far above that of its neighbours in the same run."""

    run: str
    tokens: float
    loss: float
    expected: float
    """Loss by its neighbours."""


def find_spikes(obs: pd.DataFrame) -> tuple[Spike, ...]:
    """The spikes of a table's runs: columns ``run, tokens, loss`` (rows may repeat over tasks), one loss measure."""
    rows = obs[["run", "tokens", "loss"]].dropna().drop_duplicates(["run", "tokens"]).sort_values(["run", "tokens"])
    found = []
    for run, part in rows.groupby("run", sort=True):
        tokens, loss = part["tokens"].to_numpy(float), part["loss"].to_numpy(float)
        if len(loss) < 2 * NEIGHBOURS:
            continue
        expected = _expected(loss)
        off = loss - expected
        spread = 1.4826 * float(np.median(np.abs(off - np.median(off)))) + 1e-12
        least = np.full(len(loss), SPIKE_SHARE)
        least[0] = EDGE_SHARE if tokens[1] <= EDGE_TOKENS * tokens[0] else np.inf
        here = (off > SPIKE_DEVIATIONS * spread) & (off > least * expected)
        found += [Spike(str(run), tokens[place], loss[place], expected[place]) for place in np.flatnonzero(here)]
    return tuple(found)


def _expected(loss: Array) -> Array:
    """Median of the losses of up to three checkpoints before and three after."""
    expected = np.empty(len(loss))
    for place in range(len(loss)):
        around = [loss[max(place - NEIGHBOURS, 0) : place], loss[place + 1 : place + 1 + NEIGHBOURS]]
        # The loss falls: the middle of what was before and of what came after is fair to both sides.
        expected[place] = np.mean([np.median(side) for side in around if len(side)])
    return expected


def spike_effects(
    obs: pd.DataFrame, *, level: float = 0.95, spikes: Sequence[Spike] | None = None, workers: Workers | None = None
) -> tuple[SpikeEffect, ...]:
    """At each spike of one loss measure, whether scores follow the loss or the tokens.

    Each task counts once, by its headline metric. ``spikes`` are given where they are known; else they are found in
    the losses. ``workers`` share the tasks.
    """
    check_level(level)
    found = find_spikes(obs) if spikes is None else tuple(spikes)
    if not found:
        return ()
    marks = {(spike.run, spike.tokens) for spike in found}
    # Other metrics of the same items are no further evidence.
    parts = [
        rows[rows["metric"] == metrics.headline(sorted(rows["metric"].unique()))]
        for _, rows in obs.groupby("task", sort=True)
    ]
    each = partial(_of_task, spikes=found, marks=marks)
    made = [each(rows) for rows in parts] if workers is None else workers.map(each, parts)
    tables: dict[Spike, list[dict[str, object]]] = {spike: [] for spike in found}
    for rows, entries in zip(parts, made, strict=True):
        for spike, entry in entries:
            tables[spike].append({"task": rows["task"].iloc[0], "metric": rows["metric"].iloc[0], **entry})
    spiked = pd.MultiIndex.from_arrays([obs["run"].astype(str), obs["tokens"]]).isin(list(marks))
    calm = obs["loss"][~spiked]
    limit = float(calm.max() + FARTHEST * np.ptp(calm)) if len(calm) else -np.inf
    return tuple(_judged(spike, pd.DataFrame(tables[spike]), level, spike.loss > limit) for spike in found)


def _of_task(
    rows: pd.DataFrame, spikes: Sequence[Spike], marks: set[tuple[str, float]]
) -> list[tuple[Spike, dict[str, object]]]:
    """What one task shows at each spike, against the curve of all checkpoints that are none."""
    spiked = np.array([(str(run), tokens) in marks for run, tokens in zip(rows["run"], rows["tokens"], strict=True)])
    calm = rows[~spiked]
    if len(calm) < 8 or calm["loss"].nunique() < 4:
        return []
    data = curve_data(calm)
    curve = fit_curve(data, within_family=False, even=True)
    items = float(np.median(item_variance(data)[0])) + curve.model.parts.drift**2
    highest, known = float(data.loss.max()), data.chance.value is not None
    told: list[tuple[Spike, dict[str, object]]] = []
    for spike in spikes:
        here = rows[
            spiked & (rows["run"].astype(str) == spike.run).to_numpy() & (rows["tokens"] == spike.tokens).to_numpy()
        ]
        by_tokens = _by_tokens(calm[calm["run"].astype(str) == spike.run], spike.tokens)
        if len(here) != 1 or by_tokens is None:
            continue
        mean, deviation = curve.mean_at(np.array([spike.loss if known else min(spike.loss, highest)]))
        chance = data.chance.value or 0.0
        unit = data.sign / data.scale
        floor = 0.0 if known else -np.inf
        # At chance the prediction is what guessing gives, however far the curve had to go on to get there.
        spread = float(deviation[0]) if mean[0] > floor else 0.0
        seen = float(here["score"].iloc[0])
        told.append(
            (spike, {
                "seen": seen, "by_tokens": by_tokens, "by_loss": float(data.to_score(np.maximum(mean[:1], floor))[0]),
                "drop": unit * (by_tokens - seen),
                "predicted": unit * (by_tokens - chance) - max(float(mean[0]), floor),
                "error": float(np.sqrt(1.5 * items + spread**2)),
            })
        )  # fmt: skip
    return told


def _by_tokens(run: pd.DataFrame, tokens: float) -> float | None:
    """Mean score of the nearest calm checkpoints before and after; the nearest one at the edge of a run."""
    before, after = (
        run[run["tokens"] < tokens].nlargest(1, "tokens"),
        run[run["tokens"] > tokens].nsmallest(1, "tokens"),
    )
    near = pd.concat([before, after])["score"]
    return float(near.mean()) if len(near) else None


def _judged(spike: Spike, tasks: pd.DataFrame, level: float, beyond: bool) -> SpikeEffect:
    could = tasks[tasks["predicted"] > 0] if len(tasks) else tasks
    said = (
        f"At {spike.tokens:.4g} tokens the loss of run '{spike.run}' is {spike.loss:.3g} where {spike.expected:.3g} "
        "was expected"
    )
    known = {"run": spike.run, "tokens": spike.tokens, "loss": spike.loss, "expected": spike.expected,
             "level": level, "n_tasks": len(could), "tasks": tasks}  # fmt: skip
    if len(could) < FEWEST_TASKS:
        count = f"only {len(could)} task{' is' if len(could) == 1 else 's are'} predicted to drop"
        return SpikeEffect(verdict="inconclusive", why=f"{said}; {count}.", **known)
    ratio, low, high = _ratio(could, level)
    verdict = _verdict(low, high, beyond)
    words = {
        "loss": "scores follow the loss", "tokens": "scores follow the tokens", "between": "scores lie between the two",
        "not_tokens": "scores do not follow the tokens; no other checkpoint has a loss near this one, so how much of "
        "the drop the loss explains is not known", "inconclusive": "the interval holds both",
    }[verdict]  # fmt: skip
    why = (
        f"{said}; over {len(could)} tasks scores drop by {ratio:.2f} [{low:.2f}, {high:.2f}] of what the loss "
        f"predicts: {words}."
    )
    return SpikeEffect(verdict=verdict, ratio=ratio, low=low, high=high, why=why, **known)


def _ratio(could: pd.DataFrame, level: float) -> tuple[float, float, float]:
    """The drop that is seen as a share of the one predicted, by weighted least squares, with its t interval."""
    weight, predicted = 1.0 / could["error"].to_numpy() ** 2, could["predicted"].to_numpy()
    drop = could["drop"].to_numpy()
    strength = float(weight @ predicted**2)
    ratio = float(weight @ (drop * predicted)) / strength
    freedom = len(could) - 1
    # Tasks differ by more than their items: the spread of their own ratios counts where it is the larger one.
    excess = max(1.0, float(weight @ (drop - ratio * predicted) ** 2) / freedom)
    reach = float(stats.t.ppf(0.5 + level / 2, freedom)) * np.sqrt(excess / strength)
    return ratio, ratio - reach, ratio + reach


def _verdict(low: float, high: float, beyond: bool) -> SpikeVerdict:
    none, whole = low <= 0.0 <= high, low <= 1.0 <= high
    if none and whole:
        return "inconclusive"
    if none or high < 0.0:
        return "tokens"
    if beyond:
        return "not_tokens"
    # Beyond the drop that the loss predicts it is the loss all the more.
    return "loss" if whole or low > 1.0 else "between"
