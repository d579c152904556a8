"""Where each ability sets in: one row a task on the axis of the loss, with intervals; the first picture of a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from onset import language
from onset.language import _, plural
from onset.plots import theme, words
from onset.plots.frames import Panel, Points
from onset.plots.palette import INK, MUTED, VERDICT_COLOURS
from onset.plots.theme import Chart

MOST_ROWS = 30
"""Tasks that are drawn at most; the others are counted."""

FEW = 14
"""Among so many tasks those without an onset loss have a row too."""

GREY = "#7a8290"
COLUMNS = ["label", "verdict", "loss", "low", "high", "threshold", "from", "to", "text"]


def rows(panels: Sequence[Panel]) -> pd.DataFrame:
    """``label, verdict, loss, low, high, threshold, from, to, text``: emergent tasks first, by the loss at which.

    ``loss`` is the onset loss with its interval ``low, high``, ``threshold`` that of the paper with its interval
    ``from, to``; ``text`` is what stands beside the row.
    """
    numbers = ("loss", "low", "high", "threshold", "from", "to", "at")
    frame = pd.DataFrame([_row(panel) for panel in panels], columns=[*COLUMNS, "rank", "at"])
    frame = frame.astype(dict.fromkeys(numbers, float))
    if len(panels) > FEW and frame["at"].notna().any():
        frame = frame[frame["at"].notna()]
    ordered = frame.sort_values(["rank", "at"], ascending=[True, False], na_position="last", kind="stable")
    return ordered[COLUMNS].head(MOST_ROWS)


def _row(panel: Panel) -> dict[str, Any]:
    finding = panel.finding
    onset, threshold = finding.onset, finding.threshold
    shown = threshold or onset
    text = words.verdict(finding.verdict)
    if shown is not None:
        text = words.place(shown)
    return {
        "label": panel.title.text, "verdict": finding.verdict,
        "loss": None if onset is None else onset.loss, "low": None if onset is None else onset.low,
        "high": None if onset is None else onset.high,
        "threshold": None if threshold is None else threshold.loss,
        "from": None if threshold is None else threshold.low, "to": None if threshold is None else threshold.high,
        "text": text, "rank": 0 if threshold is not None else 1 if onset is not None else 2,
        "at": math.nan if shown is None else shown.loss,
    }  # fmt: skip


def chart(
    panels: Sequence[Panel], points: Points, level: str, near: tuple[float, float] | None = None, *, width: Any = 620
) -> Chart:
    """The threshold of each emergent task and the onset loss of every other that has one, with their intervals.

    Emergent tasks are in colour, the others grey; the numbers of each row stand at the right.
    ``near`` are the losses to look at; it holds every threshold and onset loss.
    """
    seen = near or (points.seen.low, points.seen.high)
    frame = rows(panels).assign(edge=seen[0])
    for column in ("low", "high", "from", "to"):
        frame[column] = frame[column].clip(*seen)
    title = theme.falling(_("{loss} ({unit})", loss=words.loss_label(points.loss_name), unit=points.seen.unit), 80)
    y = alt.Y("label:N", title=None, sort=None, axis=alt.Axis(labelLimit=230, grid=True, labelPadding=8))
    base = alt.Chart(frame).encode(y=y, tooltip=_tooltip())

    def x(field: str) -> alt.X:
        return theme.x("loss", seen, title, field)

    onset = base.transform_filter("isValid(datum.loss)")
    threshold = base.transform_filter("isValid(datum.threshold)")
    colour = VERDICT_COLOURS["emergent"]
    layers = [
        onset.mark_rule(color=GREY, strokeWidth=1.6).encode(x=x("low"), x2="high:Q"),
        onset.mark_point(filled=True, size=46, color=GREY, opacity=1).encode(x=x("loss")),
        threshold.mark_rule(color=colour, strokeWidth=5, opacity=0.45).encode(x=x("from"), x2="to:Q"),
        threshold.mark_point(filled=True, shape="diamond", size=110, color=colour, opacity=1).encode(x=x("threshold")),
        base.mark_text(align="left", dx=12, fontSize=11, clip=False).encode(
            x=x("edge"), text="text:N",
            color=alt.condition("isValid(datum.threshold)", alt.value(INK), alt.value(MUTED)),
        ),
    ]  # fmt: skip
    height = (22 if len(frame) <= 14 else 17) * max(3, len(frame))
    heading = alt.TitleParams(_("Where each ability sets in"), subtitle=caption(panels, level))
    chart = alt.layer(*layers).properties(width=width, height=height, title=heading)
    if width != "container":
        return chart
    # Fitting a width does not count marks beyond the axes: the numbers at the right need padding.
    right = 18 + 6.2 * max(map(len, frame["text"]), default=0)
    fit = alt.AutoSizeParams(type="fit-x", contains="padding")
    return chart.properties(autosize=fit, padding={"left": 5, "top": 5, "bottom": 5, "right": round(right)})


def caption(panels: Sequence[Panel], level: str) -> list[str]:
    """What the marks are, and how many tasks are not drawn."""
    frame = rows(panels)
    marks = []
    if frame["threshold"].notna().any():
        marks.append(_("Diamond: threshold."))
    if frame["loss"].notna().any():
        excess = f"{100 * panels[0].finding.delta:g}"
        marks.append(_("Dot: onset loss, where the score exceeds chance by {excess} pp.", excess=excess))
    if marks:
        marks.append(_("Bars: {level} intervals.", level=level))
    told = [("" if language.current() == "zh" else " ").join(marks)] if marks else []
    left = len(panels) - len(frame)
    if left > 0:
        told.append(plural("{count} more task is in the table.", "{count} more tasks are in the table.", left))
    return told


def _tooltip() -> list[alt.Tooltip]:
    names = {"loss": _("onset loss"), "threshold": _("threshold")}
    return [alt.Tooltip("label:N", title=_("task"))] + [
        alt.Tooltip(f"{name}:Q", title=title, format=".4f") for name, title in names.items()
    ]


def description(panels: Sequence[Panel], level: str) -> str:
    """What the picture shows, for those who do not see it."""
    frame = rows(panels)
    known = frame[frame["loss"].notna() | frame["threshold"].notna()]
    told = [f"{row['label']} {row['text']}" for row in known.to_dict("records") if row["verdict"] == "emergent"]
    others = [f"{row['label']} {row['text']}" for row in known.to_dict("records") if row["verdict"] != "emergent"]
    without = [str(label) for label in frame.loc[~frame.index.isin(known.index), "label"]]
    parts = [
        (_("Thresholds with their {level} intervals: {named}.", level=level, named=language.listed(told)), told),
        (_("Onset losses of tasks without a threshold: {named}.", named=language.listed(others)), others),
        (_("No onset loss: {named}.", named=language.listed(without)), without),
    ]
    return " ".join(text for text, named in parts if named)
