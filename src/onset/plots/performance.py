"""Performance against loss, compute, parameters or tokens: one panel, and figures of many."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

from onset.language import _
from onset.plots import theme, words
from onset.plots.files import specification
from onset.plots.frames import Panel, Points, span
from onset.plots.palette import BAND, CHANCE, INK
from onset.plots.theme import Axis, Chart

POINT_COLUMNS = ["run", "size", "kind", "step", "params", "tokens", "flops", "loss", "score", "stderr"]

Spec = dict[str, Any]
"""A Vega-Lite specification."""

DATA = ("points", "curve", "threshold", "chance")
"""Names of the data of a panel: a template refers to them, and they are filled in panel by panel."""


@dataclass(frozen=True)
class Frame:
    """What the panels of one figure share."""

    points: Points
    axis: Axis
    x: tuple[float, float]

    @property
    def x_title(self) -> str | list[str]:
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


def rows(panel: Panel, shared: Frame, *, coarse: bool = False) -> dict[str, pd.DataFrame]:
    """The frames of one panel by name, cut to the axis; the law and the threshold belong to the loss axis only."""
    points = panel.points[POINT_COLUMNS]
    low, high = shared.x
    inside = points[shared.axis].between(low, high)
    curve, threshold = panel.coarse_curve if coarse else panel.curve, panel.threshold
    if shared.axis == "loss":
        curve = curve[curve["loss"].between(low, high)]
        threshold = threshold[threshold["loss"].between(low, high)].clip(low, high)
    else:
        curve, threshold = curve.iloc[:0], threshold.iloc[:0]
    return {"points": points[inside], "curve": curve, "threshold": threshold, "chance": panel.chance}


def template(
    shared: Frame, *, legend: bool, clip: bool, size: float = 34, x_title: str | list[str] | None = None
) -> Chart:
    """A panel without its data, title and ends of the score axis: threshold, chance, points, then the curve above them.

    ``clip`` is for data that are not cut to the axis; it makes pictures slow to write.
    """

    def y(field: str) -> alt.Y:
        scale = alt.Scale(domain=[0.0, 1.0], nice=False, zero=False)
        return alt.Y(f"{field}:Q", title=_("Score"), scale=scale, axis=alt.Axis(tickCount=5))

    def x(field: str | None = None) -> alt.X:
        return theme.x(shared.axis, shared.x, x_title or shared.x_title, field)

    drawn: list[Chart] = []
    if shared.axis == "loss":
        drawn += _threshold(x, clip)
    drawn += [_chance(y), _dots(shared, x(), y("score"), legend=legend, size=size, clip=clip)]
    if shared.axis == "loss":
        drawn += _law(x, y, clip)
    return alt.layer(*drawn)


PANEL_HEIGHT = 200


def page_template(shared: Frame, width: Any = "container") -> Chart:
    """A template as wide as its place on a page, or of a fixed width in pixels.

    A page names metric and loss measure once: the axis of the score has no title, that of the loss a short one.
    """
    autosize = alt.AutoSizeParams(type="fit-x", contains="padding")
    short = theme.axis_title(shared.axis, _("Loss"), "", flops_estimated=shared.points.flops_estimated)
    sized = template(shared, legend=False, clip=True, x_title=short)
    return sized.properties(width=width, height=PANEL_HEIGHT, autosize=autosize)


def _threshold(x: Any, clip: bool) -> list[Chart]:
    base = alt.Chart(alt.NamedData(name="threshold"))
    return [
        base.mark_rect(color=BAND, fillOpacity=0.2, clip=clip).encode(x=x("low"), x2="high:Q"),
        base.mark_rule(color=BAND, strokeWidth=1.6, clip=clip).encode(x=x("loss")),
    ]


def _chance(y: Any) -> Chart:
    base = alt.Chart(alt.NamedData(name="chance"))
    return base.mark_rule(color=CHANCE, strokeDash=[5, 4], strokeWidth=1.3).encode(y=y("score"))


def _law(x: Any, y: Any, clip: bool) -> list[Chart]:
    base = alt.Chart(alt.NamedData(name="curve"))
    return [
        base.mark_area(color=INK, fillOpacity=0.13, clip=True).encode(x=x("loss"), y=y("low"), y2="high:Q"),
        base.mark_line(color="white", strokeWidth=3, strokeOpacity=0.6, clip=clip).encode(x=x("loss"), y=y("score")),
        base.mark_line(color=INK, strokeWidth=1.8, clip=clip).encode(x=x("loss"), y=y("score")),
    ]


def _dots(shared: Frame, x: alt.X, y: alt.Y, *, legend: bool, size: float, clip: bool) -> Chart:
    known, kinds = shared.points.sizes, shared.points.kinds
    encoded: dict[str, Any] = {
        "x": x,
        "y": y,
        "color": theme.colour_bar(known) if legend and known.many else theme.colour(known, legend=legend),
        "tooltip": tooltips(shared.points),
    }
    shaped = theme.shape(kinds, legend=legend)
    if shaped is not None:
        encoded["shape"] = shaped
    return (
        alt.Chart(alt.NamedData(name="points"))
        .mark_point(filled=True, size=size, opacity=1, fillOpacity=0.6, stroke="white", strokeWidth=0.4, clip=clip)
        .encode(**encoded)
    )


def tooltips(points: Points) -> list[alt.Tooltip]:
    """What a point tells when hovered: run, size, step, tokens, compute, loss, score."""
    told = [alt.Tooltip("run:N", title=_("run"))]
    if points.kinds:
        told.append(alt.Tooltip("kind:N", title=_("kind")))
    told += [
        alt.Tooltip("params:Q", title=_("parameters"), format=","),
        alt.Tooltip("step:Q", title=_("step"), format=","),
        alt.Tooltip("tokens:Q", title=_("tokens"), format=","),
        alt.Tooltip("flops:Q", title="FLOPs", format=".3e"),
        alt.Tooltip("loss:Q", title=_("loss"), format=".4f"),
        alt.Tooltip("score:Q", title=_("score"), format=".4f"),
        alt.Tooltip("stderr:Q", title=_("standard error"), format=".4f"),
    ]
    return told


def figure(
    panels: Sequence[Panel], shared: Frame, title: str, subtitle: Sequence[str], *, columns: int = 4, width: int = 196
) -> Spec | None:
    """Many panels with one legend, as a specification; None where there is nothing to draw."""
    return _joined([panel for panel in panels if len(rows(panel, shared)["points"])], shared,
                   title, subtitle, columns, width)  # fmt: skip


def grid(
    of_tasks: Sequence[Sequence[Panel]], shared: Frame, title: str, subtitle: Sequence[str], columns: Sequence[str]
) -> Spec | None:
    """One row a task and one column a metric, as a specification; a metric that a task has not is left blank."""
    cells: list[Panel | None] = []
    for row in of_tasks:
        by_metric = {panel.finding.metric: panel for panel in row if len(panel.points)}
        cells += [by_metric.get(metric) for metric in columns]
    width = max(120, round(900 / len(columns)) - 50)
    return _joined(cells, shared, title, subtitle, len(columns), width) if any(cells) else None


def _joined(
    cells: Sequence[Panel | None], shared: Frame, title: str, subtitle: Sequence[str], columns: int, width: int
) -> Spec | None:
    """Panels beside and below each other: copies of one template, each with data of its own."""
    if not cells:
        return None
    empty = specification(template(shared, legend=True, clip=False))
    head = {"text": title, "subtitle": list(subtitle), "fontSize": 17, "subtitleFontSize": 12, "offset": 14}
    spec: Spec = {"$schema": empty.pop("$schema"), "config": theme.config(), "title": head, "columns": columns}
    # Flush bounds put all titles and frames of a row on one line, whatever the width of their labels.
    spec |= {"bounds": "flush", "spacing": {"row": 92, "column": 62}}
    spec |= {"concat": [], "datasets": {}}
    size = {"width": width, "height": round(width * 0.72)}
    for index, panel in enumerate(cells):
        if panel is None:
            spec["concat"].append({**size, "data": {"values": []}, "mark": "point"})
            continue
        spec["concat"].append({**_filled(empty, panel, shared, index), **size})
        spec["datasets"] |= {f"{name}_{index}": records(frame) for name, frame in rows(panel, shared).items()}
    return spec


def _filled(empty: Spec, panel: Panel, shared: Frame, index: int) -> Spec:
    """A copy of the template with a panel's title, ends and names of data."""
    spec: Spec = copy.deepcopy({key: value for key, value in empty.items() if key != "config"})
    for layer in spec["layer"]:
        layer["data"]["name"] += f"_{index}"
    set_score_axis(spec, panel, shared.x if shared.axis == "loss" else None)
    spec["title"] = {"text": panel.title.text, "subtitle": _subtitle(panel)}
    return spec


