"""The other pictures: loss against tokens, residuals by size, size effects, predictors, forecast against truth."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from onset.language import _
from onset.plots import theme, words
from onset.plots.frames import PREDICTORS, span
from onset.plots.palette import CHANCE, INK, MUTED, Sizes
from onset.plots.theme import Chart

EFFECT_COLOURS = {"equivalent": "#0b6e4f", "differs": "#b3261e", "inconclusive": "#8a5a00"}
"""By verdict."""
PREDICTOR_COLOURS = ("#0b6e4f", "#d1495b", "#e08214", "#5a2ca0")
PREDICTOR_SHAPES = ("circle", "triangle-up", "square", "diamond")
"""In the order of ``frames.PREDICTORS``."""

_ROW = 17
_FEW = alt.Axis(tickCount=7)


def training(frame: pd.DataFrame, floor: pd.DataFrame, known: Sizes, *, unit: str, width: Any = 640) -> Chart:
    """Loss against tokens, one line a run, with the floor that no model can beat.

    ``frame``: ``run, size, params, tokens, loss``; ``floor``: ``loss, label``, one row or none.
    """
    ends = span(frame["tokens"], log=True)
    assert ends is not None, "a training picture needs tokens"
    x = theme.x("tokens", ends, _("Training tokens"))
    y = alt.Y(
        "loss:Q",
        title=_("Loss ({unit})", unit=unit),
        scale=alt.Scale(type="log", nice=False, padding=6),
        axis=alt.Axis(values=_loss_ticks(frame, floor), format="~f"),
    )
    lines = (
        alt.Chart(frame)
        .mark_line(strokeWidth=1.5)
        .encode(x=x, y=y, color=theme.colour(known, legend=True), detail="run:N", order="tokens:Q")
    )
    dots = (
        alt.Chart(frame)
        .mark_point(filled=True, size=22, opacity=1)
        .encode(
            x=x, y=y, color=theme.colour(known, legend=True),
            tooltip=[alt.Tooltip("run:N", title=_("run")), alt.Tooltip("params:Q", title=_("parameters"), format=","),
                     alt.Tooltip("tokens:Q", title=_("tokens"), format=","),
                     alt.Tooltip("loss:Q", title=_("loss"), format=".4f")],
        )
    )  # fmt: skip
    base = alt.Chart(floor)
    rule = base.mark_rule(color=INK, strokeDash=[2, 3], strokeWidth=1.4).encode(y=y)
    label = base.mark_text(align="left", baseline="bottom", dy=-3, dx=4, color=INK, fontSize=11).encode(
        y=y, x=alt.value(0), text="label:N"
    )
    return alt.layer(lines, dots, rule, label).properties(width=width, height=300)


def _loss_ticks(frame: pd.DataFrame, floor: pd.DataFrame) -> list[float]:
    values = [*frame["loss"], *floor["loss"]]
    low, high = min(values), max(values)
    ticks = [0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 12]
    return [float(tick) for tick in ticks if low * 0.97 <= tick <= high * 1.03]


def residual_template(known: Sizes, x_title: str | list[str], ends: tuple[float, float]) -> Chart:
    """Residuals whose data are named ``points`` and filled in by the page."""
    chart = residuals(alt.NamedData(name="points"), known, x_title, ends, width="container", legend=False)
    return chart.properties(autosize=alt.AutoSizeParams(type="fit-x", contains="padding"))


def residuals(
    frame: pd.DataFrame | alt.NamedData,
    known: Sizes,
    x_title: str | list[str],
    ends: tuple[float, float],
    *,
    width: Any = 300,
    legend: bool = True,
) -> Chart:
    """Observed minus fitted, in percentage points, by size. ``frame`` as of ``frames.residuals``."""
    x = theme.x("loss", ends, x_title)
    y = alt.Y("pp:Q", title=_("Residual (pp)"), axis=alt.Axis(tickCount=5))
    zero = alt.Chart(pd.DataFrame({"pp": [0.0]})).mark_rule(color=CHANCE, strokeDash=[5, 4]).encode(y=y)
    dots = (
        alt.Chart(frame)
        .mark_point(filled=True, size=34, opacity=1, fillOpacity=0.85, stroke="white", strokeWidth=0.4, clip=True)
        .encode(
            x=x, y=y, color=theme.colour(known, legend=legend),
            tooltip=[alt.Tooltip("run:N", title=_("run")), alt.Tooltip("params:Q", title=_("parameters"), format=","),
                     alt.Tooltip("loss:Q", title=_("loss"), format=".4f"),
                     alt.Tooltip("pp:Q", title=_("residual, pp"), format="+.2f")],
        )
    )  # fmt: skip
    return alt.layer(zero, dots).properties(width=width, height=190)


def effects(frame: pd.DataFrame, *, width: Any = 560, level: str = "95 %") -> Chart:
    """What ten times the parameters change at equal loss, in pp, with the margin. ``frames.effects``."""
    margin = float(frame["margin"].iloc[0])
    y = alt.Y("label:N", title=None, sort=None, axis=alt.Axis(labelLimit=260, grid=True))
    x = alt.X(
        "low:Q", title=_("Size effect at equal loss, pp per 10× parameters ({level} interval)", level=level), axis=_FEW
    )
    verdicts = [words.effect(verdict) for verdict in EFFECT_COLOURS]
    colour = alt.Color(
        "verdict:N",
        scale=alt.Scale(domain=verdicts, range=list(EFFECT_COLOURS.values())),
        legend=alt.Legend(title=None, orient="top"),
    )
    tooltip = [
        alt.Tooltip("label:N", title=_("task")), alt.Tooltip("metric:N", title=_("metric")),
        alt.Tooltip("pp:Q", title=_("pp per decade"), format="+.2f"),
        alt.Tooltip("low:Q", title=_("low"), format="+.2f"), alt.Tooltip("high:Q", title=_("high"), format="+.2f"),
    ]  # fmt: skip
    within = (
        alt.Chart(pd.DataFrame({"low": [-margin], "high": [margin]}))
        .mark_rect(color=CHANCE, fillOpacity=0.16)
        .encode(x=x, x2="high:Q")
    )
    zero = alt.Chart(pd.DataFrame({"low": [0.0]})).mark_rule(color=CHANCE).encode(x=x)
    base = alt.Chart(frame).encode(y=y, color=colour, tooltip=tooltip)
    bars = base.mark_rule(strokeWidth=2.2).encode(x=x, x2="high:Q")
    dots = base.mark_point(filled=True, size=70, opacity=1).encode(x=alt.X("pp:Q"))
    return alt.layer(within, zero, bars, dots).properties(width=width, height=_ROW * max(3, frame["label"].nunique()))


def predictors(frame: pd.DataFrame, *, width: Any = 560) -> Chart:
    """R² of a held-out size by predictor, one row a task; below zero is drawn at the edge. ``frames.predictors``."""
    drawn = frame.dropna(subset=["r2"]).assign(shown=lambda rows: rows["r2"].clip(lower=-0.5))
    known = set(drawn["predictor"])
    looks = zip(map(_, PREDICTORS.values()), PREDICTOR_COLOURS, PREDICTOR_SHAPES, strict=True)
    names, colours, shapes = zip(*(look for look in looks if look[0] in known), strict=True)
    y = alt.Y("label:N", title=None, sort=None, axis=alt.Axis(labelLimit=260, grid=True))
    x = alt.X(
        "shown:Q",
        title=_("Held-out R² (1 is perfect; at or below −0.5 is drawn at −0.5)"),
        scale=alt.Scale(domain=[-0.55, 1.02], nice=False),
        axis=_FEW,
    )
    dots = (
        alt.Chart(drawn)
        .mark_point(filled=True, size=75, opacity=0.9)
        .encode(
            x=x, y=y,
            color=alt.Color("predictor:N", scale=alt.Scale(domain=names, range=colours),
                            legend=alt.Legend(title=None, orient="top")),
            shape=alt.Shape("predictor:N", scale=alt.Scale(domain=names, range=shapes)),
            tooltip=[alt.Tooltip("label:N", title=_("task")), alt.Tooltip("metric:N", title=_("metric")),
                     alt.Tooltip("predictor:N", title=_("predictor")), alt.Tooltip("r2:Q", title="R²", format=".3f"),
                     alt.Tooltip("error:Q", title=_("mean error, pp"), format=".2f")],
        )
    )  # fmt: skip
    zero = alt.Chart(pd.DataFrame({"shown": [0.0]})).mark_rule(color=MUTED, strokeDash=[2, 3]).encode(x=x)
    return alt.layer(zero, dots).properties(width=width, height=_ROW * max(3, drawn["label"].nunique()))
