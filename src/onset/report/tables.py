"""Tables of the page beside the summary: predictors, metrics, factors, families, loss measures, forecasts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from onset.language import _, noted
from onset.language.sentences import told as in_language
from onset.plots import frames, words
from onset.plots.facts import StudyFacts
from onset.plots.frames import Panel
from onset.report import cells
from onset.report.cells import Row
from onset.results import Analysis, Backtest, Difference, FactorEffect, Forecast, LossMeasure, Predictor, StageEffect


@dataclass(frozen=True)
class Table:
    """Headings and rows; columns from ``words`` on are of numbers, sorted as such."""

    names: tuple[str, ...]
    words: int
    rows: Sequence[Row]


def runs(study: StudyFacts | None, unit: str) -> Table:
    """The runs of a study."""
    names = (
        _("run"),
        _("family"),
        _("group"),
        _("status"),
        _("parameters"),
        _("tokens"),
        _("steps"),
        f"final loss ({unit})",
    )
    rows = [
        (
            cells.text(row["run"]),
            cells.text(row["family"]),
            cells.text(row["group"]),
            cells.text(_(str(row["status"]))),
            cells.count(row["params"]),
            cells.count(row["tokens"]),
            cells.whole(row["steps"]),
            cells.number(row["loss"], 3),
        )
        for row in ([] if study is None else _records(study.runs))
    ]
    return Table(names, 4, rows)


def predictors(panels: list[Panel]) -> Table:
    """Held-out R² over sizes and the mean error, one row a task under its headline metric."""
    rows: list[Row] = []
    for panel in frames.headlines(panels):
        found = panel.finding.predictors
        if found:
            rows.append((cells.task(panel.finding.task), *(_predicted(found.get(name)) for name in frames.PREDICTORS)))
    return Table((_("task"), *map(_, frames.PREDICTORS.values())), 1, rows)


def _predicted(values: Predictor | None) -> cells.Cell:
    r2, error = (
        (math.nan, math.nan) if values is None else (cells.value(values.r2_held_out), cells.value(values.error_pp))
    )
    note = "" if math.isnan(error) else f"± {words.number(error, 1)} pp"
    return cells.Cell(words.number(r2), r2, note)


def metric_comparisons(analysis: Analysis) -> Table:
    """Whether each task's threshold is confirmed by continuous metrics; only tasks of which something can be said."""
    told = [entry for entry in analysis.metric_comparisons if entry.verdict != "inconclusive"]
    rows = [
        (
            cells.task(entry.task),
            cells.text(entry.loss_name),
            cells.text(in_language(entry.sentence)),
            cells.text(in_language(entry.why)),
        )
        for entry in sorted(told, key=lambda entry: words.title(entry.task).rank)
    ]
    return Table((_("task"), _("loss"), _("verdict"), _("why")), 4, rows)


def factors(analysis: Analysis) -> Table:
    """What has an effect at equal loss, one row a loss measure and factor."""
    names = (
        _("factor"),
        _("loss"),
        _("at equal loss"),
        _("differs"),
        _("equivalent"),
        _("inconclusive"),
        _("median effect (pp)"),
    )
    rows = [
        (
            cells.text(entry.factor), cells.text(entry.loss_name),
            cells.text(_("has an effect") if entry.has_effect else _("no shown effect")), cells.whole(entry.differs),
            cells.whole(entry.equivalent), cells.whole(entry.inconclusive), cells.number(entry.median_pp, 1),
        )
        for entry in analysis.factor_summary
    ]  # fmt: skip
    return Table(names, 3, rows)


def stages(analysis: Analysis) -> Table:
    """What tuning moves: how many nats earlier or later each ability sets in, and the effect at equal loss."""
    names = (
        _("task"), _("metric"), _("stage"), _("loss"), _("verdict"), _("shift along the loss"), _("at equal loss (pp)"),
        _("pairs of checkpoints"),
    )  # fmt: skip
    rows = [
        (
            cells.task(one.task), cells.text(words.metric_label(one.metric)), cells.text(one.stage),
            cells.text(one.loss_name), cells.text(_(STAGE_VERDICTS[one.verdict])), _shift(one),
            _points(one.at_equal_loss), cells.whole(one.n_pairs or None),
        )
        for one in sorted(analysis.stage_effects, key=lambda effect: words.title(effect.task).rank)
    ]  # fmt: skip
    return Table(names, 5, rows)


