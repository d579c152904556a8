"""What a page says, before it is set: rows of its tables, its sentences, and the data of its pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from onset.analysis.findings import Analysis, Finding
from onset.report import frames, words
from onset.report.facts import StudyFacts
from onset.report.frames import Panel, Points
from onset.report.palette import VERDICT_COLOURS, shapes

DIGITS = 6
"""Significant digits of numbers in the page's data: more than a picture shows."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table: what it shows and what it is sorted by."""

    text: str
    sort: str | float
    note: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class FindingRow:
    """A finding in the summary table and in words."""

    task: str
    title: str
    ability: str
    metric: str
    metric_label: str
    headline: bool
    verdict: str
    verdict_label: str
    cells: tuple[Cell, ...]
    sentence: str
    why: str


def finding_rows(panels: list[Panel], seen: dict[tuple[str, str], words.Seen], level: float) -> list[FindingRow]:
    """The findings in the order of the panels."""
    first = {(panel.finding.task, panel.finding.metric) for panel in frames.headlines(panels)}
    rows = []
    for panel in panels:
        finding = panel.finding
        key = (finding.task, finding.metric)
        rows.append(
            FindingRow(
                finding.task, panel.title.text, panel.title.ability, finding.metric,
                words.metric_label(finding.metric), key in first, finding.verdict, words.VERDICTS[finding.verdict],
                _cells(finding), words.sentence(finding, seen[key], level), finding.why,
            )
        )  # fmt: skip
    return rows


def _cells(finding: Finding) -> tuple[Cell, ...]:
    """Threshold, size effect, correlations, points, runs."""
    threshold, effect = finding.threshold, finding.collapse
    if threshold is None:
        at = Cell("", math.nan)
    else:
        value, low, high = words.losses(threshold)
        at = Cell(value, threshold.value, f"{low} to {high}")
    if effect is None or not math.isfinite(effect.points_per_decade):
        moved = Cell("", math.nan)
    else:
        moved = Cell(
            words.number(effect.points_per_decade, 1, sign=True), effect.points_per_decade,
            f"{words.number(effect.low, 1)} to {words.number(effect.high, 1)}", words.COLLAPSES[effect.verdict],
        )  # fmt: skip
    return (
        at, moved, _number(finding.spearman), _number(finding.pearson), _number(finding.chance),
        Cell(f"{finding.n_points:,}", finding.n_points), Cell(f"{finding.n_runs:,}", finding.n_runs),
    )  # fmt: skip


def _number(value: float | None, places: int = 2) -> Cell:
    return Cell(words.number(value, places), math.nan if value is None else value)


def seen_by_panel(analysis: Analysis) -> dict[tuple[str, str], words.Seen]:
    """The losses seen by each finding; of the whole table where a finding has no rows of its own."""
    rows = analysis.observations
    ends = {
        (str(key[0]), str(key[1])): words.seen(group)
        for key, group in rows.groupby(["task", "metric"], sort=False)
    }  # fmt: skip
    whole = words.seen(rows)
    return {(f.task, f.metric): ends.get((f.task, f.metric), whole) for f in analysis.findings}


def fact_list(analysis: Analysis, points: Points, study: StudyFacts | None) -> list[tuple[str, str]]:
    """What was run, as pairs of a name and a value."""
    checkpoints = points.checkpoints
    told = [
        ("Source", analysis.source),
        ("Runs", f"{checkpoints['run'].nunique():,}"),
        ("Sizes", _range(checkpoints["params"], " parameters")),
        ("Checkpoints", f"{len(checkpoints):,}"),
        ("Training tokens", _range(checkpoints["tokens"], "")),
        ("Losses seen", f"{points.seen}, {words.loss_label(points.loss_name).lower()}"),
        ("Tasks", f"{len({finding.task for finding in analysis.findings}):,}"),
        ("Observations", f"{len(analysis.observations):,}"),
    ]
    if study is not None:
        told.insert(0, ("Study", study.name))
        if study.floor.get("all") is not None:
            told.append(("Entropy of the held-out text", f"{words.number(study.floor['all'], 3)} {points.seen.unit}"))
        told += [(name, f"{value:,}" if isinstance(value, int | float) else value)
                 for name, value in study.counts.items()]  # fmt: skip
        if study.seconds is not None:
            told.append(("Time taken", words.duration(study.seconds)))
        if study.digest:
            told.append(("Digest", study.digest[:16]))
    return told


def _range(values: pd.Series[float], unit: str) -> str:
    known = values[np.isfinite(values)]
    if known.empty:
        return "not known"
    low, high = words.count(float(known.min())), words.count(float(known.max()))
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"


def run_rows(study: StudyFacts) -> list[tuple[Cell, ...]]:
    """The runs of a study: run, family, group, parameters, tokens, steps, final loss, status."""
    return [
        (
            _words(row["run"]), _words(row["family"]), _words(row["group"]), _count(row["params"]), _count(row["tokens"]),
            _whole(row["steps"]), _number(_float(row["loss"]), 3), _words(row["status"]),
        )
        for row in study.runs.to_dict("records")
    ]  # fmt: skip


def item_rows(study: StudyFacts) -> list[dict[str, Any]]:
    """A few questions with what the smallest and the largest model answered."""
    return [
        {
            "title": words.title(str(row["task"])).text, "task": str(row["task"]), "item": str(row["item"]),
            "prompt": _text(row["prompt"]), "gold": _text(row["gold"]),
            "answers": [
                {"who": who, "text": _text(row[column]), "right": _right(row[f"{column}_right"])}
                for column, who in (("smallest", study.smallest or "smallest"), ("largest", study.largest or "largest"))
            ],
        }
        for row in study.items.to_dict("records")
    ]  # fmt: skip


