"""What the page's script draws: panel templates by axis, and the charts that stand alone, as specifications."""

from __future__ import annotations

from typing import Any

from onset.report import frames
from onset.report.charts import figures, files, others, performance, theme
from onset.report.charts.figures import Drawing

AXIS_NAMES: dict[theme.Axis, str] = {
    "loss": "loss",
    "flops": "compute",
    "params": "parameters",
    "tokens": "tokens",
}


def axes(drawing: Drawing) -> list[tuple[str, str]]:
    """The horizontal axes that the table has values for, with their names."""
    return [(axis, name) for axis, name in AXIS_NAMES.items() if performance.frame(drawing.points, axis) is not None]


def has(drawing: Drawing) -> dict[str, bool]:
    """Which sections there is something for."""
    return {
        "finals": bool(figures.final_panels(drawing)),
        "grid": "grid" in drawing.points.kinds,
        "side_by_side": bool(figures.side_by_side(drawing.panels)),
        "compute": performance.frame(drawing.points, "flops") is not None,
        **{name: name in _alone(drawing) for name in ("training", "effects", "predictors")},
        "residuals": any(len(frames.residuals(panel, drawing.points.sizes)) for panel in drawing.panels),
    }


def specifications(drawing: Drawing) -> dict[str, Any]:
    """``templates`` by axis (``loss_near`` is the narrowed loss axis), ``alone`` by name, and ``datasets``."""
    templates: dict[str, dict[str, Any]] = {}
    datasets: dict[str, Any] = {}
    for axis in theme.AXES:
        shared = performance.frame(drawing.points, axis)
        if shared is not None:
            templates[axis] = _bare(performance.template(shared).configure(**theme.config(11)), datasets)
    if drawing.near is not None:
        shared = performance.frame(drawing.points, "loss", drawing.near)
        assert shared is not None, "a window is of losses that are there"
        templates["loss_near"] = _bare(performance.template(shared).configure(**theme.config(11)), datasets)
    shared = performance.frame(drawing.points, "loss", drawing.near)
    if shared is not None:
        residuals = others.residual_template(drawing.points.sizes, shared.x_title, shared.x)
        templates["residuals"] = _bare(residuals.configure(**theme.config(11)), datasets)
    alone = {name: _bare(chart.configure(**theme.config()), datasets) for name, chart in _alone(drawing).items()}
    return {"templates": templates, "alone": alone, "datasets": datasets, "kinds": list(drawing.points.kinds)}


def _bare(chart: Any, datasets: dict[str, Any]) -> dict[str, Any]:
    spec, data = files.data_of(files.specification(chart))
    datasets.update(data)
    return spec


def _alone(drawing: Drawing) -> dict[str, Any]:
    made: dict[str, Any] = {}
    width = "container"
    if drawing.facts is not None:
        frame, floor = frames.training(drawing.facts, drawing.points.sizes)
        if len(frame):
            made["training"] = others.training(
                frame, floor, drawing.points.sizes, unit=drawing.points.seen.unit, width=width
            )
    effects = frames.effects(drawing.headlines)
    if len(effects):
        made["effects"] = others.effects(effects, width=width, level=drawing.level)
    predictors = frames.predictors(drawing.headlines).dropna(subset=["r2"])
    if len(predictors):
        made["predictors"] = others.predictors(predictors, width=width)
    return made
