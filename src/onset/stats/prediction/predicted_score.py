"""The score of a run that was not made, from its loss: draws from the average curve of one task.

A draw has the curve's own uncertainty, what a slope may change beyond the losses seen, runs and families that differ,
drift within a run, and the items. ``averaging`` says how the curves are weighted and by how much the table's own
larger sizes, predicted from its smaller ones, stretch the interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from onset.stats.data import Array, Bools, CurveData
from onset.stats.prediction.averaging import (
    FEWEST_LOSSES,
    FEWEST_ROWS,
    Averaging,
    average,
    beyond,
    candidates,
    rolling,
)
from onset.stats.prediction.local_logistic import LocalLogistic

ABOVE = 2.0
"""Standard errors above chance at the lowest losses without which nothing is predicted."""
NEAR = 0.05
"""Losses within this share of the lowest one are the lowest losses."""

_GRID = 40


@dataclass(frozen=True, eq=False)
class PredictedScore:
    """The curves of one task with their weights, ready to draw new runs from."""

    data: CurveData = field(repr=False)
    curves: tuple[LocalLogistic, ...] = field(repr=False)
    averaging: Averaging

    @property
    def span(self) -> tuple[float, float]:
        """Lowest and highest loss seen."""
        return float(self.data.loss.min()), float(self.data.loss.max())

    def draw(
        self, losses: Array, log_params: float, items: float, rng: np.random.Generator, family: str | None = None,
        run: str | None = None,
    ) -> Array:  # fmt: skip
        """Scores, in the units of the table, that a run may show at possible losses, one a loss."""
        data, link = self.data, self.curves[0].link
        grid = np.linspace(losses.min(), losses.max(), _GRID) if np.ptp(losses) > 0 else losses[:1]
        picked = rng.choice(len(self.curves), size=len(losses), p=self.averaging.weights)
        value = np.empty(len(losses))
        for place in np.unique(picked):
            curve, here = self.curves[place], picked == place
            mean, variance = curve.value(grid, log_params, family, run)
            deviation = self.averaging.stretch * np.sqrt(variance + beyond(curve, grid))
            middle, spread = (np.interp(losses[here], grid, one) for one in (mean, deviation))
            value[here] = middle + spread * rng.standard_normal(int(here.sum()))
        ability = link.ability(link.inverse(value))
        return self._with_items(np.asarray(data.to_score(ability)), items, rng)

    def _with_items(self, score: Array, items: float, rng: np.random.Generator) -> Array:
        """Scores with the error of their items: of the number asked for, or as in the table."""
        data, link = self.data, self.curves[0].link
        share = score / data.scale
        if data.binomial and np.isfinite(items):
            noise = np.sqrt(np.clip(share * (1.0 - share), 1e-9, None) / items)
        else:
            variance, _ = link.noise(data, link.share(data.ability))
            noise = link.room * np.sqrt(np.median(variance) * np.median([one.dispersion for one in self.curves]))
        moved = share + noise * rng.standard_normal(len(share))
        if data.binomial:
            moved = np.clip(moved, 0.0, 1.0)
        elif data.score.min() >= 0:
            moved = np.maximum(moved, 0.0)
        return np.asarray(moved * data.scale)


def learn(tasks: Sequence[CurveData]) -> list[PredictedScore | str]:
    """The average curve of each task of one table, or why nothing can be predicted from it."""
    refusals = [refusal(data) for data in tasks]
    kept = [data for data, why in zip(tasks, refusals, strict=True) if not why]
    weighed = iter(average([rolling(data) for data in kept]))
    return [
        why or PredictedScore(data, candidates(data), next(weighed))
        for data, why in zip(tasks, refusals, strict=True)
    ]  # fmt: skip


def refusal(data: CurveData) -> str:
    """Why a task cannot be predicted from its rows; empty where it can."""
    losses = len(np.unique(data.loss))
    if len(data) < FEWEST_ROWS or losses < FEWEST_LOSSES:
        return (
            f"only {len(data)} observations at {losses} losses; {FEWEST_ROWS} at {FEWEST_LOSSES} losses or more are "
            "needed"
        )
    if data.chance.value is not None and not _above_chance(data):
        return "at chance everywhere: lower losses cannot be predicted from losses without the ability"
    if data.chance.value is None and not _rises(data):
        return "no rise as the loss falls, and the chance level is not known: give it in the column chance"
    return ""


def _above_chance(data: CurveData) -> bool:
    """Whether the scores at the lowest losses exceed chance, the items, which checkpoints share, counted once."""
    near = _lowest(data.loss)
    items = data.item_variance(np.zeros(len(data)))[near]
    shared = float(np.median(items)) if np.isfinite(items).all() else 0.0
    mean, variance = _of_runs(data, near)
    return mean > ABOVE * float(np.sqrt(shared + variance))


def _rises(data: CurveData) -> bool:
    """Whether the scores at the lowest losses are better than those at the highest, by how much runs scatter."""
    low, low_variance = _of_runs(data, _lowest(data.loss))
    high, high_variance = _of_runs(data, data.loss >= np.quantile(data.loss, 0.8))
    return low - high > ABOVE * float(np.sqrt(low_variance + high_variance))


def _lowest(loss: Array) -> Bools:
    """The rows near the lowest loss, ``FEWEST_LOSSES`` of them at least."""
    return np.asarray(
        (loss <= loss.min() * (1.0 + NEAR)) | (loss <= np.partition(loss, FEWEST_LOSSES - 1)[FEWEST_LOSSES - 1])
    )


def _of_runs(data: CurveData, rows: Bools) -> tuple[float, float]:
    """Mean ability of some rows, and the variance of that mean by how runs (of one run: its checkpoints) scatter."""
    ability, run = data.ability[rows], data.run[rows]
    means = [float(ability[run == one].mean()) for one in np.unique(run)]
    scattered = np.array(means) if len(means) > 1 else ability
    return float(ability.mean()), float(np.var(scattered)) / min(len(scattered), 4)
