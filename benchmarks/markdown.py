"""Frames as tables of a Markdown page, for benchmarks/results."""

from __future__ import annotations

import pandas as pd


def table(frame: pd.DataFrame, digits: int = 3) -> str:
    """The frame with its columns' names as the head; numbers to ``digits`` places, missing ones empty."""
    lines = ["| " + " | ".join(str(name) for name in frame.columns) + " |", "|" + "---|" * len(frame.columns)]
    lines += ["| " + " | ".join(_cell(value, digits) for value in row) + " |" for row in frame.itertuples(index=False)]
    return "\n".join(lines)


def _cell(value: object, digits: int) -> str:
    if not isinstance(value, float):
        return str(value)
    if pd.isna(value):
        return ""
    return f"{value:.0f}" if value.is_integer() and value > 1 else f"{value:.{digits}f}"
