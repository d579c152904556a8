"""Results of the threshold as typed results."""

from __future__ import annotations

import pandas as pd

from onset.results import (
    LogBayesFactor,
    LossInterval,
    Threshold,
    Verdict,
)
from onset.stats.threshold import ThresholdFit

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
