"""The page: one self-contained report.html that opens offline, and its figures as SVG, PDF and PNG.

Every text that comes from a table or a study is data: the templates escape it, the pictures get it as JSON that
cannot end its script element, and the page's security policy runs the scripts that were written here and no other.
The page holds its body in two languages: the one that was asked for as it stands, the other in a template element.
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
from markupsafe import Markup, escape

from onset import language
from onset.errors import OnsetError
from onset.language import noted
from onset.language.sentences import told as in_language
from onset.metrics import info as scales
from onset.plots import figures, files, frames, onsets, panels, words
from onset.plots.facts import StudyFacts
from onset.plots.figures import Drawing
from onset.report import content, data, lead, questions, static, tables, tasks, texts
from onset.report.style import style
from onset.results import Analysis
from onset.store.parts import write_text

if TYPE_CHECKING:
    from onset.results import Backtest, Forecast, Questions

REPORT = "report.html"
FIGURES = "figures"

SCRIPTS = ("pictures.js", "tables.js", "tasks.js", "live.js", "page.js")
"""The page's own script, in this order and in one function."""


@dataclass(frozen=True)
class Report:
    """All that a page is made of."""

    analysis: Analysis
    study: StudyFacts | None = None
    forecast: Forecast | None = None
    backtest: Backtest | None = None
    questions: Questions | None = None


def write(
    out: Path,
    analysis: Analysis,
    study: StudyFacts | None = None,
    *,
    forecast: Forecast | None = None,
    backtest: Backtest | None = None,
    found: Questions | None = None,
    pictures: bool = True,
    chosen: str = "en",
) -> Path:
    """Write ``out/report.html`` and ``out/figures/*.{svg,pdf,png}``; returns the path of the page.

    Without ``study``, as for a table of others, the page does without the sections on runs, training and items.
    ``forecast``, ``backtest`` and ``found`` (which question is learnt when) add a section of their own.
    ``pictures=False`` leaves the figure files out.
    ``chosen`` is the language of the figures and the one in which the page opens. Raises OnsetError for an analysis
    without findings or rows, and where ``out`` cannot be written.
    """
    report = Report(analysis, study, forecast, backtest, found)
    path = Path(out) / REPORT
    with language.use(chosen):
        book = prepare(report)
        write_text(path, html(book, report))
        if pictures:
            figures.write_all(book, Path(out) / FIGURES, analysis=analysis, forecast=forecast, backtest=backtest)
    return path


def prepare(report: Report) -> list[Drawing]:
    """All that the page and the figures are drawn from, one drawing a loss measure, the main one first."""
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


def html(book: list[Drawing], report: Report, *, live: str = "") -> str:
    """The page as one text, opening in the language in use; a page that is ``live`` asks that address for news."""
    chosen = language.current()
    at = tasks.places(book)
    datasets: dict[str, Any] = {}
    said: dict[str, dict[str, Any]] = {}
    bodies: dict[str, Markup] = {}
    for code in (chosen, *(one for one in language.LANGUAGES if one != chosen)):
        with language.use(code):
            rows = content.finding_rows([(drawing.points, drawing.panels) for drawing in book], report.analysis)
            said[code] = _texts(book, report, rows, datasets)
            given = sections(book, report, rows, at, said[code]["alone"], datasets, drawn=code == chosen, live=live)
            bodies[code] = body(given)
    read = {
        "losses": [data.panel_data(drawing.points, drawing.panels, drawing.near, at) for drawing in book],
        "datasets": datasets, "texts": said, "latex": tasks.latex(report.analysis, at), "language": chosen,
    }  # fmt: skip
    return shell(title(report), bodies, read, book[0], live=live)


def shell(name: str, bodies: Mapping[str, Markup], read: Any, main: Drawing | None, *, live: str) -> str:
    """The whole document around its bodies, of which the first is shown."""
    scripts = [_bundle(), script()]
    chosen, *others = bodies
    return _environment().get_template("page.html").render(
        name=name, chosen=chosen, body=bodies[chosen], others=[(code, bodies[code]) for code in others],
        scripts=[Markup(one) for one in scripts], hashes=[_hash(one) for one in scripts],
        style=Markup(style(None if main is None else main.points.sizes)), data=Markup(data.safe_json(read)), live=live,
    )  # fmt: skip


WAITING = noted("Waiting for the first scores and losses.")
MAKING = noted("Findings are being made.")


def waiting(name: str, live: str, told: str = WAITING) -> str:
    """A page before there are findings: it asks the address ``live`` how far the runs are."""
    chosen = language.current()
    bodies: dict[str, Markup] = {}
    said: dict[str, Any] = {}
    for code in (chosen, *(one for one in language.LANGUAGES if one != chosen)):
        with language.use(code):
            given = {"name": name, "language": code, "languages": language.LANGUAGES, "live": live,
                     "lead": language._(told)}  # fmt: skip
            bodies[code] = Markup(_environment().get_template("waiting.html").render(given))
            said[code] = {"losses": [], "alone": {}, "axes": {}, "words": texts.script_words()}
    read = {"losses": [], "datasets": {}, "texts": said, "latex": [], "language": chosen}
    return shell(name, bodies, read, None, live=live)


