"""What a page says, before it is set: rows of its tables, its sentences, and the data of its pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
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
    loss: str
    headline: bool
    """Whether this is the task's headline metric."""
    main: bool
    """Whether it is that on the first loss axis."""
    verdict: str
    verdict_label: str
    cells: tuple[Cell, ...]
    sentence: str
    why: str


def finding_rows(book: Sequence[tuple[Points, list[Panel]]], analysis: Analysis) -> list[FindingRow]:
    """The findings in the order of the panels, the first loss axis before the others."""
    several = len(book) > 1
    rows = []
    for index, (points, panels) in enumerate(book):
        first = _headline_keys(panels)
        ranges = _ranges(analysis, points)
        for panel in panels:
            finding = panel.finding
            key = (finding.task, finding.metric)
            rows.append(
                FindingRow(
                    finding.task, panel.title.text, panel.title.ability, finding.metric,
                    words.metric_label(finding.metric), finding.loss_name, key in first,
                    key in first and index == 0, finding.verdict, words.VERDICTS[finding.verdict], _cells(finding),
                    words.sentence(finding, ranges.get(key, points.seen), analysis.level, name_loss=several),
                    finding.why,
                )
            )  # fmt: skip
    return rows


def _headline_keys(panels: list[Panel]) -> set[tuple[str, str]]:
    return {(panel.finding.task, panel.finding.metric) for panel in frames.headlines(panels)}


def _ranges(analysis: Analysis, points: Points) -> dict[tuple[str, str], words.Seen]:
    """The losses seen by each (task, metric) on one loss axis."""
    rows = frames.of_loss(analysis.observations, points.loss_name)
    grouped = rows.groupby(["task", "metric"], sort=False)["loss"].agg(["max", "min"])
    return {
        (str(task), str(metric)): words.Seen(float(high), float(low), points.seen.unit)
        for (task, metric), high, low in zip(grouped.index, grouped["max"], grouped["min"], strict=True)
    }


def _cells(finding: Finding) -> tuple[Cell, ...]:
    """Threshold, size effect, correlations, points, runs."""
    threshold, effect = finding.threshold, finding.collapse
    if threshold is None:
        at = Cell("", math.nan)
    else:
        value, low, high = words.losses(threshold)
        at = Cell(value, threshold.value, f"{low} to {high}")
    moved = _moved(
        None
        if effect is None or not math.isfinite(effect.points_per_decade)
        else {"points": effect.points_per_decade, "low": effect.low, "high": effect.high, "verdict": effect.verdict}
    )
    return (
        at, moved, _number(finding.spearman), _number(finding.pearson), _number(finding.chance),
        Cell(f"{finding.n_points:,}", finding.n_points), Cell(f"{finding.n_runs:,}", finding.n_runs),
    )  # fmt: skip


def _number(value: float | None, places: int = 2) -> Cell:
    return Cell(words.number(value, places), math.nan if value is None else value)


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
        told += _floors(study, points.seen.unit)
        told += [(name, f"{value:,}" if isinstance(value, int | float) else value)
                 for name, value in study.counts.items()]  # fmt: skip
        if study.seconds is not None:
            told.append(("Time taken", words.duration(study.seconds)))
        if study.digest:
            told.append(("Digest", study.digest[:16]))
    return told


def _floors(study: StudyFacts, unit: str) -> list[tuple[str, str]]:
    """The entropy of the held-out text, whole and by language, where it is known."""
    known = {language: value for language, value in study.floor.items() if value is not None}
    whole = known.pop("all", None)
    by_language = ", ".join(f"{words.LANGUAGES.get(name, name)} {words.number(known[name], 3)}" for name in known)
    parts = [f"{words.number(whole, 3)} {unit}" if whole is not None else "", by_language]
    text = "; ".join(part for part in parts if part)
    return [("Entropy of the held-out text", text)] if text else []


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
            _words(row["run"]), _words(row["family"]), _words(row["group"]), _count(row["params"]),
            _count(row["tokens"]), _whole(row["steps"]), _number(_float(row["loss"]), 3), _words(row["status"]),
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
        cells = [_task(panel.title, panel.finding.task)]
        for name in frames.PREDICTORS:
            values = found.get(name, {})
            r2, error = values.get("r2_left_out"), values.get("error_points")
            note = "" if error is None or not math.isfinite(error) else f"± {words.number(error, 1)} points"
            cells.append(Cell(words.number(r2), math.nan if r2 is None else r2, note))
        rows.append(tuple(cells))
    return rows


