"""Results as text: numbers with the decimals that their intervals deserve, and LaTeX tables."""

from __future__ import annotations

import math

import pandas as pd


def decimals(low: float, high: float) -> int:
    """Decimals that show an interval's width and no more: 2 to 4."""
    width = high - low
    if not math.isfinite(width) or width <= 0:
        return 3
    return min(4, max(2, math.ceil(-math.log10(width / 2.5))))


def interval(value: float | None, low: float | None, high: float | None, places: int | None = None) -> str:
    """``2.71 [2.70, 2.72]``; empty where the value is missing, without brackets where the interval is."""
    if value is None or not math.isfinite(value):
        return ""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return f"{value:.{3 if places is None else places}f}"
    shown = decimals(low, high) if places is None else places
    return f"{value:.{shown}f} [{low:.{shown}f}, {high:.{shown}f}]"


def latex(frame: pd.DataFrame, caption: str) -> str:
    """A frame as a LaTeX table in booktabs style; every cell is escaped, columns of sentences are left out."""
    shown = frame.drop(columns=[name for name in ("why", "sentence") if name in frame])
    shown = shown.rename(columns=lambda name: str(name).replace("_", " "))
    numbers = {name for name in shown if pd.api.types.is_numeric_dtype(shown[name])}
    columns = "".join("r" if name in numbers else "l" for name in shown)
    text: str = shown.to_latex(
        index=False, escape=True, na_rep="", float_format="%.4g", column_format=columns, caption=caption,
        position="tbp",
    )  # fmt: skip
    return text


def duration(seconds: float | None) -> str:
    """A time for readers: 45 s, 7 min 12 s, 2 h 05 min."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
