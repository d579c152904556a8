"""Item rows in order, with the shape of their items: what every measure of ``metrics`` is computed from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from onset.errors import OnsetError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

GROUP = ("run", "step", "task")


@dataclass(frozen=True)
class Answers:
    """Item rows in order of (run, step, task), item and choice, with the shape of their items.

    The first block has one entry a row, the second one an item, ``groups`` one a group.
    """

    logprob: Floats
    logprob_uncond: Floats
    bytes: Floats
    choice: Ints
    start: Ints
    """First row of each item."""
    choices: Ints
    """Number of choices of each item."""
    gold_row: Ints
    """Row of each item's right choice."""
    correct: Floats
    """Free answers: 1 right, 0 wrong, NaN where not generated or not a free answer."""
    sampled: Floats
    """Free answers: how many were sampled; NaN where none were."""
    sampled_correct: Floats
    """How many of these are right."""
    group: Ints
    """Group of each item."""
    item: npt.NDArray[np.object_]
    """Name of each item."""
    groups: pd.DataFrame
    """Columns run, step, task."""

    def gold(self, values: Floats) -> Floats:
        """The entries of the right choices: rows in, items out."""
        return values[self.gold_row]

    def total(self, values: Floats) -> Floats:
        """Sums over the choices: rows in, items out."""
        summed: Floats = np.add.reduceat(values, self.start) if len(self.start) else np.zeros(0)
        return summed

    def spread(self, values: Floats) -> Floats:
        """An item's value beside each of its choices: items in, rows out."""
        return np.repeat(values, self.choices)

    def best(self, values: Floats) -> Floats:
        """The credit of choosing the largest entry: 1 or 0, and 1/m where m exact ties include the gold."""
        if not len(self.start):
            return np.zeros(0)
        top = np.maximum.reduceat(values, self.start)  # NaN when any is NaN
        ties = self.total((values == self.spread(top)).astype(np.float64))
        credit = np.divide(1.0, ties, out=np.full(len(ties), np.nan), where=ties > 0)
        return np.where(np.isnan(top), np.nan, np.where(self.gold(values) == top, credit, 0.0))

    @cached_property
    def log_probability(self) -> Floats:
        """Log of the probability of each choice among the choices of its item, one entry a row."""
        if not len(self.start):
            return np.zeros(0)
        top = self.spread(np.maximum.reduceat(self.logprob, self.start))
        return self.logprob - top - self.spread(np.log(self.total(np.exp(self.logprob - top))))

    @cached_property
    def is_choice(self) -> Bools:
        """Items with choices; the others have a free answer."""
        found: Bools = self.choices > 1
        return found


def arranged(rows: pd.DataFrame) -> Answers:
    """Sort rows into items and check that each item is whole."""
    for column in (*GROUP, "item", "choice", "gold", "logprob", "bytes"):
        if column not in rows.columns:
            raise OnsetError(f"item rows have no column '{column}'", advice="see the items table in DESIGN")
    codes, groups = _group_codes(rows)
    item_code, item_name = pd.factorize(rows["item"], use_na_sentinel=False)
    key = codes * max(len(item_name), 1) + item_code
    choice = rows["choice"].to_numpy(dtype=np.int64)
    order = np.lexsort((choice, key))
    key, choice = key[order], choice[order]
    start = np.flatnonzero(np.r_[True, key[1:] != key[:-1]]) if len(key) else np.zeros(0, dtype=np.int64)
    size = np.diff(np.r_[start, len(key)])
    gold = rows["gold"].to_numpy(dtype=np.bool_)[order]
    item = np.asarray(item_name, dtype=object)[item_code[order][start]]
    group = codes[order][start]
    _check(choice, start, size, gold, item, group, groups)
    return Answers(
        logprob=_finite(rows, "logprob", order),
        logprob_uncond=_finite(rows, "logprob_uncond", order),
        bytes=_finite(rows, "bytes", order),
        choice=choice,
        start=start,
        choices=size,
        gold_row=np.flatnonzero(gold),
        correct=_finite(rows, "correct", order[start]),
        sampled=_sampled(rows, order[start], len),
        sampled_correct=_sampled(rows, order[start], sum),
        group=group,
        item=item,
        groups=groups,
    )


def _group_codes(rows: pd.DataFrame) -> tuple[Ints, pd.DataFrame]:
    """A number for each row's (run, step, task), in order of first appearance, and the table of groups."""
    code = np.zeros(len(rows), dtype=np.int64)
    for column in GROUP:
        part, names = pd.factorize(rows[column], use_na_sentinel=False)
        code = code * max(len(names), 1) + part
    code, _ = pd.factorize(code)
    first = np.zeros(int(code.max()) + 1 if len(code) else 0, dtype=np.int64)
    first[code[::-1]] = np.arange(len(rows))[::-1]
    groups = rows[list(GROUP)].iloc[first].reset_index(drop=True)
    if "digest" in rows.columns and len(rows):
        digest, _ = pd.factorize(rows["digest"], use_na_sentinel=False)
        if (mixed := np.flatnonzero(digest != digest[first][code])).size:
            raise OnsetError(
                "one task was scored in two forms",
                where=_place(groups.iloc[int(code[mixed[0]])]),
                advice="select the rows of one digest: scores of different prompts are not pooled",
            )
    return code.astype(np.int64), groups


def _check(
    choice: Ints, start: Ints, size: Ints, gold: Bools, item: npt.NDArray[np.object_], group: Ints, groups: pd.DataFrame
) -> None:
    """Every item has choices 0, 1, ... once each, and exactly one right one; a task has choices or has not."""

    def refuse(bad: Bools, what: str, advice: str) -> None:
        if bad.any():
            first = int(np.flatnonzero(bad)[0])
            place = f"item '{item[first]}' of {_place(groups.iloc[int(group[first])])}"
            raise OnsetError(what.format(int(bad.sum())), where=place, advice=advice)

    if not len(start):
        return
    again = "delete this part and score it again; rows of one item are never pooled from two parts"
    right = np.add.reduceat(gold.astype(np.int64), start)
    order = choice - (np.arange(len(choice)) - np.repeat(start, size))
    refuse(np.maximum.reduceat(np.abs(order), start) > 0, "{} items have a choice twice or missing", again)
    refuse(right != 1, "{} items have not exactly one right choice", "mend the gold of the item and score it again")
    several = np.bincount(group, weights=size > 1, minlength=len(groups)) > 0
    refuse((size == 1) & several[group], "{} items of a task of choices have one choice", again)


def _finite(rows: pd.DataFrame, column: str, order: Ints) -> Floats:
    """A column as floats in the given order; absent and not finite is NaN."""
    if column not in rows.columns:
        return np.full(len(order), np.nan)
    series = rows[column].iloc[order]
    if series.dtype == object:
        series = series.astype("boolean") if column == "correct" else pd.to_numeric(series)
    values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def _sampled(rows: pd.DataFrame, order: Ints, count: Callable[[Any], float]) -> Floats:
    """A number of each item's list ``samples_correct``; NaN where it has none."""
    if "samples_correct" not in rows.columns:
        return np.full(len(order), np.nan)
    lists = rows["samples_correct"].to_numpy(dtype=object)[order]
    return np.array([float(count(one)) if isinstance(one, list | np.ndarray) else np.nan for one in lists])


def _place(group: pd.Series) -> str:
    return f"task '{group['task']}', run '{group['run']}', step {group['step']}"
