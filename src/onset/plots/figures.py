"""The figures that are written beside a page, as SVG, PDF and PNG."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import altair as alt

from onset.language import _
from onset.plots import files, frames, onsets, others, performance, theme, words
from onset.plots import forecasts as foresight
from onset.plots import loss_measures as axes
from onset.plots.compared import on_axes
from onset.plots.facts import StudyFacts
from onset.plots.frames import Panel, Points
from onset.plots.performance import Spec

if TYPE_CHECKING:
    from onset.results import Analysis, Backtest, Forecast

PER_FIGURE = 12
TASKS_PER_FIGURE = 6
MOST_PAGES = 5
"""A table of many tasks gives figures of twelve panels each, and no more than five of a kind."""


@dataclass(frozen=True)
class Drawing:
    """What all pictures on one loss axis are drawn from."""

    points: Points
    panels: list[Panel]
    """All panels, ordered."""
    near: tuple[float, float] | None
    """The losses to look at first; None for all."""
    level: str
    facts: StudyFacts | None = None

    @property
    def headlines(self) -> list[Panel]:
        """The panels of each task's headline metric."""
        return frames.headlines(self.panels)

    def shared(self, axis: theme.Axis) -> performance.Frame | None:
        """What panels on that axis share."""
        return performance.frame(self.points, axis, self.near)


def write_all(
    drawings: Sequence[Drawing],
    folder: Path,
    *,
    analysis: Analysis | None = None,
    forecast: Forecast | None = None,
    backtest: Backtest | None = None,
) -> list[Path]:
    """Write every figure that the data has something for; returns the paths of the SVG files.

    Figures of a second and further loss axis have the loss in their names.
    """
    written: list[Path] = []
    for index, drawing in enumerate(drawings):
        ending = f"_on_{_slug(drawing.points.loss_name)}" if index else ""
        written += [files.write(spec, folder, name + ending)[0] for name, spec in all_figures(drawing)]
    for name, chart in (forecasts(drawings[0], forecast, backtest) | compared(analysis)).items():
        written.append(files.write(files.specification(chart.configure(**theme.config())), folder, name)[0])
    return written


def forecasts(main: Drawing, forecast: Forecast | None, backtest: Backtest | None) -> dict[str, theme.Chart]:
    """Pictures of a forecast and a back-test, by name; those that there is something for."""
    made: dict[str, theme.Chart] = {}
    if forecast is not None:
        chart = _targets(forecast)
        if chart is not None:
            made["forecast"] = chart
    if backtest is not None:
        keys = frames.headline_keys(main.panels)
        frame = frames.predicted(backtest.predictions, keys, main.points.sizes)
        made["forecast_vs_truth"] = foresight.against_truth(
            frame, main.points.sizes, level=words.percent(backtest.level)
        )
    return made


def _targets(forecast: Forecast) -> theme.Chart | None:
    seen = forecast.observations
    return None if seen is None else foresight.targets(forecast.scores, seen)


def compared(analysis: Analysis | None) -> dict[str, theme.Chart]:
    """The same scores on each loss axis, where axes were compared."""
    frame = None if analysis is None else on_axes(analysis)
    return {} if frame is None or frame.empty else {"axes": axes.side_by_side(frame)}


def all_figures(drawing: Drawing) -> Iterator[tuple[str, Spec]]:
    """The figures of one loss axis: the name of their files, and the specification."""
    yield from _paged("performance_vs_loss", drawing, "loss", _("Performance against loss"), _law(drawing))
    yield from _finals(drawing)
    yield from _metrics(drawing)
    yield from _paged(
        "performance_vs_compute", drawing, "flops", _("Performance against compute"), [_("Dashed: chance.")]
    )
    for name, build in _SINGLE.items():
        chart = build(drawing)
        if chart is not None:
            yield name, files.specification(chart.configure(**theme.config()))


def outside(drawing: Drawing) -> list[str]:
    """How many checkpoints a narrowed axis leaves out; empty where it leaves out none."""
    if drawing.near is None:
        return []
    losses = drawing.points.checkpoints["loss"]
    left = int((losses > drawing.near[1]).sum())
    told = _(
        "{left} of {count} checkpoints, at losses above {loss}, lie outside of the picture.",
        left=left, count=len(losses), loss=f"{drawing.near[1]:.2f}",
    )  # fmt: skip
    return [told]


def final_panels(drawing: Drawing) -> list[Panel]:
    """Panels of final checkpoints, of the grid where there is one; empty where all checkpoints are final."""
    if bool(drawing.points.checkpoints["final"].all()):
        return []
    kind = "grid" if "grid" in drawing.points.kinds else None
    return [frames.finals(panel, kind) for panel in drawing.headlines]


