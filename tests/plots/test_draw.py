"""Figures: every specification compiles, is drawn in three formats, and shows all of its data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import vl_convert

from onset.errors import OnsetError
from onset.plots import draw, figures, files, frames, performance
from onset.plots.facts import StudyFacts
from onset.report import page
from onset.stats.findings import Analysis
from onset.stats.result import Interval, Result


@pytest.fixture(scope="module")
def drawing(analysis: Analysis, facts: StudyFacts) -> figures.Drawing:
    (only,) = page.prepare(page.Report(analysis, facts))
    return only


@pytest.fixture(scope="module")
def specs(drawing: figures.Drawing) -> dict[str, performance.Spec]:
    return dict(figures.all_figures(drawing))


def compiles(spec: dict[str, Any]) -> dict[str, Any]:
    vega: dict[str, Any] = vl_convert.vegalite_to_vega(spec, vl_version=files.vegalite_version())
    return vega


def test_a_study_has_all_of_the_paper_s_figures(specs: dict[str, performance.Spec]) -> None:
    assert set(specs) == {
        "performance_vs_loss", "final_checkpoints", "metrics_side_by_side", "metrics_side_by_side_2",
        "performance_vs_compute", "loss_vs_tokens", "size_effects", "residuals_by_size", "predictors",
    }  # fmt: skip
    for spec in specs.values():
        assert compiles(spec)["marks"]


def test_the_first_figure_has_twelve_panels_with_all_points_of_the_window(
    specs: dict[str, performance.Spec], drawing: figures.Drawing
) -> None:
    spec = specs["performance_vs_loss"]
    assert len(spec["concat"]) == 12
    assert drawing.near is not None
    shown = len(spec["datasets"]["points_0"])
    outside = int((drawing.points.checkpoints["loss"] > drawing.near[1]).sum())
    assert shown + outside == len(drawing.headlines[0].points)
    assert f"{outside} of" in spec["title"]["subtitle"][1]
    assert spec["datasets"]["threshold_0"][0]["loss"] == 1.25
    assert spec["datasets"]["chance_0"] == [{"score": 0.02}]


def test_against_compute_there_is_neither_law_nor_threshold(specs: dict[str, performance.Spec]) -> None:
    datasets = specs["performance_vs_compute"]["datasets"]
    assert not any(datasets[name] for name in datasets if name.startswith(("curve", "threshold")))


def test_every_picture_gives_a_size_the_same_colour(specs: dict[str, performance.Spec]) -> None:
    found = set()

    def look(value: Any) -> None:
        if isinstance(value, dict):
            scale = value.get("scale") or {}
            if value.get("field") == "size" and "range" in scale:
                found.add((tuple(scale["domain"]), tuple(scale["range"])))
            for inner in value.values():
                look(inner)
        elif isinstance(value, list):
            for inner in value:
                look(inner)

    for spec in specs.values():
        look({key: value for key, value in spec.items() if key != "datasets"})
    assert len(found) == 1


def test_a_figure_is_written_in_three_formats(drawing: figures.Drawing, tmp_path: Path) -> None:
    chart = figures.effects(drawing)
    assert chart is not None
    svg, pdf, png = files.write(files.specification(chart), tmp_path / "figures", "size_effects")
    assert svg.read_bytes().startswith(b"<svg")
    assert pdf.read_bytes().startswith(b"%PDF")
    assert png.read_bytes().startswith(b"\x89PNG")


def test_a_name_with_a_backslash_and_quotes_does_not_break_a_picture(analysis: Analysis) -> None:
    name = "x\\\"); throw 1; ('a.b[0]"
    rows = analysis.observations.assign(loss_name=name)
    findings = tuple(replace(finding, loss_name=name, task=finding.task + name) for finding in analysis.findings[:2])
    rows = rows.assign(task=rows["task"] + name)
    (only,) = page.prepare(page.Report(replace(analysis, observations=rows, findings=findings)))
    _, spec = next(figures.all_figures(only))
    assert vl_convert.vegalite_to_svg(spec, vl_version=files.vegalite_version())


def test_many_tasks_are_paged_by_twelve(analysis: Analysis, drawing: figures.Drawing) -> None:
    many = replace(drawing, panels=[
        frames.Panel(replace(panel.finding, task=f"{panel.finding.task}_{copy}"), panel.title, panel.points)
        for copy in range(2) for panel in drawing.headlines
    ])  # fmt: skip
    names = [name for name, _ in figures._paged("performance_vs_loss", many, "loss", "Performance", [])]
    assert names == ["performance_vs_loss", "performance_vs_loss_2"]


def test_drawing_is_deterministic(drawing: figures.Drawing, specs: dict[str, performance.Spec]) -> None:
    assert dict(figures.all_figures(drawing)) == specs


# ---- draw: any result of an analysis -----------------------------------------------------------------------


@dataclass(frozen=True)
class Fit(Result):
    """What a threshold's fit has, as far as its picture goes."""

    verdict: str = "emergent"
    why: str = ""
    threshold: Interval | None = None
    chance: float | None = 0.25
    direction: str = "higher"
    level: float = 0.95
    curve: pd.DataFrame | None = None
    residuals: pd.DataFrame | None = None