def panel_data(points: Points, panels: list[Panel], near: tuple[float, float] | None) -> dict[str, Any]:
    """The data of all panels: checkpoints once, each panel's scores by the row of their checkpoint."""
    first = _headline_keys(panels)
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
                "extent": [round_to(end) for end in panel.extent()],
                "nearExtent": [round_to(end) for end in panel.extent(near)],
            }
        )  # fmt: skip
        if key in first:
            made[-1]["residuals"] = _residuals(panel, points, near)
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


def _residuals(panel: Panel, points: Points, near: tuple[float, float] | None) -> dict[str, Any] | None:
    """A panel's residuals by column, evenly thinned; None where nothing was fitted."""
    frame = frames.residuals(panel, points.sizes, near)
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


def notes(analysis: Analysis) -> list[str]:
    """What was left out or changed when the table was read."""
    told = [*analysis.observations.attrs.get("notes", ()), *analysis.extra.get("notes", ())]
    return list(dict.fromkeys(str(note) for note in told))


def turn_rows(analysis: Analysis) -> list[tuple[Cell, ...]]:
    """Whether each task's turn is in the model or in the metric; only tasks of which something can be said."""
    rows = []
    for entry in analysis.extra.get("turns", ()):
        title = words.title(str(entry["task"]))
        if entry["verdict"] != "cannot_tell":
            rows.append((title.rank, (_task(title, str(entry["task"])), _words(entry["loss_name"]),
                                      _words(entry["sentence"]), _words(entry["why"]))))  # fmt: skip
    return [row for _, row in sorted(rows, key=lambda pair: pair[0])]


def link_rows(analysis: Analysis) -> list[tuple[Cell, ...]]:
    """What breaks the link between loss and ability: factor, loss, breaks or not, counts, median points."""
    return [
        (
            _words(entry["factor"]), _words(entry["loss_name"]), _words("breaks it" if entry["breaks"] else "does not"),
            _whole(entry["beyond"]), _whole(entry["within"]), _whole(entry["cannot_tell"]),
            _number(_float(entry["points"]), 1),
        )
        for entry in analysis.extra.get("link", ())
    ]  # fmt: skip


def family_rows(panels: list[Panel]) -> list[tuple[Cell, ...]]:
    """The same questions within each family, under each task's headline metric."""
    rows: list[tuple[Cell, ...]] = []
    for panel in frames.headlines(panels):
        families: Mapping[str, Any] = panel.finding.extra.get("families", {})
        for name, entry in families.items():
            rows.append(
                (
                    _task(panel.title, panel.finding.task), _words(name),
                    _number(entry["spearman"]), _number(entry["pearson"]), _moved(entry.get("collapse")),
                    _whole(entry["n_points"]), _whole(entry["n_runs"]),
                )
            )  # fmt: skip
    return rows


def _moved(effect: Mapping[str, Any] | None) -> Cell:
    """What ten times the parameters move, as a cell."""
    if effect is None or effect.get("points") is None:
        return Cell("", math.nan)
    return Cell(
        words.number(effect["points"], 1, sign=True), effect["points"],
        f"{words.number(effect['low'], 1)} to {words.number(effect['high'], 1)}",
        words.COLLAPSES[effect["verdict"]],
    )  # fmt: skip


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


def _task(title: words.Title, task: str) -> Cell:
    """A task by its title, and by its own name where that is another."""
    return Cell(title.text, title.text, "" if title.text == task else task)


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
