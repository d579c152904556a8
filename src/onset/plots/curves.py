"""One curve, or the offsets of sizes from it: charts of one layer stack, to be resized and layered."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from onset.errors import OnsetError
from onset.language import _
from onset.plots import words
from onset.plots.frames import span
from onset.plots.palette import BAND, CHANCE, INK, RAMP
from onset.plots.theme import Chart, falling
from onset.results import SizeEffect, Threshold

MOST_RUNS = 12
"""Runs without a size are told apart by colour up to so many."""
POINTS = 4000
"""So many points of one curve are drawn at most, evenly along its rows."""


def threshold(fit: Threshold) -> Chart:
    """The curve with its band over the observations, the threshold and the onset loss with their intervals."""
    if fit.curve is None or fit.curve.empty:
        raise OnsetError("nothing was fitted, so there is nothing to draw", where=fit.verdict, advice=fit.why)
    observed = observations(fit)
    ends = span(pd.concat([observed["loss"], fit.curve["loss"]]), log=False)
    assert ends is not None, "a fitted curve has losses"
    title = falling(f"{words.loss_label(fit.loss_name)} ({fit.loss_unit})", 80)
    scale = alt.Scale(domain=list(ends), reverse=True, zero=False, nice=False)

    def x(field: str = "loss") -> alt.X:
        return alt.X(f"{field}:Q", title=title, scale=scale, axis=alt.Axis(format="~f"))

    def y(field: str) -> alt.Y:
        return alt.Y(f"{field}:Q", title=words.metric_label(fit.metric), scale=alt.Scale(zero=False))

    layers: list[Chart] = [*_where(fit, x), _points(observed, x(), y("score"))]
    if fit.chance is not None:
        chance = alt.Chart(pd.DataFrame({"score": [fit.chance]}))
        layers.append(chance.mark_rule(color=CHANCE, strokeDash=[5, 4], strokeWidth=1.3).encode(y=y("score")))
    curve = alt.Chart(fit.curve[["loss", "score", "low", "high"]].sort_values("loss"))
    layers.append(curve.mark_area(color=INK, fillOpacity=0.13).encode(x=x(), y=y("low"), y2="high:Q"))
    layers.append(curve.mark_line(color=INK, strokeWidth=1.8).encode(x=x(), y=y("score")))
    heading = alt.TitleParams(words.title(fit.task).text, subtitle=words.onset_text(fit), anchor="start")
    return alt.layer(*layers).properties(width=460, height=300, title=heading)


def observations(fit: Threshold) -> pd.DataFrame:
    """What was fitted: ``run, params, loss, score``; from the residuals where the fit does not keep its rows."""
    if fit.observed is not None:
        return fit.observed[["run", "params", "loss", "score"]]
    if fit.residuals is None or fit.curve is None:
        return pd.DataFrame({"run": [], "params": [], "loss": [], "score": []})
    curve = fit.curve.sort_values("loss")
    fitted = np.interp(fit.residuals["loss"], curve["loss"], curve["score"])
    return fit.residuals[["run", "params", "loss"]].assign(score=fitted + fit.residuals["residual"])


def _points(observed: pd.DataFrame, x: alt.X, y: alt.Y) -> Chart:
    rows = observed.iloc[:: max(1, -(-len(observed) // POINTS))]
    marks = alt.Chart(rows).mark_circle(size=30, opacity=0.55, clip=True)
    tooltip = [alt.Tooltip("run:N"), alt.Tooltip("params:Q", title=_("parameters"), format=","),
               alt.Tooltip("loss:Q", format=".4f"), alt.Tooltip("score:Q", format=".4f")]  # fmt: skip
    known = pd.to_numeric(rows["params"], errors="coerce")
    encoded = marks.encode(x=x, y=y, tooltip=tooltip)
    if known.nunique() > 1:
        shown = alt.Scale(type="log", range=list(RAMP))
        legend = alt.Legend(title=_("Parameters"), format="~s")
        return encoded.encode(color=alt.Color("params:Q", scale=shown, legend=legend))
    if 1 < rows["run"].nunique() <= MOST_RUNS:
        return encoded.encode(color=alt.Color("run:N", legend=alt.Legend(title=_("Run"))))
    return encoded.encode(color=alt.value(BAND))


def _where(fit: Threshold, x: object) -> list[Chart]:
    """The threshold as a line in its interval, the onset loss as a dashed line in its own."""
    made: list[Chart] = []
    for found, dash in ((fit.threshold, [1, 0]), (fit.onset, [4, 3])):
        if found is None:
            continue
        base = alt.Chart(pd.DataFrame([{"loss": found.loss, "low": found.low, "high": found.high}]))
        assert callable(x)
        made.append(base.mark_rect(color=BAND, fillOpacity=0.15).encode(x=x("low"), x2="high:Q"))
        made.append(base.mark_rule(color=BAND, strokeWidth=1.6, strokeDash=dash).encode(x=x("loss")))
    return made


def size_effect(fit: SizeEffect) -> Chart:
    """Offset of each size (or category) from the common curve, with the margin; residuals where there are none."""
    if fit.pp_per_decade is None:
        raise OnsetError("nothing could be compared, so there is nothing to draw", where=fit.by, advice=fit.why)
    if fit.levels is not None and not fit.levels.empty:
        return _levels(fit.levels, fit.margin, fit.by)
    if fit.residuals is None or fit.residuals.empty:
        raise OnsetError("this size effect keeps neither offsets nor residuals", advice="estimate it again")
    rows = fit.residuals.assign(pp=100 * fit.residuals["residual"])
    x = alt.X("loss:Q", title=falling(_("Loss")), scale=alt.Scale(reverse=True, zero=False))
    y = alt.Y("pp:Q", title=_("Residual (pp)"))
    return _points(rows.assign(score=rows["pp"]), x, y).properties(width=460, height=240)


def _levels(frame: pd.DataFrame, margin: float, by: str) -> Chart:
    """Offsets from one common curve by size or category. ``frame``: ``level, offset, low, high`` in pp."""
    drawn = frame.assign(label=distinct_labels(frame["level"]))[["label", "offset", "low", "high"]]
    x = alt.X("low:Q", title=_("Offset from the common curve (pp)"))
    y = alt.Y("label:N", title=by, sort=None)
    within = alt.Chart(pd.DataFrame({"low": [-margin], "high": [margin]}))
    base = alt.Chart(drawn)
    return alt.layer(
        within.mark_rect(color=CHANCE, fillOpacity=0.16).encode(x=x, x2="high:Q"),
        base.mark_rule(color=INK, strokeWidth=2).encode(y=y, x=x, x2="high:Q"),
        base.mark_point(filled=True, color=INK, size=60, opacity=1).encode(y=y, x=alt.X("offset:Q")),
    ).properties(width=420, height=max(120, 20 * len(drawn)))


def distinct_labels(levels: pd.Series) -> list[str]:
    """Labels of sizes or categories, with as many digits as tell sizes apart."""
    if not pd.api.types.is_numeric_dtype(levels):
        return [str(level) for level in levels]
    values = levels.astype(float)
    for digits in range(3, 10):
        labels = [words.count(value, digits) for value in values]
        if len(set(labels)) == values.nunique():
            return labels
    return [f"{value:,.0f}" for value in values]
