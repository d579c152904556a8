"""The page: one self-contained report.html that opens offline, and its figures as SVG, PDF and PNG.

Every text that comes from a table or a study is data: the template escapes it, the pictures get it as JSON that
cannot end its script element, and the page's security policy runs the scripts that were written here and no other.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import jinja2

from onset.analysis.findings import Analysis
from onset.errors import OnsetError
from onset.report import content, frames, words
from onset.report.charts import figures, files, panels
from onset.report.charts.figures import Drawing
from onset.report.facts import StudyFacts
from onset.store.tables import write_text

REPORT = "report.html"
FIGURES = "figures"


def write(out: Path, analysis: Analysis, study: StudyFacts | None = None, *, pictures: bool = True) -> Path:
    """Write ``out/report.html`` and ``out/figures/*.{svg,pdf,png}``; returns the path of the page.

    Without ``study``, as for a table of others, the page does without the sections on runs, training and items.
    ``pictures=False`` leaves the figure files out. Raises OnsetError for an analysis without findings or rows, and
    where ``out`` cannot be written.
    """
    drawing = prepare(analysis, study)
    path = Path(out) / REPORT
    write_text(path, html(drawing, analysis, study))
    if pictures:
        figures.write_all(drawing, Path(out) / FIGURES)
    return path


def prepare(analysis: Analysis, study: StudyFacts | None = None) -> Drawing:
    """All that the page and the figures are drawn from."""
    if not analysis.findings or analysis.observations.empty:
        raise OnsetError(
            "there is nothing to report: the analysis has no findings",
            where=analysis.source,
            advice="a table needs at least one row with a run, a loss, a task, a metric and a score",
        )
    groups = {} if study is None else dict(zip(study.runs["run"].astype(str), study.runs["group"], strict=True))
    points = frames.points(analysis, {run: str(group or "") for run, group in groups.items()})
    made = frames.panels(analysis, points)
    return Drawing(points, made, frames.window(points, made), words.percent(analysis.level), study)


def html(drawing: Drawing, analysis: Analysis, study: StudyFacts | None = None) -> str:
    """The page as one text."""
    scripts = [_bundle(), _resource("page.js")]
    return _template().render(
        scripts=scripts,
        hashes=[_hash(script) for script in scripts],
        style=_resource("page.css"),
        data=content.safe_json(page_data(drawing)),
        **sections(drawing, analysis, study),
    )


def sections(drawing: Drawing, analysis: Analysis, study: StudyFacts | None) -> dict[str, Any]:
    """What the template sets, by the names that it uses."""
    rows = content.finding_rows(drawing.panels, content.seen_by_panel(analysis), analysis.level)
    several = sorted({row.metric for row in rows}, key=words.metric_rank)
    return {
        "name": study.name if study is not None else analysis.source,
        "level": drawing.level,
        "points": drawing.points,
        "near": drawing.near,
        "outside": figures.outside(drawing),
        "facts": content.fact_list(analysis, drawing.points, study),
        "runs": [] if study is None else content.run_rows(study),
        "failed": [] if study is None else study.failed.to_dict("records"),
        "items": [] if study is None else content.item_rows(study),
        "findings": rows,
        "verdicts": _tally(rows),
        "metrics": [(metric, words.metric_label(metric)) for metric in several],
        "predictors": content.predictor_rows(drawing.panels),
        "predictor_names": list(frames.PREDICTORS.values()),
        "legend": content.legend(drawing.points),
        "axes": panels.axes(drawing),
        "has": panels.has(drawing),
        "loss_label": words.loss_label(drawing.points.loss_name),
        "unit": drawing.points.seen.unit,
    }


def page_data(drawing: Drawing) -> dict[str, Any]:
    """The data that the page's script reads: panels, their templates, and the charts that stand alone."""
    return {**content.panel_data(drawing.points, drawing.panels), **panels.specifications(drawing)}


def _tally(rows: list[content.FindingRow]) -> list[tuple[str, str, int]]:
    """How many tasks have each verdict under their headline metric."""
    return [
        (verdict, label, sum(row.headline and row.verdict == verdict for row in rows))
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