def set_score_axis(spec: Spec, panel: Panel, near: tuple[float, float] | None, *, titled: bool = True) -> None:
    """Give a filled template the ends of its score axis, and its title."""
    for layer in spec["layer"]:
        if "y" in layer["encoding"]:
            layer["encoding"]["y"]["scale"]["domain"] = list(panel.extent(near))
            layer["encoding"]["y"]["title"] = words.metric_label(panel.finding.metric) if titled else None


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON has them: what is missing becomes null."""
    return [
        {str(key): None if isinstance(value, float) and not math.isfinite(value) else value
         for key, value in row.items()}
        for row in frame.to_dict("records")
    ]  # fmt: skip


def _subtitle(panel: Panel) -> str:
    finding = panel.finding
    verdict = words.verdict(finding.verdict)
    if finding.threshold is not None:
        return _("{verdict} at {where}", verdict=verdict, where=words.place(finding.threshold))
    if finding.onset is None:
        return verdict
    if finding.onset.open_above:
        return _("{verdict}, onset at or above {loss}", verdict=verdict, loss=words.losses(finding.onset)[0])
    if finding.onset.open_below:
        return _("{verdict}, onset at or below {loss}", verdict=verdict, loss=words.losses(finding.onset)[0])
    return _("{verdict}, onset {loss}", verdict=verdict, loss=words.losses(finding.onset)[0])
