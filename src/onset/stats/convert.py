"""Results of the threshold and of the size effect as typed results."""

from __future__ import annotations

import math

import pandas as pd

from onset.results import (
    EffectVerdict,
    FactorEffect,
    LogBayesFactor,
    LossInterval,
    LossShift,
    SizeEffect,
    Threshold,
    Verdict,
)
from onset.stats.size_effect import CollapseFit
from onset.stats.threshold import ThresholdFit

_EFFECTS: dict[str, EffectVerdict] = {
    "collapses": "equivalent",
    "size_matters": "differs",
    "unresolved": "inconclusive",
}
_VERDICTS: dict[str, Verdict] = {
    "emergent": "emergent",
    "smooth": "smooth",
    "at_chance": "at_chance",
    "unresolved": "inconclusive",
}


def threshold(fit: ThresholdFit | Threshold, rows: pd.DataFrame, delta: float) -> Threshold:
    """The threshold of one (task, metric, loss measure), named by its rows."""
    if isinstance(fit, Threshold):
        return fit
    first, where = rows.iloc[0], fit.threshold
    return Threshold(
        task=str(first.task), metric=str(first.metric), loss_name=str(first.loss_name), loss_unit=str(first.loss_unit),
        direction=fit.direction, chance=fit.chance, chance_source="unknown" if fit.chance is None else "table",
        n_points=len(rows), n_runs=int(rows.run.nunique()), verdict=_VERDICTS[fit.verdict], why=fit.why,
        threshold=where and LossInterval(loss=where.value, low=where.low, high=where.high),
        log_bayes_factor=LogBayesFactor(ability=fit.leaves_chance, threshold=fit.turns), level=fit.level, delta=delta,
        curve=fit.curve, residuals=fit.residuals,
    )  # fmt: skip


def size_effect(fit: CollapseFit | SizeEffect, level: float) -> SizeEffect:
    """The effect of size (or of another number of the table) at equal loss."""
    if isinstance(fit, SizeEffect):
        return fit
    points, shift = fit.points, fit.shift
    along = None
    if shift is not None and fit.loss_margin is not None:
        along = LossShift(nats_per_decade=shift.value, low=shift.low, high=shift.high, margin=fit.loss_margin)
    return SizeEffect(
        verdict=_EFFECTS[fit.verdict], pp_per_decade=points and points.value, low=points and points.low,
        high=points and points.high, margin=fit.margin, why=fit.why, level=level, by=fit.by, along_loss=along,
        levels=fit.levels, curve=fit.curve, residuals=fit.residuals,
    )  # fmt: skip


def factor_effect(name: str, fit: CollapseFit | FactorEffect) -> FactorEffect:
    """The effect of one factor at equal loss."""
    if isinstance(fit, FactorEffect):
        return fit
    points = fit.points
    known = points is not None and all(map(math.isfinite, (points.value, points.low, points.high)))
    unit = "run" if name == "place" else "decade" if name in ("params", "tokens", "flops") else "contrast"
    return FactorEffect(
        factor="progress" if name == "place" else name, verdict=_EFFECTS[fit.verdict] if known else "not_asked",
        unit=unit, pp=points.value if points and known else None, low=points.low if points and known else None,
        high=points.high if points and known else None, margin=fit.margin, why=fit.why,
    )  # fmt: skip
