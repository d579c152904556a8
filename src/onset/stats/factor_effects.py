"""What every factor of a table changes at equal loss: family, corpus, optimizer, schedule, tokens, progress, ...

Each factor that the table can be asked about is asked in the mixed model of the size effect, with size held equal
where that is possible. A factor that cannot be asked is named with the reason, and one that goes with another is named
with it: a table in which every run of one corpus has another optimizer cannot say which of the two it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from onset.results import FactorEffect, check_level
from onset.stats.data import Array, CurveData, curve_data
from onset.stats.mixed.equivalence import MARGIN, check_margin, farthest_apart, interval_of, judge, sentence
from onset.stats.mixed.run_effects import RunEstimate
from onset.stats.mixed.smooth_curve import SmoothCurve, fit_curve

MOST_LEVELS = 12
"""A column of words with more values than this is a label, not a factor."""

CONFOUNDED = 0.95
"""Share of a factor's variance over the rows that another one explains from which the two are named as confounded."""

WIDEST = 200.0
"""Percentage points: an interval wider than this says that nothing could be compared."""

NOT_FACTORS = frozenset({"seed", "shots", "left_out", "digest", "checkpoint", "flops", "language", "line"})

_REFIT_STEPS = 15


@dataclass(frozen=True, eq=False)
class Factor:
    """One factor as columns of a model, or the reason why it cannot be asked."""

    name: str
    unit: Literal["decade", "run", "contrast"] = "decade"
    columns: Array | None = None
    """(n, k): log10, progress, or indicators of all levels but the first."""
    levels: tuple[str, ...] = ()
    reason: str = ""

    @property
    def indicators(self) -> Array:
        """(n, k) columns for what goes with it; zeros where it cannot be asked."""
        return np.zeros((0, 0)) if self.columns is None else self.columns


def factor_effects(
    obs: pd.DataFrame | CurveData, *, margin: float = MARGIN, level: float = 0.95, names: Sequence[str] | None = None
) -> tuple[FactorEffect, ...]:
    """What each factor of one (task, metric, loss measure) changes at equal loss, in pp; size is ``size_effect``.

    ``names`` asks for these columns only. Categories are contrasts of the two levels farthest apart, at a level that
    holds for all pairs at once (Bonferroni); tokens are per decade, progress from a run's start to its end.
    """
    check_margin(margin)
    check_level(level)
    data = obs if isinstance(obs, CurveData) else curve_data(obs)
    candidates = [one for one in factors_of(data) if names is None or one.name in names]
    if len(data) < 6 or len(np.unique(data.loss)) < 4:
        few = f"only {len(data)} observations at {len(np.unique(data.loss))} losses; 6 at 4 or more are needed"
        return tuple(_not_asked(one.name, one.reason or few, margin) for one in candidates)
    models = _Models(data)
    partners = [Factor("params", columns=models.size), *candidates] if models.size.shape[1] else candidates
    return tuple(_asked(one, models, _goes_with(one, partners), margin, level) for one in candidates)


class _Models:
    """The curves that factors are asked in, each fitted when it is first needed."""

    def __init__(self, data: CurveData) -> None:
        self.data = data
        logs = np.where(np.isfinite(data.log_params), data.log_params, np.nanmean(data.log_params))
        varies = np.isfinite(logs).all() and np.ptp(logs) > 1e-9
        self.size: Array = logs[:, None] if varies else np.zeros((len(data), 0))

    @cached_property
    def within_family(self) -> SmoothCurve:
        return fit_curve(self.data, self.size)

    @cached_property
    def pooled(self) -> SmoothCurve:
        return (
            self.within_family if len(self.data.families) < 2 else fit_curve(self.data, self.size, within_family=False)
        )

    @cached_property
    def without_size(self) -> SmoothCurve:
        return fit_curve(self.data)

    def ask(self, factor: Factor) -> tuple[RunEstimate, SmoothCurve]:
        """Coefficients of a factor's columns, and the curve that they were asked beside."""
        columns = factor.indicators - factor.indicators.mean(axis=0)
        if factor.name == "tokens":  # loss and size together leave tokens next to nothing
            return self.without_size.ask(columns), self.without_size
        if factor.unit != "contrast":
            return self.within_family.ask(columns), self.within_family
        # What levels differ by is in the variance between runs until it is asked: all is estimated anew.
        k = columns.shape[1]
        between = _determined(columns, self.data.family)
        beside = np.zeros((len(columns), 0)) if _explained(columns, self.size) > CONFOUNDED else self.size
        curve = fit_curve(self.data, np.hstack([columns, beside]), within_family=not between, steps=_REFIT_STEPS)
        return curve.effect.first(k), curve


def factors_of(data: CurveData) -> list[Factor]:
    """All that varies in a table beside loss, score and size; what cannot be asked has a reason."""
    found = []
    if len(data.families) > 1:
        found.append(_categories("family", pd.Series(np.asarray(data.families, dtype=object)[data.family]), data))
    with np.errstate(divide="ignore", invalid="ignore"):
        tokens = np.log10(data.tokens)
    if np.isfinite(tokens).all() and np.ptp(tokens) > 1e-9:
        found.append(Factor("tokens", columns=tokens[:, None]))
    elif np.isfinite(tokens).any():
        found.append(Factor("tokens", reason=f"missing in {int((~np.isfinite(tokens)).sum())} of {len(data)} rows"))
    if np.isfinite(data.progress).all() and np.bincount(data.run).max() > 2:
        found.append(Factor("progress", unit="run", columns=data.progress[:, None]))
    for name in data.factors:
        if name not in NOT_FACTORS and data.factors[name].nunique(dropna=True) > 1:
            found.append(_column(str(name), data.factors[name], data))
    return found


