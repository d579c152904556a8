"""The map of questions: each one at the loss at which it is learnt, a row a task in the order in which they set in."""

from __future__ import annotations

import altair as alt
import pandas as pd

from onset.errors import OnsetError
from onset.plots.palette import CHANCE
from onset.plots.theme import Chart
from onset.results import Questions

QUESTION = "#2f6f8f"
HALF = "#b3261e"
ROW = 30


def by_loss(result: Questions, *, width: int = 560) -> Chart:
    """One tick a question that was learnt, with its interval on hover, and where half of a task's are known.

    Raises OnsetError where no question was learnt within the losses seen.
    """
    items = result.items
    learnt = pd.DataFrame() if items is None else items[items["state"] == "learnt"]
    if learnt.empty:
        raise OnsetError("no question is learnt within the losses seen, so there is nothing to draw")
    order = list(result.order["task"])
    y = alt.Y("task:N", title=None, sort=order, axis=alt.Axis(labelLimit=260, grid=True))
    x = alt.X("loss:Q", title=f"Loss at which a question is learnt ({result.loss_unit}), falling →",
              scale=alt.Scale(reverse=True, zero=False))  # fmt: skip
    tooltip = [
        alt.Tooltip("task:N"), alt.Tooltip("item:N", title="question"), alt.Tooltip("loss:Q", format=".3f"),
        alt.Tooltip("low:Q", format=".3f"), alt.Tooltip("high:Q", format=".3f"), alt.Tooltip("flips:Q"),
        alt.Tooltip("right:Q", title="share right", format=".0%"),
    ]  # fmt: skip
    ticks = alt.Chart(learnt).mark_tick(color=QUESTION, opacity=0.45, thickness=1.5, size=16).encode(
        x=x, y=y, tooltip=tooltip
    )  # fmt: skip
    known = result.order.dropna(subset=["loss"])
    base = alt.Chart(known).encode(y=y)
    told = [alt.Tooltip("task:N"), alt.Tooltip("loss:Q", title="half known", format=".3f"),
            alt.Tooltip("learnt:Q", title="learnt", format=".0%"),
            alt.Tooltip("before_next:Q", title="before the next", format=".0%")]  # fmt: skip
    bars = base.mark_rule(color=CHANCE, strokeWidth=2).encode(x=alt.X("low:Q"), x2="high:Q")
    dots = base.mark_point(filled=True, size=70, opacity=1, color=HALF).encode(x=alt.X("loss:Q"), tooltip=told)
    return alt.layer(ticks, bars, dots).properties(width=width, height=ROW * len(order))
