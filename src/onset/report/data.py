"""The data that the page's script reads: panels by column, as JSON that cannot end its script element."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from onset.plots import frames, words
from onset.plots.frames import Panel, Points
from onset.plots.palette import VERDICT_COLOURS, shapes
from onset.results import Finding

DIGITS = 6
"""Significant digits of numbers in the page's data: more than a picture shows."""


def panel_data(points: Points, panels: list[Panel], near: tuple[float, float] | None) -> dict[str, Any]:
    """The data of all panels: checkpoints once, each panel's scores by the row of their checkpoint."""
    first = frames.headline_keys(panels)
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
    columns = {name: numbers(frame[name]) for name in ("params", "loss", "pp")}
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
        "loss": round_to(found.loss), "low": round_to(found.low), "high": round_to(found.high),
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
