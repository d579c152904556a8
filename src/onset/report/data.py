"""The data that the page's script reads: panels by column, as JSON that cannot end its script element."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from onset.language import _
from onset.plots import frames, words
from onset.plots.frames import Panel, Points
from onset.plots.palette import RAMP, SHAPE_PATHS, shapes
from onset.report.content import FindingRow, seen_in
from onset.results import Finding

DIGITS = 6
"""Significant digits of numbers in the page's data: more than a picture shows."""


def panel_data(
    points: Points, panels: list[Panel], near: tuple[float, float] | None, tasks: Mapping[str, int]
) -> dict[str, Any]:
    """The data of all panels: checkpoints once, each panel's scores by the row of their checkpoint.

    ``tasks`` are the places of the tasks on the page.
    """
    first = frames.headline_keys(panels)
    scores = dict(iter(points.scores.groupby(["task", "metric"], sort=False)))
    made = []
    for panel in panels:
        finding = panel.finding
        key = (finding.task, finding.metric)
        rows = scores.get(key, points.scores.iloc[:0])
        made.append(
            {
                "task": tasks[finding.task], "metric": finding.metric, "headline": key in first,
                "at": rows["at"].astype(int).tolist(), "score": numbers(rows["score"]),
                "stderr": numbers(rows["stderr"]) if rows["stderr"].notna().any() else None,
                "curve": {str(name): numbers(values) for name, values in panel.coarse_curve.items()},
                "threshold": _threshold(finding), "chance": _known(finding.chance),
                "extent": [round_to(end) for end in panel.extent()],
                "nearExtent": [round_to(end) for end in panel.extent(near)],
                "residuals": _residuals(panel, points, near) if key in first else None,
            }
        )  # fmt: skip
    return {"checkpoints": _checkpoints(points), "panels": made}


def panel_texts(panels: list[Panel], rows: Mapping[tuple[str, str], FindingRow]) -> list[dict[str, str]]:
    """What is written at each panel, in the language in use."""
    return [_panel_text(panel, rows[panel.finding.task, panel.finding.metric]) for panel in panels]


def _panel_text(panel: Panel, row: FindingRow) -> dict[str, str]:
    lower = panel.finding.direction == "lower"
    return {
        "title": row.title, "label": row.metric_label, "verdict": row.verdict, "sub": subtitle(row, lower=lower),
        "alt": seen_in(panel, row.sentence),
    }  # fmt: skip


def subtitle(row: FindingRow, *, lower: bool) -> str:
    """The line below a panel's title: the metric, the verdict and where."""
    metric = _("{metric} (lower is better)", metric=row.metric_label) if lower else row.metric_label
    if not row.where:
        return f"{metric} · {row.verdict_label}"
    if row.verdict == "emergent":
        return _("{metric} · {verdict} at {where}", metric=metric, verdict=row.verdict_label, where=row.where)
    if row.at_end:
        return _("{metric} · {verdict}, sets in {where}", metric=metric, verdict=row.verdict_label, where=row.where)
    return _("{metric} · {verdict}, sets in at {where}", metric=metric, verdict=row.verdict_label, where=row.where)


def _checkpoints(points: Points) -> dict[str, Any]:
    """Checkpoints by column; texts that repeat are numbered."""
    rows = points.checkpoints
    found: dict[str, Any] = {name: numbers(rows[name]) for name in ("step", "params", "tokens", "flops", "loss")}
    for name in ("run", "size", "kind"):
        codes, known = pd.factorize(rows[name])
        found[name] = {"of": codes.tolist(), "names": [str(value) for value in known]}
    found["final"] = [int(value) for value in rows["final"]]
    return found


RESIDUALS = 300


def _residuals(panel: Panel, points: Points, near: tuple[float, float] | None) -> dict[str, Any] | None:
    """A panel's residuals by column, evenly thinned, runs by their place; None where nothing was fitted."""
    frame = frames.residuals(panel, points.sizes, near)
    if frame.empty:
        return None
    places = {name: place for place, name in enumerate(dict.fromkeys(points.checkpoints["run"]))}
    frame = frame.iloc[:: max(1, math.ceil(len(frame) / RESIDUALS))]
    runs = [places.get(run) for run in frame["run"]]
    return {"run": runs, "loss": numbers(frame["loss"]), "pp": numbers(frame["pp"].round(3))}


def _threshold(finding: Finding) -> dict[str, Any] | None:
    found = finding.threshold
    return None if found is None else {name: round_to(getattr(found, name)) for name in ("loss", "low", "high")}


def legend(points: Points) -> dict[str, Any]:
    """Sizes with their colours and kinds of run with their shapes, for the page's own legend.

    With many sizes there are a colour bar's colours and its marks (label, place in percent) in place of entries.
    """
    known = points.sizes
    kinds = [{"label": kind or _("other"), "path": SHAPE_PATHS[shape]} for kind, shape in shapes(points.kinds).items()]
    if not known.many:
        entries = [{"label": a, "colour": b} for a, b in zip(known.labels, known.colours, strict=True)]
        return {"sizes": entries, "bar": None, "kinds": kinds}
    low, high = (math.log(known.params[end]) for end in (0, -1))
    marks = [
        {"label": words.count(value), "place": round(100 * (math.log(value) - low) / (high - low), 1)}
        for value in frames.log_ticks(known.params[0], known.params[-1])
    ]
    return {"sizes": [], "bar": {"colours": list(RAMP), "marks": marks, "count": len(known.params)}, "kinds": kinds}


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
