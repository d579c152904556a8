"""Scores joined to losses by run and step or tokens: exact, or interpolated between two neighbours.

A loss is interpolated straight in the logarithm of step or tokens, between neighbours that are no further apart than a
stated factor, and never extrapolated. The loss of single training batches is noise around the loss of the model:
there the median over a window takes the place of the single value, so that a short spike does not move it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from onset.adapters import names
from onset.errors import OnsetError, did_you_mean

Floats = npt.NDArray[np.float64]

GAP = 2.0
"""Largest factor between the two neighbours of an interpolated loss, in tokens or steps.

A loss that falls as a power law is missed by less than one percent of its reducible part across a factor of two."""
WINDOW = 0.01
"""Half-width of the window over training losses, as a share of step or tokens."""


class NothingPlacedError(OnsetError):
    """No score has a loss of this axis."""


@dataclass(frozen=True)
class Joined:
    """Scores with the loss of their checkpoint, and what was done for it."""

    frame: pd.DataFrame
    notes: tuple[str, ...]


def join(scores: pd.DataFrame, losses: pd.DataFrame, *, gap: float = GAP) -> Joined:
    """The scores with ``loss, loss_name, loss_unit`` of one axis of losses; those that cannot be placed left out.

    ``scores`` and ``losses`` have ``run`` and ``step`` or ``tokens``; ``losses`` is one axis. Missing tokens of scores
    are taken from the losses of the same steps. Raises OnsetError where no score can be placed.
    """
    partners = match_runs(list(scores.run.unique()), list(losses.run.unique()))
    parts, count = [], _Count()
    for run, rows in scores.groupby("run", sort=False):
        curve = losses[losses.run == partners.get(str(run))]
        parts.append(_placed(rows, curve, gap, count))
    placed = pd.concat(parts)
    placed["loss_name"], placed["loss_unit"] = losses.loss_name.iloc[0], losses.loss_unit.iloc[0]
    kept = placed[placed.loss.notna()]
    if kept.empty:
        raise NothingPlacedError(
            f"no score can be placed: no checkpoint of {_some(scores.run.unique())} has a loss",
            advice=_advice(scores, losses, partners, count),
        )
    return Joined(kept, count.notes(len(placed) - len(kept), gap))


def match_runs(scored: Sequence[str], trained: Sequence[str]) -> dict[str, str]:
    """For each scored run the run of the losses that it is: by name, without case and separators, or by the last part
    of a path where that is enough."""
    found: dict[str, str] = {}
    by_key: dict[str, list[str]] = {}
    for run in trained:
        for key in {names.key(run), names.key(run.rstrip("/").rpartition("/")[2])}:
            by_key.setdefault(key, []).append(run)
    for run in scored:
        if run in trained:
            found[run] = run
            continue
        for key in (names.key(run), names.key(run.rstrip("/").rpartition("/")[2])):
            if len(by_key.get(key, [])) == 1:
                found[run] = by_key[key][0]
                break
    return found


class _Count:
    """How many checkpoints were placed in which way."""

    def __init__(self) -> None:
        self.exact = 0
        self.interpolated = 0
        self.averaged = 0
        self.wide = 0
        self.outside = 0
        self.no_axis: list[str] = []
        self.no_curve: list[str] = []

    def notes(self, lost: int, gap: float) -> tuple[str, ...]:
        told = []
        if self.interpolated:
            told.append(
                f"losses interpolated between neighbours at most a factor {gap:g} apart: "
                f"{self.interpolated} checkpoints ({self.exact} exact)"
            )
        if self.averaged:
            told.append(
                f"medians of training losses over +-{WINDOW:.0%} of the training so far: {self.averaged} checkpoints"
            )
        if lost:
            why = [
                f"{self.wide} checkpoints between losses that are further apart" if self.wide else "",
                f"{self.outside} outside their run's losses" if self.outside else "",
                f"runs without losses: {_some(self.no_curve)}" if self.no_curve else "",
                f"runs with neither tokens nor steps in common: {_some(self.no_axis)}" if self.no_axis else "",
            ]
            told.append(f"scores that have no loss and are left out: {lost} ({'; '.join(w for w in why if w)})")
        return tuple(told)


def _placed(rows: pd.DataFrame, curve: pd.DataFrame, gap: float, count: _Count) -> pd.DataFrame:
    """The scores of one run with their losses, and tokens and params from the curve where they lack them."""
    run = str(rows.run.iloc[0])
    if curve.empty:
        count.no_curve.append(run)
        return rows.assign(loss=np.nan)
    made = rows.copy()
    for column in [name for name in curve.columns if name not in _OF_A_POINT]:
        told = curve[column].dropna()
        if len(told) and (column == "params" or column not in made or made[column].isna().all()):
            made[column] = told.iloc[0]
    axis = _axis(rows, curve)
    if axis is None:
        checkpoints = rows.drop_duplicates([c for c in ("step", "tokens") if c in rows] or ["run"])
        if len(checkpoints) == 1 and len(curve) == 1:
            for column in ("step", "tokens"):
                if curve[column].notna().all() and made[column].isna().all():
                    made[column] = curve[column].iloc[0]
            count.exact += 1
            return made.assign(loss=curve.loss.iloc[0])
        count.no_axis.append(run)
        return made.assign(loss=np.nan)
    points = _points(curve, axis, run)
    at = made[axis].to_numpy(float)
    unique, back = np.unique(at, return_inverse=True)
    loss = _at(
        points[axis].to_numpy(float), points.loss.to_numpy(float), unique, gap, count, bool(curve.training.any())
    )
    made["loss"] = loss[back]
    if axis == "step" and made.tokens.isna().any() and points.tokens.notna().all():
        made["tokens"] = made.tokens.fillna(
            pd.Series(np.interp(at, points.step.to_numpy(float), points.tokens.to_numpy(float)), made.index)
        ).round()
    return made


_OF_A_POINT = {"run", "step", "tokens", "loss", "loss_name", "loss_unit", "training", "derived", "source", "wall_time"}
"""Columns of losses that belong to a point; the others describe the run and go to its scores."""


def _axis(rows: pd.DataFrame, curve: pd.DataFrame) -> str | None:
    """What scores and losses have in common: tokens before steps, for steps may be of different kinds."""
    for axis in ("tokens", "step"):
        if rows[axis].notna().all() and curve[axis].notna().all():
            return axis
    return None


def _points(curve: pd.DataFrame, axis: str, run: str) -> pd.DataFrame:
    """The points of a curve in order, each place once; two losses at one place are refused unless of training."""
    points = curve.drop_duplicates([axis, "loss"]).sort_values(axis, kind="stable")
    doubled = points[axis].duplicated(keep=False)
    if doubled.any():
        if not curve.training.any():
            first = points[doubled].iloc[0]
            raise OnsetError(
                f"run '{run}' has two losses '{first.loss_name}' at {axis} {first[axis]:g}: "
                f"{', '.join(f'{value:g}' for value in points.loss[points[axis] == first[axis]][:3])}",
                advice="take the source out that does not count; --restarts '{run}-run-{restart}' joins restarts",
            )
        points = points.drop_duplicates(axis, keep="last")
    return points


def _at(x: Floats, y: Floats, at: Floats, gap: float, count: _Count, training: bool) -> Floats:
    """Losses at the places: measured, a median of training losses around, or between neighbours; NaN elsewhere."""
    right = np.searchsorted(x, at).clip(0, len(x) - 1)
    exact = np.isclose(x[right], at, rtol=1e-9, atol=0)
    left = (right - 1).clip(0)
    near_left = np.isclose(x[left], at, rtol=1e-9, atol=0)
    loss: Floats = np.where(exact, y[right], np.where(near_left, y[left], np.nan))
    exact = exact | near_left
    inside = ~exact & (at > x[0]) & (at < x[-1]) & (x[left] > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (np.log(at) - np.log(x[left])) / (np.log(x[right]) - np.log(x[left]))
        near = inside & (x[right] <= gap * x[left] * (1 + 1e-9))
        loss = np.where(near, y[left] + share * (y[right] - y[left]), loss)
    if training:
        first, last = np.searchsorted(x, at * (1 - WINDOW)), np.searchsorted(x, at * (1 + WINDOW), side="right")
        many = (last - first >= 3) & (exact | near)
        for place in np.flatnonzero(many):
            loss[place] = np.median(y[first[place] : last[place]])
        count.averaged += int(many.sum())
        exact, near = exact & ~many, near & ~many
    count.exact += int(exact.sum())
    count.interpolated += int(near.sum())
    count.wide += int((inside & np.isnan(loss)).sum())
    count.outside += int((~exact & ~inside).sum())
    return loss


def _some(runs: Sequence[object] | npt.NDArray[np.object_]) -> str:
    listed = [str(run) for run in runs]
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")


def _advice(scores: pd.DataFrame, losses: pd.DataFrame, partners: dict[str, str], count: _Count) -> str:
    """What keeps the two sides apart, told so that it can be mended."""
    if not partners:
        first = str(scores.run.iloc[0])
        return (
            f"runs must be named alike: scores have {_some(scores.run.unique())}; losses have "
            f"{_some(losses.run.unique())} ({did_you_mean(first, map(str, losses.run.unique()))}); --rename OLD=NEW"
        )
    if count.no_axis:
        return "scores and losses need steps, or tokens, both: --tokens-per-step N or RUN=N, or --runs with {step}"
    run = next(iter(partners))
    mine, theirs = scores[scores.run == run], losses[losses.run == partners[run]]
    axis = _axis(mine, theirs) or "step"
    return (
        f"run '{run}': scores lie at {axis} {mine[axis].min():g} to {mine[axis].max():g}, losses at "
        f"{theirs[axis].min():g} to {theirs[axis].max():g}; --gap widens the factor between neighbours"
    )