def test_an_analysis_plots_itself(analysis: Analysis) -> None:
    assert len(analysis.plot().to_dict()["concat"]) == 12


def test_a_threshold_is_drawn_with_its_points_where_they_were_seen(analysis: Analysis) -> None:
    finding = next(f for f in analysis.findings if (f.task, f.metric) == ("world_facts_en", "exact_match"))
    fit = Fit(threshold=finding.threshold, curve=finding.curve, residuals=finding.residuals)
    spec = fit.plot().to_dict()
    rows = analysis.observations.query("task == 'world_facts_en' and metric == 'exact_match'")
    drawn = pd.DataFrame(spec["datasets"]["points_0"])
    assert sorted(drawn["score"]) == pytest.approx(sorted(rows["score"]), abs=1e-6)
    assert compiles(spec)


def test_a_fit_without_a_law_says_why_there_is_no_picture() -> None:
    with pytest.raises(OnsetError, match="nothing was fitted") as caught:
        draw(Fit(why="Only three points."))
    assert caught.value.advice == "Only three points."


@dataclass(frozen=True)
class Compared(Result):
    """What a collapse's fit has, as far as its picture goes."""

    points: Interval | None
    levels: pd.DataFrame
    residuals: pd.DataFrame
    by: str = "params"
    margin: float = 1.0
    why: str = ""


def test_a_collapse_shows_residuals_and_the_offset_of_each_size(analysis: Analysis) -> None:
    residuals = analysis.findings[0].residuals
    assert residuals is not None
    levels = pd.DataFrame({"level": [158e3, 537e3], "offset": [0.1, -0.2], "low": [-1.0, -1.0], "high": [1.0, 1.0]})
    spec = Compared(Interval(0.1, -1, 1), levels, residuals).plot().to_dict()
    assert len(spec["hconcat"]) == 2
    assert compiles(spec)


@dataclass(frozen=True)
class Foreseen(Result):
    """What a forecast has, as far as its picture goes."""

    scores: pd.DataFrame
    observations: pd.DataFrame
    onsets: pd.DataFrame


def test_a_forecast_is_drawn_beside_what_it_was_learnt_from(analysis: Analysis) -> None:
    scores = pd.DataFrame(
        {"task": ["world_exam_en", "world_facts_en"], "metric": ["accuracy", "exact_match"], "loss": [0.8, 0.8],
         "score": [0.7, np.nan], "low": [0.5, np.nan], "high": [0.9, np.nan], "why": ["", "at chance everywhere"]}
    )  # fmt: skip
    spec = Foreseen(scores, analysis.observations, pd.DataFrame()).plot().to_dict()
    assert len(spec["concat"]) == 1
    assert compiles(spec)
    with pytest.raises(OnsetError, match="refused"):
        Foreseen(scores.iloc[1:], analysis.observations, pd.DataFrame()).plot()


@dataclass(frozen=True)
class Tried(Result):
    """What a back-test has, as far as its picture goes."""

    predictions: pd.DataFrame
    refusals: pd.DataFrame
    level: float = 0.95


def test_a_back_test_is_drawn_against_truth_with_its_coverage() -> None:
    seen = np.linspace(0.2, 0.8, 20)
    rows = pd.DataFrame(
        {"task": "mmlu", "metric": "accuracy", "method": "score_from_loss", "run": "a", "params": 1e9, "seen": seen,
         "score": seen + 0.01, "low": seen - 0.05, "high": np.where(seen > 0.5, seen + 0.05, seen - 0.01)}
    )  # fmt: skip
    spec = Tried(rows, pd.DataFrame()).plot().to_dict()
    assert spec["concat"][0]["title"]["subtitle"] == "mean error 1.0 points; 50% within 95 % intervals"
    assert compiles(spec)


def test_what_has_no_picture_is_one_clear_error() -> None:
    with pytest.raises(OnsetError, match="no picture of int"):
        draw(3)
