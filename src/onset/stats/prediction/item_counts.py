"""The number of questions behind shares of right answers, where a table does not say it: scores are k / n."""

from __future__ import annotations

import numpy as np

from onset.stats.data import Array

MOST = 1000
"""With more questions the noise is small, and scores of four digits no longer tell."""
FEWEST = 5
"""Different scores without which nothing is said: one or two fit too many numbers of questions."""
CLOSE = 0.02
"""How far k may lie from a whole number: scores are rounded."""


def items_of(shares: Array) -> float:
    """The smallest number of questions that all shares (0 to 1) are whole counts of; NaN where none can be told.

    Scores rounded to three decimals would fit 1,000 questions whatever their number, so they tell nothing.
    """
    known = np.unique(shares[np.isfinite(shares)])
    if len(known) < FEWEST or known.min() < 0 or known.max() > 1 or _whole(1000.0 * known, 1e-6):
        return float("nan")
    for count in range(FEWEST, MOST + 1):
        if _whole(count * known, CLOSE):
            return float(count)
    return float("nan")


def _whole(counts: Array, within: float) -> bool:
    return bool(np.all(np.abs(counts - np.round(counts)) <= within))
