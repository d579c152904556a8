"""``draw``: any result of an analysis as a chart."""

from __future__ import annotations

from typing import Any

import altair as alt

from onset.analysis.findings import Analysis
from onset.errors import OnsetError
from onset.report import frames
from onset.report.charts import performance
from onset.report.charts.theme import Chart


def draw(result: Any) -> Chart:
    """The chart of a result, told by what it has: findings, a law, a size effect, or predictions beside truth.

    Raises OnsetError for anything else.
    """
    if isinstance(result, Analysis):
        return _analysis(result)
    raise OnsetError(
        f"there is no picture of {type(result).__name__}",
        advice="draw an Analysis, or what threshold, collapse, forecast or backtest return",
    )


def _analysis(analysis: Analysis) -> Chart:
    drawn = frames.points(analysis)
    made = frames.panels(analysis, drawn)
    shared = performance.frame(drawn, "loss", frames.window(drawn, made))
    shown = frames.headlines(made)
    spec = None if shared is None else performance.figure(shown, shared, "Performance against loss", [])
    if spec is None:
        raise OnsetError("there are no observations to draw", where=analysis.source)
    return alt.ConcatChart.from_dict(spec)
