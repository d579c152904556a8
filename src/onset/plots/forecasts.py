"""Forecasts as pictures: predicted scores beside what was seen, forecast against truth, and the loss law."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from onset.language import _
from onset.plots import theme, words
from onset.plots.frames import METHODS, span
from onset.plots.palette import CHANCE, Sizes, sizes
from onset.plots.theme import Chart
from onset.results import OpenedForecast

MOST_PANELS = 12
PREDICTED = "#b3261e"


def against_truth(frame: pd.DataFrame, known: Sizes, *, level: str) -> Chart:
    """Predicted against observed scores, one panel a method, on one scale. ``frame`` as of ``frames.predicted``."""
    values = pd.concat([frame["seen"], frame["score"]])
    ends = span(values.clip(values.quantile(0.002), values.quantile(0.998)), log=False)
    assert ends is not None, "a back-test has forecasts"
    names = [name for name in map(_, METHODS.values()) if name in set(frame["method"])]
    return alt.concat(*(_truth(frame[frame["method"] == name], known, ends, name, level) for name in names), columns=2)


def _truth(frame: pd.DataFrame, known: Sizes, ends: tuple[float, float], name: str, level: str) -> Chart:
    x = alt.X("seen:Q", title=_("Observed score"), scale=alt.Scale(domain=list(ends), nice=False))
    y = alt.Y("score:Q", title=_("Predicted score"), scale=alt.Scale(domain=list(ends), nice=False))
    line = pd.DataFrame({"seen": list(ends), "score": list(ends)})
    diagonal = alt.Chart(line).mark_line(color=CHANCE, strokeDash=[5, 4], strokeWidth=1.3).encode(x=x, y=y)
    base = alt.Chart(frame)
    low = alt.Y("low:Q", title=_("Predicted score"), scale=alt.Scale(domain=list(ends), nice=False))
    bars = base.mark_rule(color=CHANCE, strokeOpacity=0.35, clip=True).encode(x=x, y=low, y2="high:Q")
    dots = base.mark_point(filled=True, size=26, opacity=1, fillOpacity=0.85, clip=True).encode(
        x=x, y=y, color=theme.colour(known, legend=True), tooltip=_told(["label", "metric", "run"], "params"),
    )  # fmt: skip
    covered = float(((frame["low"] <= frame["seen"]) & (frame["seen"] <= frame["high"])).mean())
    error = 100 * float((frame["score"] - frame["seen"]).abs().mean())
    told = _("mean error {error} pp; {share} within {level} intervals", error=f"{error:.1f}", share=f"{covered:.0%}",
             level=level)  # fmt: skip
    return alt.layer(bars, diagonal, dots).properties(width=330, height=260, title=alt.TitleParams(name, subtitle=told))


def _told(names: list[str], *numbers: str) -> list[alt.Tooltip]:
    return [
        *(alt.Tooltip(f"{name}:N", title=_("task") if name == "label" else _(name)) for name in names),
        *(
            alt.Tooltip(f"{name}:Q", title=_("parameters") if name == "params" else _(name), format=",")
            for name in numbers
        ),
        alt.Tooltip("seen:Q", title=_("observed"), format=".4f"),
        alt.Tooltip("score:Q", title=_("predicted"), format=".4f"),
        alt.Tooltip("low:Q", title=_("low"), format=".4f"),
        alt.Tooltip("high:Q", title=_("high"), format=".4f"),
    ]


def targets(scores: pd.DataFrame, observations: pd.DataFrame, *, columns: int = 3, width: int = 230) -> Chart | None:
    """Predicted scores with their intervals beside the scores that they were learnt from, one panel a task.

    ``scores`` and ``observations`` as of a Forecast; refused tasks have no panel, and None is returned where all are.
    """
    known = sizes(observations["params"]) if "params" in observations else sizes([])
    made = []
    for (task, metric), rows in scores[scores["score"].notna()].groupby(["task", "metric"], sort=False):
        seen = observations[(observations["task"] == task) & (observations["metric"] == metric)]
        chart = _target(rows, seen, known)
        title = alt.TitleParams(words.title(str(task)).text, subtitle=words.metric_label(str(metric)))
        made.append(chart.properties(width=width, height=round(width * 0.7), title=title))
    if len(made) == 1:
        return made[0]
    return alt.concat(*made[:MOST_PANELS], columns=columns) if made else None


def _target(rows: pd.DataFrame, seen: pd.DataFrame, known: Sizes) -> Chart:
    label = dict(zip(known.params, known.labels, strict=True))
    drawn = pd.DataFrame({"loss": seen["loss"].astype(float), "score": seen["score"].astype(float)})
    drawn["size"] = seen["params"].astype(float).map(label).fillna("") if "params" in seen else ""
    predicted = rows[["loss", "score", "low", "high"]].astype(float)
    ends = span(pd.concat([drawn["loss"], predicted["loss"]]), log=False)
    assert ends is not None, "a forecast has losses"
    x = theme.x("loss", ends, theme.falling(_("Loss")))

    def y(field: str) -> alt.Y:
        return alt.Y(f"{field}:Q", title=_("Score"), scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5))

    dots = alt.Chart(drawn).mark_point(filled=True, size=22, opacity=1, fillOpacity=0.6)
    base = alt.Chart(predicted)
    tooltip = [alt.Tooltip(f"{name}:Q", format=".4f") for name in ("loss", "score", "low", "high")]
    return alt.layer(
        dots.encode(x=x, y=y("score"), color=theme.colour(known, legend=True)),
        base.mark_rule(color=PREDICTED, strokeWidth=2).encode(x=x, y=y("low"), y2="high:Q"),
        base.mark_point(filled=True, shape="diamond", size=80, opacity=1, color=PREDICTED, stroke="white").encode(
            x=x, y=y("score"), tooltip=tooltip
        ),
    )


def calibration(opened: OpenedForecast, *, width: int = 300) -> Chart:
    """How many scores lay below each quantile of their forecasts; a calibrated forecast lies on the diagonal."""
    frame = opened.calibration()
    ends = alt.Scale(domain=[0, 1])
    x = alt.X("stated:Q", title="Stated probability", scale=ends)
    y = alt.Y("observed:Q", title="Share of scores below", scale=ends)
    diagonal = alt.Chart(pd.DataFrame({"stated": [0, 1], "observed": [0, 1]})).mark_line(
        color=CHANCE, strokeDash=[5, 4]
    )
    base = alt.Chart(frame).encode(x=x, y=y)
    return alt.layer(
        diagonal.encode(x=x, y=y), base.mark_line(color=PREDICTED), base.mark_point(filled=True, color=PREDICTED)
    ).properties(width=width, height=width)


def loss_law(law: Any, *, width: int = 520) -> Chart:
    """A loss law over tokens with its prediction band, at four sizes over the range that it was fitted to."""
    smallest, largest, fewest, most = law.seen
    drawn = np.unique(np.geomspace(smallest, largest, 4))
    known = sizes(drawn)
    frame = pd.concat([law.predict(size, np.geomspace(fewest, most, 40)) for size in drawn], ignore_index=True)
    label = dict(zip(known.params, known.labels, strict=True))
    frame["size"] = frame["params"].astype(float).map(label)
    ends = span(frame["tokens"], log=True)
    assert ends is not None, "a law was fitted to tokens"
    x = theme.x("tokens", ends, _("Training tokens"))

    def y(field: str) -> alt.Y:
        return alt.Y(f"{field}:Q", title=_("Loss"), scale=alt.Scale(zero=False))

    colour = theme.colour(known, legend=True)
    base = alt.Chart(frame)
    return alt.layer(
        base.mark_area(fillOpacity=0.15).encode(x=x, y=y("low"), y2="high:Q", color=colour),
        base.mark_line(strokeWidth=2).encode(x=x, y=y("loss"), color=colour),
    ).properties(width=width, height=round(width * 0.55))
