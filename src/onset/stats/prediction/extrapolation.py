"""Beforehand: what the models above a threshold would have foretold of the losses below it.

Lines, straight and bent, are laid through the scores above the threshold and drawn on to the lowest losses, with the
prediction interval of least squares. Every line that the corrected Akaike criterion (Hurvich & Tsai 1989) leaves in
the running counts: the interval holds all of theirs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from onset.results import Interval

Vector = NDArray[np.float64]

FEWEST = 6
"""Checkpoints above the threshold that a line is laid through, at least."""
IN_THE_RUNNING = 6.0
"""A line whose criterion is higher than the best by less than this is not ruled out (Burnham & Anderson 2002)."""
LOWEST = 0.1
"""Share of the checkpoints, those with the lowest losses, that is foretold."""


@dataclass(frozen=True)
class Foretold:
    """Gains over chance in points, upwards better: foretold with its interval, and seen."""

    foretold: float
    low: float
    high: float
    seen: float

    @property
    def missed(self) -> bool:
        """Whether more came than the interval holds."""
        return self.seen > self.high


def foretell(rows: pd.DataFrame, threshold: Interval, level: float) -> Foretold | None:
    """The lowest losses of one (task, metric, loss) as the checkpoints above its threshold foretell them.

    Only losses above the whole interval of the threshold are learned from, only losses below it are foretold; None
    where there are too few of either.
    """
    ordered = rows.sort_values("loss")
    loss, score = ordered["loss"].to_numpy(float), ordered["score"].to_numpy(float)
    before = loss > threshold.high
    count = max(1, int(LOWEST * len(loss)))
    after = np.arange(len(loss)) < count
    if before.sum() < FEWEST or np.ptp(loss[before]) <= 0 or (loss[after] >= threshold.low).any():
        return None
    sign = -1.0 if (ordered["direction"] == "lower").all() else 1.0
    chance = ordered["chance"].to_numpy(float)
    base = float(np.nanmean(chance)) if np.isfinite(chance).any() else float(score[before].mean())
    gain = 100.0 * sign * (score - base)
    middle, width = loss[before].mean(), np.ptp(loss[before])
    place = (loss - middle) / width
    criteria = {degree: _criterion(place[before], gain[before], degree) for degree in (1, 2)}
    best = min(criteria, key=lambda degree: criteria[degree])
    kept = [degree for degree, value in criteria.items() if value <= criteria[best] + IN_THE_RUNNING]
    made = {degree: _predict(place[before], gain[before], place[after], degree, level) for degree in kept}
    low, high = min(mean - reach for mean, reach in made.values()), max(mean + reach for mean, reach in made.values())
    return Foretold(made[best][0], low, high, float(gain[after].mean()))


def _design(place: Vector, degree: int) -> Vector:
    return np.vander(place, degree + 1, increasing=True)


def _criterion(place: Vector, gain: Vector, degree: int) -> float:
    """AICc of a polynomial; infinite where it has too many coefficients for the points."""
    count, free = len(gain), degree + 2
    if count - free - 1 <= 0:
        return math.inf
    design = _design(place, degree)
    residual = gain - design @ np.linalg.lstsq(design, gain, rcond=None)[0]
    squares = max(float(residual @ residual), 1e-9)
    return count * math.log(squares / count) + 2 * free + 2 * free * (free + 1) / (count - free - 1)


def _predict(place: Vector, gain: Vector, at: Vector, degree: int, level: float) -> tuple[float, float]:
    """Mean prediction at some places, and half the width of its prediction interval."""
    design = _design(place, degree)
    coefficients, *_ = np.linalg.lstsq(design, gain, rcond=None)
    residual = gain - design @ coefficients
    freedom = len(gain) - degree - 1
    variance = max(float(residual @ residual) / freedom, 1e-9)
    row = _design(at, degree).mean(axis=0)
    inverse = np.linalg.pinv(design.T @ design)
    spread = math.sqrt(variance * (1.0 / len(at) + float(row @ inverse @ row)))
    return float(row @ coefficients), float(stats.t.ppf(0.5 + level / 2, freedom)) * spread
