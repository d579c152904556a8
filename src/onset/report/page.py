"""The page: one self-contained report.html that opens offline, and its figures as SVG, PDF and PNG.

Every text that comes from a table or a study is data: the template escapes it, the pictures get it as JSON that
cannot end its script element, and the page's security policy runs the scripts that were written here and no other.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files as resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from onset.errors import OnsetError
from onset.metrics import info as scales
from onset.plots import figures, files, frames, onsets, panels, theme, words
from onset.plots.facts import StudyFacts
from onset.plots.figures import Drawing
from onset.report import content, data, tables
from onset.results import Analysis
from onset.store.parts import write_text

if TYPE_CHECKING:
    from onset.results import Backtest, Forecast

REPORT = "report.html"
FIGURES = "figures"


@dataclass(frozen=True)
class Report:
    """All that a page is made of."""

    analysis: Analysis
    study: StudyFacts | None = None
    forecast: Forecast | None = None
    backtest: Backtest | None = None


def write(
    out: Path,
    analysis: Analysis,
    study: StudyFacts | None = None,
    *,
    forecast: Forecast | None = None,
    backtest: Backtest | None = None,
    pictures: bool = True,
) -> Path:
    """Write ``out/report.html`` and ``out/figures/*.{svg,pdf,png}``; returns the path of the page.

    Without ``study``, as for a table of others, the page does without the sections on runs, training and items.
    ``forecast`` and ``backtest`` add a section of their own. ``pictures=False`` leaves the figure files out.
    Raises OnsetError for an analysis without findings or rows, and where ``out`` cannot be written.
    """
    report = Report(analysis, study, forecast, backtest)
    book = prepare(report)
    path = Path(out) / REPORT
    write_text(path, html(book, report))
    if pictures:
        figures.write_all(book, Path(out) / FIGURES, analysis=analysis, forecast=forecast, backtest=backtest)
    return path


def prepare(report: Report) -> list[Drawing]:
    """All that the page and the figures are drawn from, one drawing a loss axis, the main one first."""
    analysis, study = report.analysis, report.study
    if not analysis.findings or analysis.observations.empty:
        raise OnsetError(
            "there is nothing to report: the analysis has no findings",
            where=analysis.source,
            advice="a table needs at least one row with a run, a loss, a task, a metric and a score",
        )
    groups = {} if study is None else dict(zip(study.runs["run"].astype(str), study.runs["group"], strict=True))
    named = {run: str(group or "") for run, group in groups.items()}
    losses = frames.loss_names(analysis)
    book = []
    for loss in losses:
        points = frames.points(analysis, loss, named, frames.DRAWN_POINTS // len(losses))
        made = frames.panels(analysis, points)
        near = frames.window(points, made)
        book.append(Drawing(points, made, near, words.percent(analysis.level), study))
    return book


def html(book: list[Drawing], report: Report) -> str:
    """The page as one text."""
    scripts = [_bundle(), _resource("page.js")]
    read = page_data(book, report)
    return _template().render(
        scripts=scripts,
        hashes=[_hash(script) for script in scripts],
        style=_resource("page.css"),
        data=data.safe_json(read),
        **sections(book, report, read["alone"]),
    )


def sections(book: list[Drawing], report: Report, alone: Mapping[str, Any]) -> dict[str, Any]:
    """What the template sets, by the names that it uses."""
    main, analysis, study = book[0], report.analysis, report.study
    rows = content.finding_rows([(drawing.points, drawing.panels) for drawing in book], analysis)
    metrics = sorted({row.metric for row in rows}, key=scales.rank)
    return {
        "name": study.name if study is not None else _stem(analysis.source),
        "lead": content.lead(main.headlines, main.points.seen.unit),
        "first": _picture(main),
        "columns": content.NUMBERS,
        "level": main.level,
        "points": main.points,
        "drawn": sum(drawing.points.drawn for drawing in book),
        "total": sum(drawing.points.total for drawing in book),
        "near": main.near,
        "outside": figures.outside(main),
        "notes": content.notes(analysis),
        "facts": content.fact_list(analysis, main.points, study),
        "failed": [] if study is None else study.failed.to_dict("records"),
        "items": [] if study is None else content.item_rows(study),
        "findings": rows,
        "verdicts": _tally(rows),
        "metrics": [(metric, words.metric_label(metric)) for metric in metrics],
        "losses": [(drawing.points.loss_name, words.loss_label(drawing.points.loss_name)) for drawing in book],
        "tables": _tables(main, report),
        "legend": data.legend(main.points),
        "axes": panels.axes(main),
        "claims": analysis.claims,
        "axis_choice": analysis.loss_choice,
        "has": panels.has(main, alone),
        "unit": main.points.seen.unit,
    }


def _tables(main: Drawing, report: Report) -> dict[str, tables.Table]:
    """Every table of the page by name; one without rows is left out by the template."""
    return {
        "runs": tables.runs(report.study, main.points.seen.unit),
        "predictors": tables.predictors(main.panels),
        "metric_comparisons": tables.metric_comparisons(report.analysis),
        "factors": tables.factors(report.analysis),
        "axes": tables.loss_measures(report.analysis),
        "held_out": tables.held_out(report.analysis),
        "axis_tasks": tables.loss_tasks(report.analysis),
        "off_curve": tables.off_curve(report.analysis),
        "converted": tables.converted(report.analysis),
        "families": tables.families(main.panels),
        "scores": tables.scores(report.forecast),
        "onsets": tables.onsets(report.forecast),
        "backtest": tables.backtest(report.backtest),
        "refusals": tables.refusals(report.backtest),
    }


def page_data(book: list[Drawing], report: Report) -> dict[str, Any]:
    """The data that the page's script reads: panels and templates of each loss, and the charts that stand alone."""
    datasets: dict[str, Any] = {}
    return {
        "losses": [
            {
                **data.panel_data(drawing.points, drawing.panels, drawing.near),
                "templates": panels.templates(drawing, datasets),
            }
            for drawing in book
        ],
        "alone": panels.alone(
            book[0], datasets, analysis=report.analysis, forecast=report.forecast, backtest=report.backtest
        ),
        "datasets": datasets,
    }


def _stem(source: str) -> str:
    """A table's name without folders and endings."""
    return Path(source).name.split(".")[0] or source


def _picture(main: Drawing) -> dict[str, str]:
    """The first picture, drawn already: it is there without scripts, in print and for readers of the screen."""
    spec = files.specification(figures.onset_losses(main).configure(**theme.config()))
    drawn = base64.b64encode(files.svg(spec).encode()).decode()
    return {"source": f"data:image/svg+xml;base64,{drawn}", "text": onsets.description(main.headlines, main.level)}


def _tally(rows: list[content.FindingRow]) -> list[tuple[str, str, int]]:
    """How many tasks have each verdict under their headline metric."""
    return [
        (verdict, label, sum(row.main and row.verdict == verdict for row in rows))
        for verdict, label in words.VERDICTS.items()
    ]


def _hash(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@cache
def _bundle() -> str:
    """The drawing script; it must be able to stand inside a script element."""
    bundle = files.javascript()
    assert "</script" not in bundle.lower(), "the bundle would end its own element"
    assert "<!--" not in bundle, "the bundle would open a comment"
    return bundle


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_resource("page.html"))


def _resource(name: str) -> str:
    return resources("onset.report").joinpath("templates", name).read_text(encoding="utf-8")
