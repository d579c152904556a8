"""Performance against loss, compute, parameters or tokens: one panel, and figures of many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

from onset.report import words
from onset.report.charts import theme
from onset.report.charts.theme import Axis, Chart
from onset.report.frames import Panel, Points, span
from onset.report.palette import BAND, CHANCE, INK

Data = pd.DataFrame | alt.NamedData

POINT_COLUMNS = ["run", "size", "kind", "step", "params", "tokens", "flops", "loss", "score", "stderr"]


@dataclass(frozen=True)
class Layers:
    """What a panel draws: frames, or names of data that a page fills in later."""

    points: Data
    curve: Data
    threshold: Data
    chance: Data


@dataclass(frozen=True)
class Frame:
    """What the panels of one figure share."""

    points: Points
    axis: Axis
    x: tuple[float, float]

    @property
    def x_title(self) -> str:
        return theme.axis_title(
            self.axis, words.loss_label(self.points.loss_name), self.points.seen.unit,
            flops_estimated=self.points.flops_estimated,
        )  # fmt: skip


def frame(points: Points, axis: Axis, near: tuple[float, float] | None = None) -> Frame | None:
    """What panels on that axis share; None where the table has nothing for the axis.

    ``near`` narrows the axis of the loss: points outside are not drawn.
    """
    ends = span(points.checkpoints[axis], log=axis != "loss")
    if axis == "loss" and near is not None:
        ends = near
    return None if ends is None else Frame(points, axis, ends)


def layers(panel: Panel, axis: Axis) -> Layers:
    """The frames of one panel: the law and the threshold belong to the loss axis only."""
    law = axis == "loss"
    points = panel.points[POINT_COLUMNS]
    if axis != "loss":
        points = points[points[axis] > 0]
    return Layers(
        points, panel.curve if law else panel.curve.iloc[:0], panel.threshold if law else panel.threshold.iloc[:0],
        panel.chance,
    )  # fmt: skip


def template(shared: Frame) -> Chart:
    """A panel whose data are named ``points, curve, threshold, chance`` and filled in by the page."""
    named = [alt.NamedData(name=name) for name in ("points", "curve", "threshold", "chance")]
    return panel_chart(Layers(*named), shared, "Score", (0.0, 1.0), legend=False).properties(
        width="container", height=190, autosize=alt.AutoSizeParams(type="fit-x", contains="padding")
    )


def panel_chart(
    data: Layers, shared: Frame, y_title: str | None, extent: tuple[float, float], *, legend: bool, size: float = 34
) -> Chart:
    """One panel: threshold band, chance, the law with its band, then the points."""
    y_scale = alt.Scale(domain=list(extent), nice=False, zero=False)
    y_axis = alt.Axis(tickCount=5)

    def y(field: str) -> alt.Y:
        return alt.Y(f"{field}:Q", title=y_title, scale=y_scale, axis=y_axis)

    def x(field: str | None = None) -> alt.X:
        return theme.x(shared.axis, shared.x, shared.x_title, field)

    drawn: list[Chart] = []
    if shared.axis == "loss":
        drawn += _threshold(data.threshold, x)
    line, *label = _chance(data.chance, y)
    drawn.append(line)
    if shared.axis == "loss":
        drawn += _law(data.curve, x, y)
    drawn.append(_dots(data.points, shared, x(), y("score"), legend=legend, size=size))
    drawn += label
    return alt.layer(*drawn)


def _threshold(data: Data, x: Any) -> list[Chart]:
    base = alt.Chart(data)
    return [
        base.mark_rect(color=BAND, opacity=0.2, clip=True).encode(x=x("low"), x2="high:Q"),
        base.mark_rule(color=BAND, strokeWidth=1.6, clip=True).encode(x=x("loss")),
    ]


def _chance(data: Data, y: Any) -> list[Chart]:
    base = alt.Chart(data)
    return [
        base.mark_rule(color=CHANCE, strokeDash=[5, 4], strokeWidth=1.3, clip=True).encode(y=y("score")),
        *(
            base.mark_text(text="chance", align="right", baseline="bottom", dy=-3, fontSize=10, **ink).encode(
                y=y("score"), x=alt.value("width")
            )
            for ink in ({"stroke": "white", "strokeWidth": 3, "opacity": 0.8}, {"color": CHANCE})
        ),
    ]


def _law(data: Data, x: Any, y: Any) -> list[Chart]:
    base = alt.Chart(data)
    return [
        base.mark_area(color=INK, opacity=0.13, clip=True).encode(x=x("loss"), y=y("low"), y2="high:Q"),
        base.mark_line(color=INK, strokeWidth=1.6, opacity=0.75, clip=True).encode(x=x("loss"), y=y("score")),
    ]


def _dots(data: Data, shared: Frame, x: alt.X, y: alt.Y, *, legend: bool, size: float) -> Chart:
    known, kinds = shared.points.sizes, shared.points.kinds
    encoded: dict[str, Any] = {
        "x": x,
        "y": y,
        "color": theme.colour(known, legend=legend),
        "tooltip": tooltips(shared.points),
    }
    shaped = theme.shape(kinds, legend=legend)
    if shaped is not None:
        encoded["shape"] = shaped
    return (
        alt.Chart(data)
        .mark_point(filled=True, size=size, opacity=0.82, stroke="white", strokeWidth=0.4, clip=True)
        .encode(**encoded)
    )


def tooltips(points: Points) -> list[alt.Tooltip]:
    """What a point tells when hovered: run, size, step, tokens, compute, loss, score."""
    told = [alt.Tooltip("run:N", title="run")]
    if points.kinds:
        told.append(alt.Tooltip("kind:N", title="kind"))
    told += [
        alt.Tooltip("params:Q", title="parameters", format=","),
        alt.Tooltip("step:Q", title="step", format=","),
        alt.Tooltip("tokens:Q", title="tokens", format=","),
        alt.Tooltip("flops:Q", title="FLOPs", format=".3e"),
        alt.Tooltip("loss:Q", title="loss", format=".4f"),
        alt.Tooltip("score:Q", title="score", format=".4f"),
        alt.Tooltip("stderr:Q", title="standard error", format=".4f"),
    ]
    return told


def figure(
    panels: Sequence[Panel], shared: Frame, title: str, subtitle: Sequence[str], *, columns: int = 4, width: int = 196
) -> Chart | None:
    """Many panels with one legend; None where there is nothing to draw."""
    charts = [_titled(panel, shared, width) for panel in panels if len(layers(panel, shared.axis).points)]
    if not charts:
        return None
    return (
        alt.concat(*charts, columns=columns)
        .properties(title=alt.TitleParams(title, subtitle=list(subtitle), fontSize=17, subtitleFontSize=12, offset=14))
        .configure(**theme.config())
    )


def _titled(panel: Panel, shared: Frame, width: int) -> Chart:
    finding = panel.finding
    chart = panel_chart(
        layers(panel, shared.axis), shared, words.metric_label(finding.metric), panel.extent, legend=True
    )
    return chart.properties(
        width=width, height=round(width * 0.72), title=alt.TitleParams(panel.title.text, subtitle=_subtitle(panel))
    )


def _subtitle(panel: Panel) -> str:
    finding = panel.finding
    verdict = words.VERDICTS[finding.verdict]
    if finding.threshold is None:
        return verdict
    value, low, high = words.losses(finding.threshold)
    return f"{verdict} at {value} [{low}, {high}]"


def grid(
    rows: Sequence[Sequence[Panel]], shared: Frame, title: str, subtitle: Sequence[str], columns: int
) -> Chart | None:
    """Rows of panels, one row a task and one column a metric."""
    width = max(130, round(880 / columns) - 45)
    drawn = []
    for row in rows:
        charts = [_titled(panel, shared, width) for panel in row if len(panel.points)]
        if charts:
            drawn.append(alt.hconcat(*charts, spacing=14))
    if not drawn:
        return None
    return (
        alt.vconcat(*drawn)
        .properties(title=alt.TitleParams(title, subtitle=list(subtitle), fontSize=17, subtitleFontSize=12, offset=14))
        .configure(**theme.config())
    )