def _column(name: str, values: pd.Series[Any], data: CurveData) -> Factor:
    missing = int(values.isna().sum())
    if missing:
        return Factor(name, reason=f"missing in {missing} of {len(values)} rows")
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values) and values.nunique() > 4:
        numbers = values.to_numpy(float)
        if (numbers > 0).all():
            return Factor(name, columns=np.log10(numbers)[:, None])
        unit = (numbers - numbers.min()) / np.ptp(numbers)
        return Factor(name, "contrast", unit[:, None], (f"{numbers.min():g}", f"{numbers.max():g}"))
    return _categories(name, values, data)


def _categories(name: str, values: pd.Series[Any], data: CurveData) -> Factor:
    codes, levels = pd.factorize(values, sort=True)
    names = tuple(str(one) for one in levels)
    if len(names) > MOST_LEVELS:
        return Factor(name, "contrast", reason=f"{len(names)} levels; up to {MOST_LEVELS} are asked (group them)")
    runs = [len(np.unique(data.run[codes == code])) for code in range(len(names))]
    if max(runs) < 2:
        return Factor(name, "contrast", reason="one run a level: what the levels differ by is what runs differ by")
    columns = (codes[:, None] == np.arange(1, len(names))[None, :]).astype(float)
    return Factor(name, "contrast", columns, names)


def _goes_with(factor: Factor, others: Sequence[Factor]) -> tuple[str, ...]:
    """Names of other factors that explain this one, or that it explains."""
    if factor.columns is None:
        return ()
    return tuple(
        other.name
        for other in others
        if other.name != factor.name
        and other.columns is not None
        and max(_explained(factor.columns, other.columns), _explained(other.columns, factor.columns)) > CONFOUNDED
    )


def _explained(columns: Array, others: Array) -> float:
    """Least share over the columns of the variance that the others explain; 0 without others."""
    if not others.shape[1]:
        return 0.0
    design = np.column_stack([np.ones(len(others)), others])
    left = columns - design @ np.linalg.lstsq(design, columns, rcond=None)[0]
    total = np.maximum(columns.var(axis=0), 1e-18)
    return float(np.min(1.0 - left.var(axis=0) / total))


def _determined(columns: Array, codes: np.ndarray[tuple[int], np.dtype[np.int64]]) -> bool:
    """Whether columns are constant within each group."""
    return all(np.ptp(columns[codes == code], axis=0).max(initial=0.0) < 1e-9 for code in np.unique(codes))


def _not_asked(name: str, reason: str, margin: float, confounded: tuple[str, ...] = ()) -> FactorEffect:
    why = f"{name} was not asked: {reason}."
    return FactorEffect(factor=name, verdict="not_asked", margin=margin, why=why, confounded_with=confounded)


def _asked(factor: Factor, models: _Models, confounded: tuple[str, ...], margin: float, level: float) -> FactorEffect:
    if factor.columns is None:
        return _not_asked(factor.name, factor.reason, margin)
    if "params" in confounded and factor.unit == "decade" and factor.name != "tokens":
        return _not_asked(factor.name, "it goes with params, which the size effect asks", margin, confounded)
    found, curve = models.ask(factor)
    if (curve.visible > 0.5).sum() < 6:
        return _not_asked(factor.name, "too few observations are above chance for an effect to show", margin)
    if found.between.freedom < 1:
        reason = "the table has too few runs to say how runs of one level differ"
        return _not_asked(factor.name, reason, margin, confounded)
    data, k = models.data, factor.columns.shape[1]
    contrast, high, low = farthest_apart(found.mean) if factor.unit == "contrast" else (np.ones(1), 0, 0)
    pairs = k * (k + 1) // 2 if factor.unit == "contrast" else 1
    unit = data.sign * data.points_per_unit
    told = interval_of(found, contrast, 1.0 - (1.0 - level) / pairs, unit)
    if told.high - told.low > WIDEST:
        return _not_asked(factor.name, "its levels do not overlap in loss, so it cannot be told from the curve", margin,
                          confounded)  # fmt: skip
    verdict = judge(told, margin)
    named = (factor.levels[high], factor.levels[low]) if factor.levels else ()
    why = sentence(_subject(factor, named), told, verdict, margin, level, "loss")
    if confounded:
        why += f" In this table {factor.name} goes with {' and '.join(confounded)}: the effect may be theirs."
    return FactorEffect(
        factor=factor.name, verdict=verdict, unit=factor.unit, pp=told.value, low=told.low, high=told.high,
        margin=margin, why=why, levels=named, confounded_with=confounded,
    )  # fmt: skip


def _subject(factor: Factor, named: tuple[str, ...]) -> str:
    if factor.unit == "run":
        return "going from the start of a run to its end changes the score"
    if named:
        return f"{factor.name} '{named[0]}' in place of '{named[1]}' changes the score"
    return f"ten times the {factor.name} changes the score"
