"""Rows of a table of observations that contradict themselves or each other, each with its reason.

Nothing is mended and nothing is averaged here: a row is named, and the caller refuses the table or sets the row
aside. All checks take the canonical frame of ``observations`` (a range index, numbers as floats) and return the
reasons by row.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from onset.metrics import info as scales
from onset.tables.distinct import repeated

Reasons = pd.Series
"""Reason by row position; only the rows at fault are in it."""

CHECKPOINT = ("run", "checkpoint")
CELL = 60
"""Characters of a cell in a message."""
LARGEST_LOSS = 1e6
"""A loss above is none, in whatever unit; perplexities are of the size of vocabularies."""
RISE = 5.0
"""A loss that grows to so many times an earlier one of its run is no pre-training loss."""


def of_losses(frame: pd.DataFrame, axis: Sequence[str] = ("loss_name", "loss_unit")) -> list[Reasons]:
    """Faults of runs, sizes, tokens and losses: of a table of losses, or of a table of observations."""
    found = [
        *(
            _where(_uncountable(frame[name]), name, frame[name], "is no count")
            for name in ("params", "tokens", "flops")
            if name in frame
        ),
        _where(frame.params <= 0, "params", frame.params, "is not above zero"),
        _where(frame.tokens < 0, "tokens", frame.tokens, "is negative"),
        _where(~(frame.loss > 0) | np.isinf(frame.loss), "loss", frame.loss, "is not a number above zero"),
        _where((frame.loss > LARGEST_LOSS) & ~np.isinf(frame.loss), "loss", frame.loss, "is larger than any loss"),
        disagreeing(frame, ["run"], "params", "the run has two sizes"),
        rising(frame, list(axis)),
    ]
    stepped = frame.loc[frame.step.notna(), ["run", "step", "tokens"]]
    found.append(disagreeing(stepped, ["run", "step"], "tokens", "the step has two token counts"))
    keys = [*CHECKPOINT, *axis]
    lossy = frame.loc[(frame.loss > 0) & np.isfinite(frame.loss), [*keys, "loss"]]
    found.append(disagreeing(lossy, keys, "loss", "the checkpoint has two losses", tolerance=1e-4))
    return found


def of_scores(frame: pd.DataFrame) -> list[Reasons]:
    """Faults of scores, chance levels, errors and directions, percentages being turned to fractions already."""
    bounds = {name: scales.bounds(name) for name in frame.metric.unique()}
    low = frame.metric.map({name: one[0] for name, one in bounds.items()}).astype(float)
    high = frame.metric.map({name: one[1] for name, one in bounds.items()}).astype(float)
    slack = 1e-9
    outside = (frame.score < low - slack) | (frame.score > high + slack) | np.isinf(frame.score)
    chance = (frame.chance < low - slack) | (frame.chance > high + slack)
    ability = ["task", "metric"]
    place = [*CHECKPOINT, "loss_name", *ability]
    twice = frame.loc[repeated(frame, place), [*place, "score"]]  # a row alone agrees with itself
    return [
        _where(outside, "score", frame.score, "is outside the range of metric '{metric}'", frame),
        _where(chance, "chance", frame.chance, "is outside the range of metric '{metric}'", frame),
        _where((frame.stderr < 0) | np.isinf(frame.stderr), "stderr", frame.stderr, "is negative or infinite"),
        _where(
            (frame.stderr > high - low) & ~np.isinf(frame.stderr),
            "stderr",
            frame.stderr,
            "is larger than the range of metric '{metric}'",
            frame,
        ),
        _where(frame.n_examples <= 0, "n_examples", frame.n_examples, "is not above zero"),
        _where(_uncountable(frame["n_examples"]), "n_examples", frame["n_examples"], "is no count"),
        _where(~frame.direction.isin(["higher", "lower"]), "direction", frame.direction, "is not 'higher' or 'lower'"),
        disagreeing(frame, ability, "chance", "the task has two chance levels", tolerance=0.05),
        disagreeing(frame, ability, "direction", "the metric has two directions"),
        disagreeing(twice, place, "score", "the same checkpoint, task and metric has two scores"),
    ]


def merged(found: Sequence[Reasons]) -> Reasons:
    """All reasons of a row in one text, rows in order."""
    together = pd.concat([reasons for reasons in found if len(reasons)] or [pd.Series(dtype=str)])
    if together.empty:
        return pd.Series(dtype=str)
    joined: Reasons = together.groupby(level=0, sort=True).agg("; ".join)
    return joined


def disagreeing(frame: pd.DataFrame, keys: list[str], column: str, reason: str, *, tolerance: float = 0.0) -> Reasons:
    """Rows whose value differs from that of most rows with the same keys; all of them where none is in the majority.

    ``tolerance`` is relative, and forgives values that were rounded differently.
    """
    values = frame[column]
    known = frame.loc[values.notna(), [*keys, column]]
    if known.empty:
        return pd.Series(dtype=str)
    grouped = known.groupby(keys, sort=False, observed=True)[column]
    if values.dtype.kind in "fiu":
        spread = grouped.transform("max") - grouped.transform("min")
        suspect = known[spread > tolerance * grouped.transform("max").abs()]
    else:
        suspect = known[grouped.transform("nunique") > 1]
    if suspect.empty:
        return pd.Series(dtype=str)
    reasons: dict[int, str] = {}
    for _, group in suspect.groupby(keys, sort=False, observed=True):
        counts = group[column].value_counts()
        majority = counts.index[0] if counts.iloc[0] * 2 > len(group) else None
        others = " and ".join(short(value) for value in counts.index[:2])
        for row, value in group[column].items():
            if majority is None or value != majority:
                reasons[int(str(row))] = f"{reason} ({others})"
    return pd.Series(reasons, dtype=str)


def rising(frame: pd.DataFrame, axis: list[str]) -> Reasons:
    """Losses that are ``RISE`` times an earlier loss of their run, or the one that is too low before them.

    Which of the two is at fault is told by the run's median: the one further from it, in ratio.
    """
    keys = ["run", *axis]
    kept = (frame.loss > 0) & np.isfinite(frame.loss) & frame.tokens.notna()
    sound = frame.loc[kept, [*keys, "tokens", "loss"]]
    track = sound.drop_duplicates([*keys, "tokens", "loss"]).sort_values("tokens", kind="stable")
    grouped = track.groupby(keys, sort=False, observed=True).loss
    risen = track[track.loss >= RISE * grouped.cummin()]
    if risen.empty:
        return pd.Series(dtype=str)
    bad = set()
    for _, run in track.groupby(keys, sort=False, observed=True):
        loss = run.loss.to_numpy()
        lowest = np.minimum.accumulate(loss)
        if not (loss >= RISE * lowest).any():
            continue
        away = np.abs(np.log(loss / np.median(loss)))
        for later in np.flatnonzero(loss >= RISE * lowest):
            earlier = int(np.argmin(loss[: later + 1]))
            place = later if away[later] >= away[earlier] else earlier
            bad.add((str(run.run.iloc[place]), float(run.tokens.iloc[place]), float(run.loss.iloc[place])))
    spots = pd.MultiIndex.from_frame(frame[["run", "tokens", "loss"]].astype({"run": object}))
    rows = frame.index[spots.isin(list(bad))]
    return pd.Series(
        [f"loss {short(loss)}: the losses of its run rise {RISE:g}-fold" for loss in frame.loss[rows]], index=rows
    )


def chance_spread(frame: pd.DataFrame) -> list[str]:
    """Notes on chance levels that differ between the checkpoints of a task, as they do where items are missing."""
    levels = frame.groupby(["task", "metric"], sort=True).chance.agg(["min", "max"])
    apart = levels[levels["max"] - levels["min"] > 1e-9]
    return [
        f"the chance level of {task} ({metric}) differs between checkpoints, from {low:.4g} to {high:.4g}: some items "
        "are missing, and the mean is taken"
        for (task, metric), low, high in zip(apart.index, apart["min"], apart["max"], strict=True)
    ]


MOST = {"flops": 1e40}
"""Counts above are no counts; of parameters and tokens, those that 64 bits do not hold."""


def _uncountable(values: pd.Series) -> pd.Series:
    bad: pd.Series = np.isinf(values) | (values >= MOST.get(str(values.name), 2.0**63))
    return bad


def _where(bad: pd.Series, column: str, values: pd.Series, text: str, frame: pd.DataFrame | None = None) -> Reasons:
    """A reason for every row where ``bad`` holds."""
    rows = bad.index[bad.fillna(False).astype(bool)]
    names = {} if frame is None else {row: frame.metric[row] for row in rows}
    return pd.Series(
        {row: f"{column} {short(values[row])} {text.format(metric=names.get(row, ''))}" for row in rows}, dtype=str
    )


def short(value: object) -> str:
    """A value as errors name it."""
    if isinstance(value, float | np.floating):
        return "nan" if np.isnan(value) else f"{value:.10g}"
    text = str(value)
    text = text if len(text) <= CELL else f"{text[: CELL - 3]}..."
    return f"'{text}'" if isinstance(value, str) else text