def body(given: Mapping[str, Any]) -> Markup:
    """What stands between the body's tags, in the language in use."""
    return Markup(_environment().get_template("body.html").render(given))


def title(report: Report) -> str:
    """The study's name, or that of its table."""
    return report.study.name if report.study is not None else _stem(report.analysis.source)


def sections(
    book: list[Drawing], report: Report, rows: list[content.FindingRow], at: Mapping[str, int],
    alone: Mapping[str, Any], datasets: dict[str, Any], *, drawn: bool, live: str,
) -> dict[str, Any]:  # fmt: skip
    """What the template sets, by the names that it uses."""
    main, analysis, study = book[0], report.analysis, report.study
    metrics = sorted({row.metric for row in rows}, key=scales.rank)
    items = [] if study is None else content.item_rows(study)
    views = tasks.views(main, rows, items, at, drawn=drawn)
    return {
        "name": title(report), "language": language.current(), "languages": language.LANGUAGES, "live": live,
        "lead": lead.lead(main.headlines, main.points.seen),
        "first_text": onsets.description(main.headlines, main.level),
        "pictures": {name: static.chart(spec, datasets, name) for name, spec in alone.items()} if drawn else {},
        "columns": content.columns(), "detail_columns": content.detail_columns(), "level": main.level,
        "points": main.points,
        "drawn": sum(drawing.points.drawn for drawing in book), "total": sum(drawing.points.total for drawing in book),
        "near": main.near, "outside": figures.outside(main), "notes": content.notes(analysis),
        "facts": content.fact_list(analysis, main.points, study),
        "failed": [] if study is None else study.failed.to_dict("records"),
        "findings": rows, "tasks": views, "groups": tasks.groups(views), "at": at, "folded": tasks.MANY,
        "metrics": [(metric, words.metric_label(metric)) for metric in metrics],
        "losses": [(drawing.points.loss_name, words.loss_label(drawing.points.loss_name)) for drawing in book],
        "tables": _tables(main, report), "legend": data.legend(main.points), "axes": panels.axes(main),
        "claims": texts.claims(analysis), "axis_choice": texts.axis_choice(analysis),
        "questions_drawn": questions.drawn(report.questions),
        "foretold": [in_language(one.why) for one in analysis.foretelling],
        "has": panels.has(main, alone), "delta": f"{100 * analysis.delta:g}",
    }  # fmt: skip


def _tables(main: Drawing, report: Report) -> dict[str, tables.Table]:
    """Every table of the page by name; one without rows is left out by the template."""
    return {
        "runs": tables.runs(report.study, main.points.seen.unit),
        "predictors": tables.predictors(main.panels),
        "metric_comparisons": tables.metric_comparisons(report.analysis),
        "factors": tables.factors(report.analysis),
        "stages": tables.stages(report.analysis),
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
        "questions": questions.order(report.questions),
    }


def _texts(
    book: list[Drawing], report: Report, rows: list[content.FindingRow], datasets: dict[str, Any]
) -> dict[str, Any]:
    """What the script writes and draws in one language; data of charts go to ``datasets``."""
    by_loss: dict[str, dict[tuple[str, str], content.FindingRow]] = {}
    for row in rows:
        by_loss.setdefault(row.loss, {})[row.task, row.metric] = row
    return {
        "losses": [
            {
                "templates": panels.templates(drawing, datasets),
                "panels": data.panel_texts(drawing.panels, by_loss[drawing.points.loss_name]),
            }
            for drawing in book
        ],
        "alone": panels.alone(
            book[0],
            datasets,
            analysis=report.analysis,
            forecast=report.forecast,
            backtest=report.backtest,
            more=questions.charts(report.questions),
        ),
        "axes": dict(panels.axes(book[0])),
        "words": texts.script_words(),
    }


def _stem(source: str) -> str:
    """A table's name without folders and endings."""
    return Path(source).name.split(".")[0] or source


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _bundle() -> str:
    """The drawing script; it must be able to stand inside a script element."""
    bundle = files.javascript()
    assert "</script" not in bundle.lower(), "the bundle would end its own element"
    assert "<!--" not in bundle, "the bundle would open a comment"
    return bundle


@cache
def script() -> str:
    """The page's own script: its files inside one function."""
    parts = "\n".join(_resource(name) for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{parts}}})();\n'


@cache
def _environment() -> jinja2.Environment:
    loader = jinja2.FunctionLoader(_resource)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= {"_": language._, "plural": language.plural, "within": _within}
    return environment


def _within(message: str, **elements: str) -> Markup:
    """A message with elements of HTML in the place of its names; all else is escaped."""
    return Markup(escape(language._(message))).format(**elements)


def _resource(name: str) -> str:
    return resources("onset.report").joinpath("templates", name).read_text(encoding="utf-8")
