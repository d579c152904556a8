"""What the page's script draws: panel templates by axis, and the charts that stand alone, as specifications."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from onset.language import _, noted
from onset.plots import figures, files, frames, others, performance, theme
from onset.plots.figures import Drawing

if TYPE_CHECKING:
    from onset.results import Analysis, Backtest, Forecast

AXIS_NAMES: dict[theme.Axis, str] = {
    "loss": noted("loss"),
    "flops": noted("compute"),
    "params": noted("parameters"),
    "tokens": noted("tokens"),
}


def axes(drawing: Drawing) -> list[tuple[str, str]]:
    """The horizontal axes that the table has values for, with their names."""
    return [(axis, _(name)) for axis, name in AXIS_NAMES.items() if drawing.shared(axis) is not None]


def has(drawing: Drawing, alone: Mapping[str, Any]) -> dict[str, bool]:
    """Which sections there is something for."""
    return {
        "finals": bool(figures.final_panels(drawing)),
        **{
            name: name in alone
            for name in ("training", "effects", "predictors", "axes", "forecast", "forecast_vs_truth", "questions")
        },
        "floor": drawing.facts is not None and drawing.facts.floor.get("all") is not None,
        "residuals": any(len(frames.residuals(panel, drawing.points.sizes)) for panel in drawing.headlines),
    }


def templates(drawing: Drawing, datasets: dict[str, Any]) -> dict[str, Any]:
    """Panel templates by axis; ``loss_near`` is the narrowed axis of the loss. Their fixed data go to ``datasets``."""
    made: dict[str, Any] = {}
    for axis in theme.AXES:
        shared = performance.frame(drawing.points, axis)
        if shared is not None:
            made[axis] = _bare(performance.page_template(shared), datasets)
    near = drawing.shared("loss")
    if near is not None:
        if drawing.near is not None:
            made["loss_near"] = _bare(performance.page_template(near), datasets)
        template = others.residual_template(drawing.points.sizes, near.x_title, near.x)
        made["residuals"] = _bare(template, datasets)
    return made


def alone(
    drawing: Drawing,
    datasets: dict[str, Any],
    *,
    analysis: Analysis | None = None,
    forecast: Forecast | None = None,
    backtest: Backtest | None = None,
    more: Mapping[str, theme.Chart] | None = None,
) -> dict[str, Any]:
    """Charts that stand alone, by name, as wide as their place on the page; ``more`` are further ones."""
    charts = {
        name: build(drawing, width="container")
        for name, build in (
            ("onsets", figures.onset_losses),
            ("training", figures.training),
            ("effects", figures.effects),
            ("predictors", figures.predictors),
        )
    }
    charts |= figures.forecasts(drawing, forecast, backtest) | figures.compared(analysis) | dict(more or {})
    return {name: _bare(chart, datasets) for name, chart in charts.items() if chart is not None}


def _bare(chart: theme.Chart, datasets: dict[str, Any]) -> dict[str, Any]:
    """A specification without its data, which go to ``datasets`` under names that tell them apart."""
    spec = files.specification(chart.configure(**theme.config()))
    named = spec.pop("datasets", {})
    datasets.update({name: [_rounded(row) for row in rows] for name, rows in named.items()})
    return spec


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    """A row with six significant digits of its numbers: more than a picture shows."""
    return {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in row.items()}
