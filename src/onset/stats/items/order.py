"""The order of abilities: at which loss half of a task's questions are known, and which task comes before which."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from onset.errors import OnsetError
from onset.results.base import check_level
from onset.results.questions import ITEM_COLUMNS, Questions
from onset.stats.data import Array
from onset.stats.items import response_model as response
from onset.stats.items.learning import Responses, learnt_at, responses

DRAWS = 400
FEWEST_CHECKPOINTS, FEWEST_ITEMS = 4, 10
FOR_RESPONSE = 10
"""Checkpoints without which no item response model is fitted."""


@dataclass(frozen=True, eq=False)
class TaskAnswers:
    """Item values of one task under one metric: ``run, step, item, value``, and where its checkpoints lie."""

    task: str
    metric: str
    chance: float
    rows: pd.DataFrame
    """``run, step, item, value, loss``"""


def questions(
    tasks: Iterable[TaskAnswers],
    *,
    loss_name: str = "loss",
    loss_unit: str = "nats/token",
    level: float = 0.95,
    seed: int = 0,
    onsets: Mapping[str, float] | None = None,
    progress: Callable[[], None] | None = None,
) -> Questions:
    """When each question of each task is learnt. ``onsets`` are losses about which information is counted, by task.

    Raises OnsetError where no task has four checkpoints and ten questions.
    """
    check_level(level)
    rng = np.random.default_rng(seed)
    frames, halves, rows = [], [], []
    for one in tasks:
        asked = responses(one.rows)
        if len(asked.loss) >= FEWEST_CHECKPOINTS and len(asked.items) >= FEWEST_ITEMS and np.ptp(asked.loss) > 0:
            items = of_task(asked, one.chance, level, (onsets or {}).get(one.task))
            frames.append(items.assign(task=one.task, metric=one.metric)[list(ITEM_COLUMNS)])
            half, drawn = _half(items, rng, level)
            halves.append(drawn)
            rows.append({
                "task": one.task, "metric": one.metric, "items": len(items), "learnt": float((items["known"]).mean()),
                **half, "flips": float(items["flips"].mean()), "reliability": _reliability(asked),
            })  # fmt: skip
        if progress is not None:
            progress()
    if not rows:
        raise OnsetError(
            "no task has four checkpoints and ten questions with known answers", advice="score more checkpoints"
        )
    table, order = pd.DataFrame(rows), np.argsort([-np.median(drawn) for drawn in halves], kind="stable")
    table = table.iloc[order].reset_index(drop=True)
    table["before_next"] = [*_pairs([halves[place] for place in order]), np.nan]
    return Questions(
        level=level, loss_name=loss_name, loss_unit=loss_unit, order=table, items=pd.concat(frames, ignore_index=True)
    )


def of_task(asked: Responses, chance: float, level: float = 0.95, onset: float | None = None) -> pd.DataFrame:
    """The items of one task: when learnt, difficulty and discrimination, information about ``onset`` and its rank."""
    items = learnt_at(asked, chance, level)
    items["difficulty"], items["discrimination"] = np.nan, np.nan
    items["information"] = np.nan
    if len(asked.loss) >= FOR_RESPONSE:
        model = response.fit(asked.value, chance)
        items["difficulty"], items["discrimination"] = model.difficulty, model.discrimination
        where = float(np.median(asked.loss)) if onset is None else onset
        items["information"] = model.information(_ability_at(asked.loss, model.ability, where))
    items["rank"] = items["information"].rank(ascending=False, method="first")
    return items


def _ability_at(loss: Array, ability: Array, where: float) -> float:
    """Ability of a checkpoint at a loss: the median of the nearest ones."""
    near = np.argsort(np.abs(loss - where))[: max(3, len(loss) // 10)]
    return float(np.median(ability[near]))


def _half(items: pd.DataFrame, rng: np.random.Generator, level: float) -> tuple[dict[str, float], Array]:
    """The loss at which half of the items are known, over items drawn anew, each learnt within its interval."""
    state = items["state"].to_numpy()
    place = np.where(state == "learnt", items["loss"], np.where(state == "not_yet", -np.inf, np.inf)).astype(float)
    spread = np.where(state == "learnt", (items["high"] - items["low"]) / 4.0, 0.0)
    picked = rng.integers(len(place), size=(DRAWS, len(place)))
    drawn = place[picked] + np.nan_to_num(spread)[picked] * rng.standard_normal(picked.shape)
    halves = np.quantile(drawn, 0.5, axis=1, method="nearest")
    middle = float(np.quantile(place, 0.5, method="nearest"))
    if not np.isfinite(middle):
        return {"loss": np.nan, "low": np.nan, "high": np.nan}, halves
    finite = halves[np.isfinite(halves)]
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return {"loss": middle, "low": min(float(low), middle), "high": max(float(high), middle)}, halves


def _pairs(halves: list[Array]) -> list[float]:
    """Probability that each task comes before the next one, ties counted half."""
    return [float(np.mean((first > second) + 0.5 * (first == second))) for first, second in pairwise(halves)]


def _reliability(asked: Responses) -> float:
    """Correlation over checkpoints of the scores on two halves of the items, stepped up (Spearman and Brown 1910)."""
    halves = [np.nanmean(asked.value[:, part::2], axis=1) for part in (0, 1)]
    if min(np.std(half) for half in halves) == 0:
        return np.nan
    r = float(np.corrcoef(*halves)[0, 1])
    return 2.0 * r / (1.0 + r) if r > -1 else np.nan
