"""Equivalent, different or inconclusive: what an interval says of an effect and a margin."""

from __future__ import annotations

from typing import Literal

import numpy as np

from onset.errors import OnsetError
from onset.results import Interval
from onset.stats.data import Array
from onset.stats.mixed.run_effects import RunEstimate

MARGIN = 1.0
"""Percentage points within which an effect counts as none."""

EquivalenceVerdict = Literal["equivalent", "differs", "inconclusive"]


def check_margin(margin: float | None, name: str = "margin") -> None:
    """Raises OnsetError unless a margin is a positive number (or None)."""
    if margin is not None and not 0 < margin < np.inf:
        raise OnsetError(f"{name} {margin:g} is no margin", where=name, advice="give a positive number, such as 1")


def interval_of(found: RunEstimate, contrast: Array, level: float, unit: float = 1.0) -> Interval:
    """Mean and central interval of one combination of coefficients, times a unit."""
    low, high = sorted(unit * end for end in found.interval(contrast, level))
    return Interval(unit * float(found.mean @ contrast), low, high)


def judge(found: Interval, margin: float) -> EquivalenceVerdict:
    """Equivalent where the whole interval lies within the margin, different where all of it lies beyond.

    At level 95 % these are two one-sided tests at 2.5 % each (Schuirmann 1987), and the interval that is shown is the
    one that is judged.
    """
    if -margin <= found.low and found.high <= margin:
        return "equivalent"
    if found.low > margin or found.high < -margin:
        return "differs"
    return "inconclusive"


def farthest_apart(mean: Array) -> tuple[Array, int, int]:
    """The contrast of the two levels farthest apart, of coefficients against a first level; the higher, the lower."""
    levels = np.r_[0.0, mean]
    high, low = int(levels.argmax()), int(levels.argmin())
    contrast = np.zeros(len(levels))
    contrast[high] += 1.0
    contrast[low] -= 1.0
    return contrast[1:], high, low


def sentence(subject: str, found: Interval, verdict: EquivalenceVerdict, margin: float, level: float, at: str) -> str:
    """The effect in words, with where its interval lies."""
    where = {
        "equivalent": f"the interval lies within the margin of {margin:g} pp",
        "differs": f"the interval lies beyond the margin of {margin:g} pp",
        "inconclusive": f"the interval lies neither within nor beyond the margin of {margin:g} pp",
    }[verdict]
    change = f"{found.value:+.1f} pp [{found.low:+.1f}, {found.high:+.1f}]"
    return f"At equal {at}, {subject} by {change} ({100 * level:g}% interval): {where}."
