"""``plot``: any result of an analysis as a chart; one function a result, chosen by its type."""

from __future__ import annotations

from functools import singledispatch
from typing import Any, Literal

import altair as alt
import numpy as np
import pandas as pd

from onset.errors import OnsetError
from onset.language import _
from onset.metrics import info as metrics
from onset.plots import curves, designs, forecasts, frames, onsets, performance, questions, theme, words
from onset.plots.palette import sizes
from onset.plots.theme import Chart
from onset.results import Analysis, Backtest, Design, Forecast, OpenedForecast, Questions, SizeEffect, Threshold
from onset.stats.loss_law import LossLaw
from onset.stats.prediction.curve_fit import Fit

Kind = Literal["forest", "panels"]


@singledispatch
def plot(result: Any) -> Chart:
    """The chart of a result: of an analysis, a threshold, a size effect, a forecast, a back-test or a fitted law.

    What is drawn of one curve is one layered Altair chart, which can be resized and layered with others:
    ``onset.plot(fit).properties(width=300)``. Raises OnsetError for a result that has nothing to show, and for
    anything else.
    """
    raise OnsetError(
        f"there is no chart of {type(result).__name__}",
        advice="draw what analyze, threshold, size_effect, forecast, backtest or fit return",
    )


@plot.register
def _analysis(result: Analysis, kind: Kind | None = None) -> Chart:
    """A forest plot of onset losses and thresholds, or (``kind="panels"``) one panel a task; one finding is a curve."""
    if len(result.findings) == 1 and kind is None:
        return _threshold(_with_observations(result))
    drawn = frames.points(result)
    made = frames.panels(result, drawn)
    found = any(finding.onset or finding.threshold for finding in result.headlines())
    if kind == "forest" or (kind is None and found):
        return onsets.chart(frames.headlines(made), drawn, words.percent(result.level))
    shared = performance.frame(drawn, "loss", frames.window(drawn, made))
    shown = frames.headlines(made)
    spec = None if shared is None else performance.figure(shown, shared, _("Performance against loss"), [], columns=4)
    if spec is None:
        raise OnsetError("there are no observations to draw", where=result.source)
    return alt.ConcatChart.from_dict(spec, validate=False)


def _with_observations(result: Analysis) -> Threshold:
    (finding,) = result.findings
    rows = result.observations
    return finding.with_changes(observed=rows) if {"run", "params", "loss", "score"} <= set(rows) else finding


@plot.register
def _threshold(result: Threshold) -> Chart:
    return curves.threshold(result)


@plot.register
def _size_effect(result: SizeEffect) -> Chart:
    return curves.size_effect(result)


@plot.register
def _forecast(result: Forecast) -> Chart:
    seen = result.observations if result.observations is not None else pd.DataFrame()
    chart = forecasts.targets(result.scores, seen)
    if chart is None:
        why = "; ".join(pd.unique(result.scores["why"])[:3])
        raise OnsetError("every forecast was refused, so there is nothing to draw", where=why)
    return chart


@plot.register
def _backtest(result: Backtest) -> Chart:
    known = sizes(result.predictions["params"])
    pairs = result.predictions[["task", "metric"]].drop_duplicates()
    headline = {(str(task), metrics.headline(rows["metric"])) for task, rows in pairs.groupby("task")}
    frame = frames.predicted(result.predictions, headline, known)
    return forecasts.against_truth(frame, known, level=words.percent(result.level))


@plot.register
def _opened(result: OpenedForecast) -> Chart:
    return forecasts.calibration(result)


@plot.register
def _design(result: Design) -> Chart:
    return designs.power(result)


@plot.register
def _questions(result: Questions) -> Chart:
    return questions.by_loss(result)


@plot.register
def _loss_law(result: LossLaw) -> Chart:
    return forecasts.loss_law(result)


@plot.register
def _fit(result: Fit) -> Chart:
    """One law with its band through the points, as far as losses were seen."""
    lowest, highest = result.seen
    curve = result.predict(np.linspace(lowest, highest, 200))
    fitted = result.predict(result.residuals["loss"])["score"].to_numpy()
    rows = result.residuals.assign(score=fitted + result.residuals["residual"])
    loss = alt.X("loss:Q", title=theme.falling(_("Loss")), scale=alt.Scale(reverse=True, zero=False))
    points = alt.Chart(rows).mark_circle(size=40, opacity=0.7).encode(loss, _score("score"), alt.Color("run:N"))
    band = alt.Chart(curve.dropna()).mark_area(opacity=0.2).encode(loss, _score("low"), alt.Y2("high:Q"))
    line = alt.Chart(curve).mark_line().encode(loss, _score("score"))
    chart: Chart = alt.layer(band, line, points).properties(width=460, height=300, title=result.name)
    return chart


def _score(column: str) -> alt.Y:
    return alt.Y(f"{column}:Q", title=_("Score"), scale=alt.Scale(zero=False))