def side_by_side(panels: list[Panel]) -> list[list[Panel]]:
    """Panels by task, for tasks with two metrics or more."""
    rows: dict[str, list[Panel]] = {}
    for panel in panels:
        rows.setdefault(panel.finding.task, []).append(panel)
    return [row for row in rows.values() if len(row) > 1]


def _law(drawing: Drawing) -> list[str]:
    told = _(
        "Dashed: chance. Line and band: fitted curve with its {level} interval. "
        "Vertical line and band: threshold with its {level} interval.",
        level=drawing.level,
    )
    return [told, *outside(drawing)]


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")[:40] or "other"


def _named(name: str, index: int) -> str:
    return name if index == 0 else f"{name}_{index + 1}"


def _paged(
    name: str, drawing: Drawing, axis: theme.Axis, title: str, subtitle: list[str], panels: list[Panel] | None = None
) -> Iterator[tuple[str, Spec]]:
    """Figures of twelve panels each."""
    shared = drawing.shared(axis)
    shown = drawing.headlines if panels is None else panels
    if shared is None:
        return
    for index in range(min(MOST_PAGES, -(-len(shown) // PER_FIGURE))):
        page = shown[index * PER_FIGURE : (index + 1) * PER_FIGURE]
        spec = performance.figure(page, shared, title, subtitle)
        if spec is not None:
            yield _named(name, index), spec


def _finals(drawing: Drawing) -> Iterator[tuple[str, Spec]]:
    chosen = final_panels(drawing)
    of_grid, of_all = _("Final checkpoints of the grid."), _("Final checkpoints of every run.")
    what = of_grid if "grid" in drawing.points.kinds else of_all
    told = _("{what} The curve is fitted to all checkpoints. Dashed: chance.", what=what)
    yield from _paged(
        "final_checkpoints", drawing, "loss", _("Final checkpoints"), [told, *outside(drawing)], panels=chosen
    )


def _metrics(drawing: Drawing) -> Iterator[tuple[str, Spec]]:
    """Metrics side by side, one row a task; tasks with the same metrics stand together."""
    shared, rows = drawing.shared("loss"), side_by_side(drawing.panels)
    if shared is None:
        return
    alike: dict[tuple[str, ...], list[list[Panel]]] = {}
    for row in rows:
        alike.setdefault(tuple(panel.finding.metric for panel in row), []).append(row)
    pages = [
        (metrics, of_these[start : start + TASKS_PER_FIGURE])
        for metrics, of_these in alike.items()
        for start in range(0, len(of_these), TASKS_PER_FIGURE)
    ]
    for index, (metrics, page) in enumerate(pages[:MOST_PAGES]):
        spec = performance.grid(page, shared, _("The same answers under each metric"), _law(drawing), metrics)
        if spec is not None:
            yield _named("metrics_side_by_side", index), spec


def training(drawing: Drawing, **size: Any) -> theme.Chart | None:
    """Loss against tokens; None without a study."""
    if drawing.facts is None:
        return None
    frame, floor = frames.training(drawing.facts, drawing.points.sizes)
    if frame.empty:
        return None
    return others.training(frame, floor, drawing.points.sizes, unit=drawing.points.seen.unit, **size)


def onset_losses(drawing: Drawing, **size: Any) -> theme.Chart:
    """Where each task sets in, under its headline metric."""
    return onsets.chart(drawing.headlines, drawing.points, drawing.level, drawing.near, **size)


def effects(drawing: Drawing, **size: Any) -> theme.Chart | None:
    """Size at equal loss; None where no effect was estimated."""
    frame = frames.effects(drawing.headlines)
    return None if frame.empty else others.effects(frame, level=drawing.level, **size)


def predictors(drawing: Drawing, **size: Any) -> theme.Chart | None:
    """What foretells a score; None where nothing was tried."""
    frame = frames.predictors(drawing.headlines).dropna(subset=["r2"])
    return None if frame.empty else others.predictors(frame, **size)


def residuals(drawing: Drawing) -> theme.Chart | None:
    """Residuals by size of the first twelve tasks with a law; None where nothing was fitted."""
    shared = drawing.shared("loss")
    if shared is None:
        return None
    known = drawing.points.sizes
    with_law = [(panel, frames.residuals(panel, known, drawing.near)) for panel in drawing.headlines]
    charts = [
        others.residuals(frame, known, shared.x_title, shared.x, width=196).properties(
            height=140, title=panel.title.text
        )
        for panel, frame in with_law
        if len(frame)
    ]
    if not charts:
        return None
    title = alt.TitleParams(_("Observed minus fitted, by size"), fontSize=17, offset=14)
    return alt.concat(*charts[:PER_FIGURE], columns=4).properties(title=title)


_SINGLE: dict[str, Callable[[Drawing], theme.Chart | None]] = {
    "onset_losses": onset_losses,
    "loss_vs_tokens": training,
    "size_effects": effects,
    "residuals_by_size": residuals,
    "predictors": predictors,
}
