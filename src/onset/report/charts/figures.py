"""The figures that are written beside a page, as SVG, PDF and PNG."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import altair as alt

from onset.report import frames
from onset.report.charts import files, others, performance, theme
from onset.report.charts.theme import Chart
from onset.report.facts import StudyFacts
from onset.report.frames import Panel, Points

PER_FIGURE = 12
MOST_PAGES = 8
"""A table of many tasks gives figures of twelve panels each, and no more than eight of a kind."""


@dataclass(frozen=True)
class Drawing:
    """What all figures of one analysis are drawn from."""

    points: Points
    panels: list[Panel]
    """All panels, ordered."""
    near: tuple[float, float] | None
    """The losses to look at; None for all."""
    level: str
    facts: StudyFacts | None

    @property
    def headlines(self) -> list[Panel]:
        return frames.headlines(self.panels)


def write_all(drawing: Drawing, folder: Path) -> list[Path]:
    """Write every figure that the data has something for; returns the paths of the SVG files."""
    written: list[Path] = []
    for name, chart in all_figures(drawing).items():
        written.append(files.write(chart, folder, name)[0])
    return written


def all_figures(drawing: Drawing) -> dict[str, Chart]:
    """The charts by the name of their files."""
    made: dict[str, Chart] = {}
    for name, chart in (
        *_performance(drawing, "performance_vs_loss", "loss", "Performance against loss", _law(drawing)),
        *_finals(drawing),
        *_metrics(drawing),
        *_performance(drawing, "performance_vs_compute", "flops", "Performance against compute", ["Dashed: chance."]),
    ):
        made[name] = chart
    for name, build in _SINGLE.items():
        single = build(drawing)
        if single is not None:
            made[name] = single
    return made


def _law(drawing: Drawing) -> list[str]:
    told = (
        f"Dashed: chance. Line and band: fitted law with its {drawing.level} interval. "
        f"Vertical line and band: threshold with its {drawing.level} interval."
    )
    return [told, *outside(drawing)]


def outside(drawing: Drawing) -> list[str]:
    """How many checkpoints a narrowed axis leaves out; empty where it leaves out none."""
    if drawing.near is None:
        return []
    losses = drawing.points.checkpoints["loss"]
    left = int((losses > drawing.near[1]).sum())
    return [f"{left} of {len(losses)} checkpoints, at losses above {drawing.near[1]:.2f}, lie outside of the picture."]


def _pages(panels: list[Panel], size: int) -> list[list[Panel]]:
    pages = [panels[start : start + size] for start in range(0, len(panels), size)]
    return pages[:MOST_PAGES]


def _performance(
    drawing: Drawing, name: str, axis: theme.Axis, title: str, subtitle: list[str], panels: list[Panel] | None = None
) -> list[tuple[str, Chart]]:
    shared = performance.frame(drawing.points, axis, drawing.near)
    if shared is None:
        return []
    made = []
    for index, page in enumerate(_pages(drawing.headlines if panels is None else panels, PER_FIGURE)):
        chart = performance.figure(page, shared, title, subtitle)
        if chart is not None:
            made.append((name if index == 0 else f"{name}_{index + 1}", chart))
    return made


def _finals(drawing: Drawing) -> list[tuple[str, Chart]]:
    chosen = final_panels(drawing)
    if not chosen:
        return []
    what = "the grid" if "grid" in drawing.points.kinds else "every run"
    subtitle = [
        f"Final checkpoints of {what}. The law is fitted to all checkpoints. Dashed: chance.",
        *outside(drawing),
    ]
    return _performance(drawing, "final_checkpoints", "loss", "Final checkpoints", subtitle, chosen)


def final_panels(drawing: Drawing) -> list[Panel]:
    """Panels of final checkpoints, of the grid where there is one; empty where all checkpoints are final."""
    if bool(drawing.points.checkpoints["final"].all()):
        return []
    kind = "grid" if "grid" in drawing.points.kinds else None
    return [frames.finals(panel, kind) for panel in drawing.headlines]


def _metrics(drawing: Drawing) -> list[tuple[str, Chart]]:
    """Metrics side by side: one row a task, the tasks with a threshold first."""
    shared = performance.frame(drawing.points, "loss", drawing.near)
    rows = side_by_side(drawing.panels)
    if shared is None or not rows:
        return []
    made = []
    columns = max(len(row) for row in rows)
    for index in range(0, min(len(rows), 6 * MOST_PAGES), 6):
        chart = performance.grid(rows[index : index + 6], shared, "The same answers under each metric",
                                 _law(drawing), columns)  # fmt: skip
        name = "metrics_side_by_side" if index == 0 else f"metrics_side_by_side_{index // 6 + 1}"
        if chart is not None:
            made.append((name, chart))
    return made


def side_by_side(panels: list[Panel]) -> list[list[Panel]]:
    """Panels by task, for tasks with two metrics or more."""
    rows: dict[str, list[Panel]] = {}
    for panel in panels:
        rows.setdefault(panel.finding.task, []).append(panel)
    return [row for row in rows.values() if len(row) > 1]


def _training(drawing: Drawing) -> Chart | None:
    if drawing.facts is None:
        return None
    frame, floor = frames.training(drawing.facts, drawing.points.sizes)
    if frame.empty:
        return None
    chart = others.training(frame, floor, drawing.points.sizes, unit=drawing.points.seen.unit)
    return chart.configure(**theme.config())


def _effects(drawing: Drawing) -> Chart | None:
    frame = frames.effects(drawing.headlines)
    return None if frame.empty else others.effects(frame, level=drawing.level).configure(**theme.config())


def _predictors(drawing: Drawing) -> Chart | None:
    frame = frames.predictors(drawing.headlines).dropna(subset=["r2"])
    return None if frame.empty else others.predictors(frame).configure(**theme.config())


def _residuals(drawing: Drawing) -> Chart | None:
    shared = performance.frame(drawing.points, "loss", drawing.near)
    if shared is None:
        return None
    charts = []
    for panel in drawing.headlines[:PER_FIGURE]:
        frame = frames.residuals(panel, drawing.points.sizes)
        if len(frame):
            chart = others.residuals(frame, drawing.points.sizes, shared.x_title, shared.x, width=196)
            charts.append(chart.properties(height=140, title=panel.title.text))
    if not charts:
        return None
    title = alt.TitleParams("Observed minus fitted, by size", fontSize=17, offset=14)
    return alt.concat(*charts, columns=4).properties(title=title).configure(**theme.config())


_SINGLE: dict[str, Callable[[Drawing], Chart | None]] = {
    "loss_vs_tokens": _training,
    "size_effects": _effects,
    "residuals_by_size": _residuals,
    "predictors": _predictors,
}
