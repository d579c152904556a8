"""``draw``: any result of an analysis as a chart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from onset.errors import OnsetError
from onset.metrics import info as scales
from onset.plots import forecasts as foresight
from onset.plots import frames, others, performance, theme, words
from onset.plots.palette import sizes
from onset.plots.theme import Chart
from onset.stats.findings import Analysis, Finding


def draw(result: Any) -> Chart:
    """The chart of a result: of an analysis, a threshold, a collapse, a forecast, a back-test, a law or a loss law.

    Results are told apart by what they have, so that nothing is imported for them. Raises OnsetError for a result
    that has nothing to show, and for anything else.
    """
    for attributes, picture in _PICTURES:
        if all(hasattr(result, name) for name in attributes):
            return picture(result)
    raise OnsetError(
        f"there is no picture of {type(result).__name__}",
        advice="draw what analyze, threshold, collapse, forecast, backtest or fit return",
    )


def _analysis(analysis: Analysis) -> Chart:
    drawn = frames.points(analysis)
    made = frames.panels(analysis, drawn)
    shared = performance.frame(drawn, "loss", frames.window(drawn, made))
    shown = frames.headlines(made)
    return _figure(shown, shared, "Performance against loss", 4)


def _threshold(fit: Any) -> Chart:
    """The law with its band, the threshold with its interval, and the points as law plus residual."""
    if fit.curve is None or fit.residuals is None:
        raise OnsetError("nothing was fitted, so there is nothing to draw", where=fit.verdict, advice=fit.why)
    curve = fit.curve.sort_values("loss")
    rows = fit.residuals.assign(task="fit", metric="score", tokens=np.nan)
    rows["score"] = np.interp(rows["loss"], curve["loss"], curve["score"]) + rows["residual"]
    finding = Finding(
        task="fit", metric="score", loss_name="loss", direction=fit.direction, chance=fit.chance,
        n_points=len(rows), n_runs=rows["run"].nunique(), spearman=None, pearson=None, verdict=fit.verdict,
        why=fit.why, threshold=fit.threshold, curve=fit.curve, residuals=fit.residuals,
    )  # fmt: skip
    analysis = Analysis(source="", findings=(finding,), observations=rows, level=fit.level)
    points = frames.points(analysis)
    (panel,) = frames.panels(analysis, points)
    title = words.Title("Score against loss", panel.title.ability, "", panel.title.rank)
    shown = frames.Panel(panel.finding, title, panel.points)
    return _figure([shown], performance.frame(points, "loss"), "", 1, width=460)


def _figure(
    shown: list[frames.Panel], shared: performance.Frame | None, title: str, columns: int, width: int = 196
) -> Chart:
    spec = None if shared is None else performance.figure(shown, shared, title, [], columns=columns, width=width)
    if spec is None:
        raise OnsetError("there are no observations to draw")
    return alt.ConcatChart.from_dict(spec, validate=False)


def _collapse(fit: Any) -> Chart:
    """Residuals from the shared curve by size, and the offset of each size or category."""
    if fit.points is None or fit.residuals.empty:
        raise OnsetError("nothing could be compared, so there is nothing to draw", where=fit.by, advice=fit.why)
    known = sizes(fit.residuals["params"])
    rows = frames.residual_rows(fit.residuals, known)
    ends = frames.span(rows["loss"], log=False)
    assert ends is not None, "a comparison has losses"
    left = others.residuals(rows, known, "Loss, falling →", ends, width=420).properties(height=240)
    if fit.levels.empty:
        return left.configure(**theme.config())
    return alt.hconcat(left, foresight.levels(fit.levels, fit.margin, fit.by)).configure(**theme.config())


def _forecast(result: Any) -> Chart:
    chart = foresight.targets(result.scores, result.observations)
    if chart is None:
        why = "; ".join(pd.unique(result.scores["why"])[:3])
        raise OnsetError("every forecast was refused, so there is nothing to draw", where=why)
    return chart.configure(**theme.config())


def _backtest(result: Any) -> Chart:
    known = sizes(result.predictions["params"])
    pairs = result.predictions[["task", "metric"]].drop_duplicates()
    metrics = {task: scales.headline(list(rows["metric"])) for task, rows in pairs.groupby("task")}
    frame = frames.foreseen(result.predictions, {(str(task), metric) for task, metric in metrics.items()}, known)
    return foresight.against_truth(frame, known, level=words.percent(result.level)).configure(**theme.config())


def _loss_law(law: Any) -> Chart:
    return foresight.loss_law(law).configure(**theme.config())


def _law(fit: Any) -> Chart:
    """One law with its band through the points, as far as losses were seen."""
    lowest, highest = fit.seen
    curve = fit.predict(np.linspace(lowest, highest, 200))
    fitted = fit.predict(fit.residuals["loss"])["score"].to_numpy()
    rows = fit.residuals.assign(score=fitted + fit.residuals["residual"])
    loss = alt.X("loss:Q", title="Loss, falling →", scale=alt.Scale(reverse=True, zero=False))
    points = alt.Chart(rows).mark_circle(size=40, opacity=0.7).encode(loss, _score("score"), alt.Color("run:N"))
    band = alt.Chart(curve.dropna()).mark_area(opacity=0.2).encode(loss, _score("low"), alt.Y2("high:Q"))
    line = alt.Chart(curve).mark_line().encode(loss, _score("score"))
    picture: Chart = alt.layer(band, line, points).properties(width=460, height=300, title=fit.name)
    return picture.configure(**theme.config())


def _score(column: str) -> alt.Y:
    return alt.Y(f"{column}:Q", title="Score", scale=alt.Scale(zero=False))


_PICTURES: tuple[tuple[tuple[str, ...], Callable[[Any], Chart]], ...] = (
    (("findings", "observations"), _analysis),
    (("predictions", "refusals"), _backtest),
    (("scores", "onsets"), _forecast),
    (("levels", "residuals", "by"), _collapse),
    (("curve", "residuals", "threshold", "verdict"), _threshold),
    (("law", "residuals", "seen"), _law),
    (("draws", "seen"), _loss_law),
)
"""What a result has, and the picture of such a result; the first that fits counts."""
