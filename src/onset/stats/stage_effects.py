"""What tuning moves: how many nats earlier or later each ability sets in, and whether tuned scores foretell the base.

A tuned checkpoint stands at the held-out loss of the checkpoint that it was tuned from. Where enough of these pairs are
in the table, the shift is that of the pairs (``stage_pairs``): what sets a run or a choice of items apart cancels.
Else the curves of both stages are fitted apart and the shift is the difference of their onset losses, its interval made
from theirs by the method of variance estimates recovery (Zou and Donner 2008, Statistics in Medicine 27, 1693), as if
the two were independent: too wide rather than too narrow.

Tuned scores can exceed chance at losses where the base's do not, and so foretell where the base's will (Snell et al.
2024, arXiv 2411.16035). That is tested over tasks, each held out in turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from onset.metrics import info as metrics
from onset.results import FactorEffect, Foretelling, Interval, LossInterval, StageEffect, Threshold
from onset.stats.data import Array
from onset.stats.factor_effects import factor_effects
from onset.stats.mixed.equivalence import MARGIN, judge, sentence
from onset.stats.stage_pairs import PairedShift, paired_shift

STAGE = "stage"
BASE = "base"
"""The stage of checkpoints that were not tuned, beside an empty one."""

FEWEST_TASKS = 4
"""Tasks without which it is not asked whether tuned scores foretell the base's."""

Key = tuple[str, str, str]


def is_base(rows: pd.DataFrame) -> pd.Series:
    """Which rows are of checkpoints that were not tuned; all of them where the table says nothing of stages."""
    if STAGE not in rows:
        return pd.Series(True, index=rows.index)
    stage = rows[STAGE].fillna("").astype(str)
    base = stage.isin(("", BASE))
    return base if base.any() else pd.Series(True, index=rows.index)


def by_stage(tuned: pd.DataFrame, keys: Sequence[str]) -> list[pd.DataFrame]:
    """The rows of each stage and (task, metric, loss measure); none where nothing is tuned."""
    if tuned.empty:
        return []
    return [group.reset_index(drop=True) for _, group in tuned.groupby([*keys, STAGE], sort=True)]


def stage_effect(
    both: pd.DataFrame, base: Threshold, tuned: Threshold, stage: str, *, margin: float = MARGIN,
    loss_margin: float | None = None,
) -> StageEffect:  # fmt: skip
    """What a stage changes of one (task, metric, loss measure), from the fits of its rows and of the base's.

    ``both`` are the rows of both, for the effect in percentage points at equal loss. ``loss_margin`` in nats is what
    counts as none; without it a shift is never called none.
    """
    losses = both.loc[is_base(both), "loss"]
    seen = float(losses.min()), float(losses.max())
    told = base.onset is not None and tuned.onset is not None
    pairs = paired_shift(both, is_base(both), base.level) if told else None
    nats, low, high, how = _shift(base, tuned, seen, pairs)
    verdict = _verdict(low, high, loss_margin)
    at_equal_loss = next(iter(factor_effects(both, margin=margin, level=base.level, names=(STAGE,))), None)
    return StageEffect(
        task=base.task, metric=base.metric, loss_name=base.loss_name, loss_unit=base.loss_unit, stage=stage,
        verdict=verdict, nats=nats, low=low, high=high, level=base.level, onset_base=base.onset,
        onset_tuned=tuned.onset, at_equal_loss=_signed(at_equal_loss, stage, base.level),
        n_pairs=0 if pairs is None else pairs.count,
        why=_why(base, tuned, stage, how, verdict, (nats, low, high)),
    )  # fmt: skip


How = Literal["both", "at_least", "only_tuned", "only_base", "neither"]


def _shift(
    base: Threshold, tuned: Threshold, seen: tuple[float, float], pairs: PairedShift | None
) -> tuple[float | None, float | None, float | None, How]:
    """Nats between the onsets (positive: at higher loss after tuning), the ends of its interval, and how it is known.

    Where one stage stays at chance, its onset lies below the lowest loss seen, if anywhere: one end is known.
    """
    one, two = tuned.onset, base.onset
    if one is not None and two is not None:
        from_the_start = one.high >= seen[1] > two.high
        how: How = "at_least" if from_the_start else "both"
        if pairs is not None:
            return pairs.nats, pairs.low, pairs.high, how
        nats = one.loss - two.loss
        low = nats - np.hypot(one.loss - one.low, two.high - two.loss)
        high = nats + np.hypot(one.high - one.loss, two.loss - two.low)
        return nats, float(low), float(high), how
    if one is not None and base.verdict == "at_chance":
        return None, max(one.low - seen[0], 0.0), None, "only_tuned"
    if two is not None and tuned.verdict == "at_chance":
        return None, None, min(seen[0] - two.low, 0.0), "only_base"
    return None, None, None, "neither"


def _verdict(
    low: float | None, high: float | None, margin: float | None
) -> Literal["earlier", "later", "same", "inconclusive"]:
    if low is not None and low > 0:
        return "earlier"
    if high is not None and high < 0:
        return "later"
    if margin is not None and low is not None and high is not None and -margin <= low and high <= margin:
        return "same"
    return "inconclusive"