def predictor_rows(panels: list[Panel]) -> list[tuple[Cell, ...]]:
    """R² of a left-out size and the mean error, one row a task under its headline metric."""
    rows = []
    for panel in frames.headlines(panels):
        found = panel.finding.predictors
        if not found:
            continue
        cells = [Cell(panel.title.text, panel.title.text, panel.finding.task)]
        for name in frames.PREDICTORS:
            values = found.get(name, {})
            r2, error = values.get("r2_left_out"), values.get("error_points")
            note = "" if error is None or not math.isfinite(error) else f"± {words.number(error, 1)} points"
            cells.append(Cell(words.number(r2), math.nan if r2 is None else r2, note))
        rows.append(tuple(cells))
    return rows


def panel_data(points: Points, panels: list[Panel]) -> dict[str, Any]:
    """The data of all panels: checkpoints once, each panel's scores by the row of their checkpoint."""
    first = {(panel.finding.task, panel.finding.metric) for panel in frames.headlines(panels)}
    scores = dict(iter(points.scores.groupby(["task", "metric"], sort=False)))
    made = []
    for panel in panels:
        finding = panel.finding
        key = (finding.task, finding.metric)
        rows = scores.get(key, points.scores.iloc[:0])
        made.append(
            {
                "task": finding.task, "title": panel.title.text, "ability": panel.title.ability,
                "metric": finding.metric, "label": words.metric_label(finding.metric),
                "lower": finding.direction == "lower", "headline": key in first,
                "verdict": finding.verdict, "verdictLabel": words.VERDICTS[finding.verdict],
                "colour": VERDICT_COLOURS[finding.verdict],
                "at": rows["at"].astype(int).tolist(), "score": numbers(rows["score"]),
                "stderr": numbers(rows["stderr"]) if rows["stderr"].notna().any() else None,
                "curve": {name: numbers(values) for name, values in _coarse(panel.curve).items()},
                "threshold": _threshold(finding), "chance": _known(finding.chance),
                "extent": [round_to(end) for end in panel.extent],
            }
        )  # fmt: skip
        if key in first:
            made[-1]["residuals"] = _residuals(panel, points)
    return {"checkpoints": _checkpoints(points), "panels": made}


def _checkpoints(points: Points) -> dict[str, Any]:
    """Checkpoints by column; texts that repeat are numbered."""
    rows = points.checkpoints
    found: dict[str, Any] = {name: numbers(rows[name]) for name in ("step", "params", "tokens", "flops", "loss")}
    for name in ("run", "size", "kind"):
        codes, known = pd.factorize(rows[name])
        found[name] = {"of": codes.tolist(), "names": [str(value) for value in known]}
    found["final"] = [int(value) for value in rows["final"]]
    return found


CURVE_POINTS = 120
RESIDUALS = 400


def _residuals(panel: Panel, points: Points) -> dict[str, Any] | None:
    """A panel's residuals by column, evenly thinned; None where nothing was fitted."""
    frame = frames.residuals(panel, points.sizes)
    if frame.empty:
        return None
    frame = frame.iloc[:: max(1, math.ceil(len(frame) / RESIDUALS))]
    columns = {name: numbers(frame[name]) for name in ("params", "loss", "points")}
    return {**columns, "run": frame["run"].tolist(), "size": frame["size"].tolist()}


def _coarse(curve: pd.DataFrame) -> dict[str, pd.Series[float]]:
    """A curve with no more points than a small picture can show."""
    if len(curve) > CURVE_POINTS:
        kept = np.unique(np.linspace(0, len(curve) - 1, CURVE_POINTS).round().astype(int))
        curve = curve.iloc[kept]
    return {str(name): curve[name] for name in curve.columns}


def _threshold(finding: Finding) -> dict[str, Any] | None:
    if finding.threshold is None:
        return None
    value, low, high = words.losses(finding.threshold)
    found = finding.threshold
    return {
        "loss": round_to(found.value), "low": round_to(found.low), "high": round_to(found.high),
        "text": f"{value} [{low}, {high}]",
    }  # fmt: skip


def legend(points: Points) -> dict[str, list[dict[str, str]]]:
    """Sizes with their colours and kinds of run with their shapes, for the page's own legend."""
    known = points.sizes
    return {
        "sizes": [{"label": a, "colour": b} for a, b in zip(known.labels, known.colours, strict=True)],
        "kinds": [{"label": kind or "other", "shape": shape} for kind, shape in shapes(points.kinds).items()],
    }


def numbers(values: Iterable[float]) -> list[float | int | None]:
    """Values as JSON has them: six digits, null for what is missing."""
    return [round_to(value) for value in np.asarray(list(values), dtype=float)]


def round_to(value: float) -> float | int | None:
    """A number with six significant digits, whole ones in full; null for what is missing."""
    if not math.isfinite(value):
        return None
    whole = round(value)
    if whole == value and abs(value) < 2**53:
        return whole
    return float(f"{value:.{DIGITS}g}")


def safe_json(value: Any) -> str:
    """JSON that may stand inside a script element: no text in it can end the element or open a comment."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _known(value: float | None) -> float | int | None:
    return None if value is None else round_to(value)


def _count(value: Any) -> Cell:
    found = _float(value)
    return Cell(words.count(found), found)


def _whole(value: Any) -> Cell:
    found = _float(value)
    return Cell("" if math.isnan(found) else f"{found:,.0f}", found)


def _words(value: Any) -> Cell:
    return Cell(_text(value), _text(value))


def _float(value: Any) -> float:
    return math.nan if value is None or pd.isna(value) else float(value)


def _text(value: Any) -> str:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value)


def _right(value: Any) -> bool | None:
    return None if value is None or pd.isna(value) else bool(value)