STAGE_VERDICTS = {
    "earlier": noted("earlier, at higher loss"),
    "later": noted("later, at lower loss"),
    "same": noted("at the same loss"),
    "inconclusive": noted("inconclusive"),
}


def _shift(one: StageEffect) -> cells.Cell:
    """The shift with its interval; where only one end is known, that end."""
    if one.nats is not None:
        return cells.between(one.nats, one.low, one.high, lambda value: words.number(value, 3, sign=True))
    if one.low is not None:
        return cells.Cell(_("at least {value}", value=words.number(one.low, 3, sign=True)), one.low)
    if one.high is not None:
        return cells.Cell(_("at most {value}", value=words.number(one.high, 3, sign=True)), one.high)
    return cells.NOTHING


def _points(effect: FactorEffect | None) -> cells.Cell:
    if effect is None or effect.pp is None:
        return cells.NOTHING
    return cells.between(effect.pp, effect.low, effect.high, lambda value: words.number(value, 1, sign=True))


def loss_measures(analysis: Analysis) -> Table:
    """Which held-out loss predicts the scores best: held-out R², and how far behind the best."""
    names = (
        _("loss"),
        _("unit"),
        _("standing"),
        _("R², a family held out"),
        _("R², a size held out"),
        _("mean error (pp)"),
        _("R² behind the best"),
        _("scores"),
    )
    rows = [
        (
            cells.text(entry.loss_name), cells.text(entry.loss_unit), cells.text(_standing(entry)),
            cells.number(entry.r2_held_out_family, 3), cells.number(entry.r2_held_out_size, 3),
            cells.number(entry.error_pp, 1), _behind(entry.behind), cells.whole(entry.n_scores),
        )
        for entry in analysis.loss_measures
    ]  # fmt: skip
    return Table(names, 3, rows)


def _standing(entry: LossMeasure) -> str:
    if entry.best:
        return _("best")
    behind = entry.behind
    if behind is None:
        return ""
    return _("worse than the best") if behind.low > 0 else _("not distinguished from the best")


def _behind(behind: Difference | None) -> cells.Cell:
    if behind is None:
        return cells.NOTHING
    return cells.between(behind.value, behind.low, behind.high, lambda value: words.number(value, 3))


def held_out(analysis: Analysis) -> Table:
    """R² of each family (or size) when it was held out, one column a loss measure, the best ones first."""
    entries = analysis.loss_measures[:6]
    group = "family" if analysis.loss_choice is None else analysis.loss_choice.held_out
    groups = sorted({name for entry in entries for name in entry.held_out})
    held = {"family": _("family held out"), "size": _("size held out")}.get(group, group)
    names = (held, *(f"{entry.loss_name} ({entry.loss_unit})" for entry in entries))
    rows = [(cells.text(name), *(cells.number(entry.held_out.get(name), 3) for entry in entries)) for name in groups]
    return Table(names, 1, rows)


def loss_tasks(analysis: Analysis) -> Table:
    """R² of each task on a held-out family (or size), one column a loss measure, the best ones first."""
    entries = analysis.loss_measures[:6]
    tasks = sorted({name for entry in entries for name in entry.by_task}, key=lambda name: words.title(name).rank)
    names = ("task", *(f"{entry.loss_name} ({entry.loss_unit})" for entry in entries))
    rows = [(cells.task(name), *(cells.number(entry.by_task.get(name), 2) for entry in entries)) for name in tasks]
    return Table(names, 1, rows)


def off_curve(analysis: Analysis) -> Table:
    """Which families lie off the common curve on the best loss measure, and by how much."""
    names = (_("family"), _("on the best loss measure"), _("pp at equal loss"), _("tasks"))
    rows = [
        (
            cells.text(entry.family),
            cells.text(_("off the curve") if entry.off_curve else _("not shown to be off the curve")),
            cells.between(entry.pp, entry.low, entry.high, lambda value: words.number(value, 1)),
            cells.whole(entry.n_tasks),
        )
        for entry in (() if analysis.loss_choice is None else analysis.loss_choice.families)
    ]  # fmt: skip
    return Table(names, 2, rows)


