"""Power against cost: what families would tell, and what they cost."""

from __future__ import annotations

import altair as alt
import pandas as pd

from onset.plots.theme import Chart
from onset.results import Design

COLOURS = {"threshold": "#0b6e4f", "size_effect": "#d1495b", "same_curve": "#e08214", "forecast": "#5a2ca0"}
LABELS = {
    "threshold": "threshold or onset loss",
    "size_effect": "size effect found",
    "same_curve": "no size effect shown",
    "forecast": "ten times the compute foretold",
}


def power(result: Design, *, width: int = 460) -> Chart:
    """Share of simulated tables that answer each question, against FLOPs, with binomial intervals."""
    frame = pd.DataFrame(result.families)
    # Side by side, so that the intervals of several questions at one cost can be told apart.
    aside = frame["question"].map({name: place - 1.5 for place, name in enumerate(LABELS)})
    frame = frame.assign(shown=frame["flops"] * 1.015**aside, question=frame["question"].map(LABELS))
    x = alt.X("shown:Q", title="FLOPs of the family", scale=alt.Scale(type="log", nice=False, padding=14),
              axis=alt.Axis(format=".0e", tickCount=6))  # fmt: skip
    shares = alt.Scale(domain=[0, 1])
    y = alt.Y("power:Q", title="Probability of an answer", scale=shares, axis=alt.Axis(format="%"))
    colour = alt.Color(
        "question:N", title=None, scale=alt.Scale(domain=list(LABELS.values()), range=list(COLOURS.values()))
    )
    tooltip = [alt.Tooltip("family:N"), alt.Tooltip("question:N"), alt.Tooltip("power:Q", format=".0%"),
               alt.Tooltip("low:Q", format=".0%"), alt.Tooltip("high:Q", format=".0%"),
               alt.Tooltip("flops:Q", format=".2e")]  # fmt: skip
    base = alt.Chart(frame).encode(x=x, color=colour)
    bars = base.mark_rule(strokeWidth=1.4, opacity=0.5).encode(y=alt.Y("low:Q", scale=shares), y2="high:Q")
    dots = base.mark_point(filled=True, size=60, opacity=1).encode(y=y, tooltip=tooltip)
    layers = [bars, dots]
    if frame["flops"].nunique() > 1 and result.chosen is None:
        layers.insert(0, base.mark_line(strokeWidth=1.6).encode(y=y))
    if result.chosen is not None:  # families of one budget cost the same: side by side, by name
        return _by_name(frame, colour, tooltip, shares, width)
    chosen = alt.Chart(pd.DataFrame({"shown": [result.flops]})).mark_rule(strokeDash=[3, 3], color="#888").encode(x=x)
    return alt.layer(chosen, *layers).properties(width=width, height=round(0.6 * width), title=result.family)


def _by_name(
    frame: pd.DataFrame, colour: alt.Color, tooltip: list[alt.Tooltip], shares: alt.Scale, width: int
) -> Chart:
    x = alt.X("power:Q", title="Probability of an answer", scale=shares, axis=alt.Axis(format="%"))
    base = alt.Chart(frame).encode(
        y=alt.Y("family:N", title=None, sort=None, axis=alt.Axis(labelLimit=260)), yOffset="question:N", color=colour
    )
    bars = base.mark_rule(strokeWidth=1.4, opacity=0.5).encode(x=alt.X("low:Q", scale=shares), x2="high:Q")
    dots = base.mark_point(filled=True, size=60, opacity=1).encode(x=x, tooltip=tooltip)
    return alt.layer(bars, dots).properties(width=width, height=48 * frame["family"].nunique())