def _signed(found: FactorEffect | None, stage: str, level: float) -> FactorEffect | None:
    """The effect of a stage in place of the base: a contrast names its higher level first, whichever that is."""
    if found is None or found.pp is None or found.low is None or found.high is None or found.levels[:1] == (stage,):
        return found
    told = Interval(-found.pp, -found.high, -found.low)
    subject = f"stage '{stage}' in place of '{found.levels[0]}' changes the score"
    why = sentence(subject, told, judge(told, found.margin), found.margin, level, "loss")
    turned = {"pp": told.value, "low": told.low, "high": told.high, "levels": found.levels[::-1], "why": why}
    return found.model_copy(update=turned)


def _why(
    base: Threshold, tuned: Threshold, stage: str, how: How, verdict: str,
    told: tuple[float | None, float | None, float | None],
) -> str:  # fmt: skip
    task, unit = f"{base.task} ({base.metric})", base.loss_unit
    nats, low, high = told
    if how in ("both", "at_least"):
        assert nats is not None
        where = {"earlier": "earlier, at higher loss", "later": "later, at lower loss"}.get(verdict)
        said = where or ("at the same loss" if verdict == "same" else "at a loss that is not told apart")
        more = " It may set in at higher losses than were seen." if how == "at_least" else ""
        return f"{task} at stage '{stage}' sets in {said}: by {nats:+.3f} [{low:+.3f}, {high:+.3f}] {unit}.{more}"
    if how == "only_tuned":
        return f"{task} sets in at stage '{stage}' alone: earlier than in the base by at least {low:.3f} {unit}."
    if how == "only_base":
        return f"{task} sets in in the base alone: at stage '{stage}' later by at least {-(high or 0.0):.3f} {unit}."
    verdicts = f"base {base.verdict}, tuned {tuned.verdict}"
    return f"{task} at stage '{stage}' is not compared: no onset loss is told of both ({verdicts})."


def stage_notes(effects: Sequence[StageEffect]) -> list[str]:
    """What is told of the stages beside the findings: one sentence a task, under its headline metric."""
    if not effects:
        return []
    headline = {
        task: metrics.headline(sorted({one.metric for one in effects if one.task == task}))
        for task in dict.fromkeys(one.task for one in effects)
    }
    return [
        "some checkpoints are tuned: the findings are of those that are not, at whose losses the tuned ones are placed",
        *(one.why for one in effects if one.metric == headline[one.task]),
    ]


def foretelling(effects: Sequence[StageEffect]) -> tuple[Foretelling, ...]:
    """Whether tuned scores foretell the loss at which the base's set in, a loss measure and stage at a time.

    The base's onset of a task is predicted as the tuned one's less the mean shift of the other tasks, and compared with
    the mean base onset of the other tasks, which needs no tuning. One metric a task counts, its headline.
    """
    groups: dict[tuple[str, str], dict[str, dict[str, StageEffect]]] = {}
    for one in effects:
        groups.setdefault((one.loss_name, one.stage), {}).setdefault(one.task, {})[one.metric] = one
    made = []
    for (loss_name, stage), tasks in groups.items():
        chosen = {task: by_metric[metrics.headline(sorted(by_metric))] for task, by_metric in tasks.items()}
        pairs = [_pair(one) for one in chosen.values()]
        made.append(_foretold([pair for pair in pairs if pair is not None], loss_name, stage, _level(chosen)))
    return tuple(made)


def _level(chosen: Mapping[str, StageEffect]) -> float:
    return next(iter(chosen.values())).level


def _pair(one: StageEffect) -> tuple[float, float] | None:
    both: tuple[LossInterval | None, LossInterval | None] = one.onset_base, one.onset_tuned
    return None if both[0] is None or both[1] is None else (both[0].loss, both[1].loss)


def _foretold(pairs: list[tuple[float, float]], loss_name: str, stage: str, level: float) -> Foretelling:
    count = len(pairs)
    if count < FEWEST_TASKS:
        why = (
            f"Whether stage '{stage}' foretells the base is not asked: {count} tasks set in at both, {FEWEST_TASKS} or "
            "more would tell."
        )
        return Foretelling(loss_name=loss_name, stage=stage, verdict="not_asked", n_tasks=count, level=level, why=why)
    base, tuned = (np.array(one) for one in zip(*pairs, strict=True))
    by_tuning = np.abs(base - (tuned - _others(tuned - base)))
    without = np.abs(base - _others(base))
    gain = without - by_tuning
    reach = float(stats.t(count - 1).ppf(0.5 + level / 2)) * float(gain.std(ddof=1)) / count**0.5
    low, high = float(gain.mean()) - reach, float(gain.mean()) + reach
    verdict: Literal["foretells", "misleads", "inconclusive"] = (
        "foretells" if low > 0 else "misleads" if high < 0 else "inconclusive"
    )
    said = {"foretells": "foretells", "misleads": "misleads about", "inconclusive": "is not shown to foretell"}[verdict]
    why = (
        f"Stage '{stage}' {said} where the base sets in: each of {count} tasks held out in turn, its onset loss is "
        f"missed by {by_tuning.mean():.3f} nats from the tuned onset and by {without.mean():.3f} without it "
        f"(gain {gain.mean():+.3f} [{low:+.3f}, {high:+.3f}])."
    )
    return Foretelling(
        loss_name=loss_name, stage=stage, verdict=verdict, n_tasks=count, error=float(by_tuning.mean()),
        error_without=float(without.mean()), gain=float(gain.mean()), low=low, high=high, level=level, why=why,
    )  # fmt: skip


def _others(values: Array) -> Array:
    """For each value the mean of the others."""
    return np.asarray((values.sum() - values) / (len(values) - 1))
