"""The map of questions: each one at the loss at which it is learnt, a row a task in the order in which they set in."""

from __future__ import annotations

from typing import Literal

import altair as alt
import pandas as pd

from onset.errors import OnsetError
from onset.language import _
from onset.plots import words
from onset.plots.palette import CHANCE
from onset.plots.theme import Chart
from onset.results import Questions

QUESTION = "#2f6f8f"
HALF = "#b3261e"
ROW = 30
ON_PAGE = 1000
"""Questions on the map of a page: each has some 300 bytes there."""
OF_MANY_TASKS = 23_000
"""The same times the number of tasks: a page of many tasks is large already."""


def on_page(result: Questions | None) -> Questions | None:
    """The questions with as many learnt ones as a page takes, evenly over each task's losses; None without any."""
    if result is None or result.items is None:
        return None
    learnt = result.items[result.items["state"] == "learnt"].sort_values(["task", "loss"], kind="stable")
    if learnt.empty:
        return None
    every = -(-len(learnt) // min(ON_PAGE, OF_MANY_TASKS // max(len(result.order), 1) + 1))
    return result.with_changes(items=learnt.iloc[::every].reset_index(drop=True))


def by_loss(result: Questions, *, width: int | Literal["container"] = 560) -> Chart:
    """One tick a question that was learnt, with its text (where the items have a column ``text``) and interval on
    hover, and where half of a task's are known.

    Raises OnsetError where no question was learnt within the losses seen.
    """
    items = result.items
    learnt = pd.DataFrame() if items is None else items[items["state"] == "learnt"]
    if learnt.empty:
        raise OnsetError("no question is learnt within the losses seen, so there is nothing to draw")
    kept = ["task", "item", "text", "loss", "low", "high", "flips", "right"]
    learnt = learnt[[name for name in kept if name in learnt]]
    titles = _titles(result)
    learnt = learnt.assign(task=learnt["task"].map(titles))
    order = list(titles.values())
    y = alt.Y("task:N", title=None, sort=order, axis=alt.Axis(labelLimit=260, grid=True))
    x = alt.X("loss:Q", title=_("Loss at which a question is learnt ({unit}), falling →", unit=result.loss_unit),
              scale=alt.Scale(reverse=True, zero=False))  # fmt: skip
    text = [alt.Tooltip("text:N", title=_("question"))] if "text" in learnt else []
    tooltip = [
        alt.Tooltip("task:N", title=_("task")), *text, alt.Tooltip("item:N", title=_("number")),
        alt.Tooltip("loss:Q", title=_("learnt at"), format=".3f"), alt.Tooltip("low:Q", title=_("from"), format=".3f"),
        alt.Tooltip("high:Q", title=_("to"), format=".3f"), alt.Tooltip("flips:Q", title=_("lost again")),
        alt.Tooltip("right:Q", title=_("share right"), format=".0%"),
    ]  # fmt: skip
    ticks = alt.Chart(learnt).mark_tick(color=QUESTION, opacity=0.45, thickness=1.5, size=16).encode(
        x=x, y=y, tooltip=tooltip
    )  # fmt: skip
    known = result.order.dropna(subset=["loss"])
    known = known.assign(task=known["task"].map(titles))
    base = alt.Chart(known).encode(y=y)
    told = [alt.Tooltip("task:N", title=_("task")), alt.Tooltip("loss:Q", title=_("half known"), format=".3f"),
            alt.Tooltip("learnt:Q", title=_("learnt"), format=".0%"),
            alt.Tooltip("before_next:Q", title=_("before the next"), format=".0%")]  # fmt: skip
    bars = base.mark_rule(color=CHANCE, strokeWidth=2).encode(x=alt.X("low:Q"), x2="high:Q")
    dots = base.mark_point(filled=True, size=70, opacity=1, color=HALF).encode(x=alt.X("loss:Q"), tooltip=told)
    return alt.layer(ticks, bars, dots).properties(width=width, height=ROW * len(order))


def _titles(result: Questions) -> dict[str, str]:
    """What each task is called, in the order in which they set in; by its own name where two have one title."""
    titles = {str(task): words.title(str(task)).text for task in result.order["task"]}
    shared = [title for title in titles.values() if list(titles.values()).count(title) > 1]
    return {task: task if title in shared else title for task, title in titles.items()}