def converted(analysis: Analysis) -> Table:
    """Thresholds on the other loss measures, family by family."""
    names = (_("task"), _("metric"), _("family"), _("loss"), _("unit"), _("threshold there"), _("runs"))
    rows = [
        (
            cells.task(entry.task), cells.text(words.metric_label(entry.metric)), cells.text(entry.family),
            cells.text(entry.loss_name), cells.text(entry.loss_unit),
            cells.between(entry.loss, entry.low, entry.high, lambda value: words.number(value, 3)),
            cells.whole(entry.n_runs),
        )
        for entry in analysis.converted
    ]  # fmt: skip
    return Table(names, 5, rows)


def families(panels: list[Panel]) -> Table:
    """The same questions within each family, under each task's headline metric."""
    names = (
        _("task"),
        _("family"),
        _("Spearman"),
        _("Pearson"),
        _("size effect at equal loss (pp)"),
        _("points"),
        _("runs"),
    )
    rows = [
        (
            cells.task(panel.finding.task), cells.text(name), cells.number(entry.spearman),
            cells.number(entry.pearson), cells.size_effect(entry.size_effect), cells.whole(entry.n_points),
            cells.whole(entry.n_runs),
        )
        for panel in frames.headlines(panels)
        for name, entry in panel.finding.families.items()
    ]  # fmt: skip
    return Table(names, 2, rows)


def backtest(result: Backtest | None) -> Table:
    """How forecasts and baselines did on sizes that were left out because they were larger."""
    names = (_("method"), _("forecasts"), _("mean error (pp)"), _("median error (pp)"), _("within the interval"),
             _("width of the interval (pp)"))  # fmt: skip
    rows = [
        (
            cells.text(_(frames.METHODS.get(row["method"], row["method"]))), cells.whole(row["forecasts"]),
            cells.number(row["error_pp"], 1), cells.number(row["median_error_pp"], 1), cells.share(row["coverage"]),
            cells.number(row["width_pp"], 1),
        )
        for row in ([] if result is None else _records(result.summary()))
    ]  # fmt: skip
    return Table(names, 1, rows)


def refusals(result: Backtest | None) -> Table:
    """Where the back-test made no forecast, and why."""
    rows = [
        (
            cells.task(str(row["task"])),
            cells.text(words.metric_label(str(row["metric"]))),
            cells.text(in_language(cells.plain(row["why"]))),
            cells.whole(row["sizes_known"]),
        )
        for row in ([] if result is None else _records(result.refusals))
    ]
    return Table((_("task"), _("metric"), _("why"), _("sizes known")), 3, rows)


def scores(result: Forecast | None) -> Table:
    """The scores that a forecast foresees, refused ones with their reason."""
    names = (_("task"), _("metric"), _("why"), _("parameters"), _("tokens"), _("loss"), _("score"))
    rows = [_score(row) for row in ([] if result is None else _records(result.summary()))]
    return Table(names, 3, rows)


def _score(row: Mapping[str, Any]) -> Row:
    refused = _("refused: ") if row["verdict"] == "refused" else ""
    return (
        cells.task(str(row["task"])),
        cells.text(words.metric_label(str(row["metric"]))),
        cells.text(refused + in_language(cells.plain(row["why"]))),
        cells.count(row["params"]),
        cells.count(row["tokens"]),
        cells.number(row["loss"], 3),
        cells.between(row["score"], row["low"], row["high"], lambda value: words.number(value, 3)),
    )


def onsets(result: Forecast | None) -> Table:
    """When abilities will set in, by size; only for thresholds that were seen."""
    names = (_("task"), _("metric"), _("why"), _("threshold"), _("parameters"), _("tokens"), _("compute (FLOPs)"))
    rows = [_onset(row) for row in ([] if result is None else _records(result.onsets))]
    return Table(names, 3, rows)


def _onset(row: Mapping[str, Any]) -> Row:
    best = _("least compute") if row.get("best_size") is True else ""
    size = cells.count(row.get("params"))
    return (
        cells.task(str(row["task"])), cells.text(words.metric_label(str(row["metric"]))),
        cells.text(in_language(cells.plain(row.get("why")))),
        cells.number(row.get("threshold"), 3), cells.Cell(size.text, size.sort, kind=best),
        cells.between(row.get("tokens"), row.get("tokens_low"), row.get("tokens_high"), words.count),
        cells.between(row.get("flops"), row.get("flops_low"), row.get("flops_high"), words.power),
    )  # fmt: skip


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a frame by the names of its columns."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
