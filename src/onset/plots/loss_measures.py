"""The same scores on each loss axis, side by side: where families lie on one curve, and where they do not."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from onset.language import _
from onset.plots import theme
from onset.plots.frames import span
from onset.plots.palette import SHAPES
from onset.plots.theme import Chart

WIDE = 3.0
"""From such a ratio of the highest loss to the lowest on, the axis is logarithmic: abilities set in at its low end."""
COLOURS = ("#e08214", "#1f2a6b", "#d1495b", "#0b6e4f", "#9b2f8f", "#3d6f8e", "#8a5a00", "#5b6472")
"""Families have no order, so these are no ramp; past the eighth they repeat, with another shape."""


def side_by_side(frame: pd.DataFrame, *, width: int = 190) -> Chart:
    """One row a task, one column an axis, one colour a family. ``frame`` as of ``compared.on_axes``."""
    families = sorted(frame["family"].unique())
    colours = [COLOURS[index % len(COLOURS)] for index in range(len(families))]
    shapes = [SHAPES[index % len(SHAPES)] for index in range(len(families))]
    axes = list(frame["axis"].unique())
    ends = {axis: _ends(frame.loc[frame["axis"] == axis, "loss"]) for axis in axes}
    wanted = ["family", "run", "loss", "score"]
    rows = []
    for task, of_task in frame.groupby("label", sort=False):
        panels = [
            _panel(
                of_task.loc[of_task["axis"] == axis, wanted],
                str(axis),
                str(task),
                ends[axis],
                (families, colours, shapes),
            ).properties(width=width, height=round(width * 0.62))
            for axis in axes
        ]
        rows.append(alt.hconcat(*panels))
    return alt.vconcat(*rows)


def _ends(losses: pd.Series[float]) -> tuple[bool, tuple[float, float]]:
    """Whether a horizontal axis is logarithmic, and its ends."""
    log = bool(losses.min() > 0 and losses.max() > WIDE * losses.min())
    ends = span(losses, log=log)
    assert ends is not None, "an axis has losses"
    return log, ends


def _panel(
    rows: pd.DataFrame, axis: str, task: str, ends: tuple[bool, tuple[float, float]], looks: tuple[Any, Any, Any]
) -> alt.Chart:
    families, colours, shapes = looks
    kind: dict[str, Any] = {"type": "log"} if ends[0] else {"type": "linear", "zero": False}
    scale = alt.Scale(domain=list(ends[1]), reverse=True, nice=False, **kind)
    legend = alt.Legend(title=_("Family"), orient="bottom", columns=3)
    panel: alt.Chart = (
        alt.Chart(rows)
        .mark_point(filled=True, size=26, opacity=1, fillOpacity=0.85)
        .encode(
            x=alt.X("loss:Q", title=theme.falling(axis), scale=scale,
                    axis=alt.Axis(tickCount=5, format="~f", labelOverlap="greedy", labelSeparation=4)),
            y=alt.Y("score:Q", title=task, axis=alt.Axis(tickCount=5)),
            color=alt.Color("family:N", scale=alt.Scale(domain=families, range=colours), legend=legend),
            shape=alt.Shape("family:N", scale=alt.Scale(domain=families, range=shapes), legend=legend),
            tooltip=[alt.Tooltip("family:N"), alt.Tooltip("run:N"), alt.Tooltip("loss:Q", format=".4f"),
                     alt.Tooltip("score:Q", format=".4f")],
        )
    )  # fmt: skip
    return panel
