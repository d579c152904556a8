"""Where an ability shows: the losses at which a score is beyond chance, and how much an effect can move it there."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from onset.results import Interval
from onset.stats import smoother as smooth
from onset.stats.series import points as points_of

Vector = NDArray[np.float64]

FULL_POINTS = 2.0
"""Points from chance from which on an effect shows in full."""


def chance_of(rows: pd.DataFrame) -> float | None:
    """The chance level of one task, in units of the score; None where the table does not say."""
    if "chance" not in rows or not np.isfinite(rows["chance"].to_numpy(float)).any():
        return None
    return float(np.nanmean(rows["chance"].to_numpy(float)))


def direction_of(rows: pd.DataFrame) -> Literal["higher", "lower"]:
    """Which way the metric is better: the table's word, else the way it goes as loss falls."""
    if "direction" in rows and rows["direction"].notna().any():
        return "lower" if str(rows["direction"].dropna().iloc[0]) == "lower" else "higher"
    ranks = rows["loss"].rank().corr(rows["score"].rank())
    return "lower" if ranks > 0 else "higher"


def able(rows: pd.DataFrame, threshold: Interval | None) -> NDArray[np.bool_]:
    """Rows where the ability is there: chosen by their loss alone, never by their score."""
    loss = rows["loss"].to_numpy(float)
    if threshold is not None:
        return loss < threshold.value
    chance = chance_of(rows)
    if chance is None or len(rows) < 4 or np.ptp(loss) <= 0:
        return np.ones(len(rows), dtype=bool)
    limit = smooth.able_from(smooth.fit(points_of(rows, limit=60), rounds=1), chance, direction_of(rows) == "lower")
    return loss < (-np.inf if limit is None else limit)


def shown(rows: pd.DataFrame, loss: Vector) -> Vector:
    """How much of an effect can show at each loss, 0 to 1: near chance nothing can move a score.

    The distance of the curve from chance, up to ``FULL_POINTS``; one everywhere where chance is unknown.
    """
    chance = chance_of(rows)
    if chance is None:
        return np.ones(len(loss))
    model = smooth.fit(points_of(rows, limit=60), rounds=1)
    means, _, _ = model.at(loss)
    sign = -1.0 if direction_of(rows) == "lower" else 1.0
    ability = sign * (model.scale_weights @ means - 100.0 * chance)
    return np.clip(ability / FULL_POINTS, 0.0, 1.0)
