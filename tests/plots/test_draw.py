"""Figures: every specification compiles, is drawn in three formats, and shows all of its data."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import pytest
import vl_convert

from onset.errors import OnsetError
from onset.plots import figures, files, frames, performance, plot
from onset.plots.facts import StudyFacts
from onset.report import page
from onset.results import Analysis, Backtest, Forecast, SizeEffect, Threshold, base


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
        "onset_losses", "performance_vs_loss", "final_checkpoints", "metrics_side_by_side", "metrics_side_by_side_2",
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
    renamed = [one.with_changes(loss_name=name, task=one.task + name) for one in analysis.findings[:2]]
    rows = rows.assign(task=rows["task"] + name)
    (only,) = page.prepare(page.Report(analysis.with_changes(observations=rows, findings=tuple(renamed))))
    _, spec = next(figures.all_figures(only))
    assert vl_convert.vegalite_to_svg(spec, vl_version=files.vegalite_version())


def test_many_tasks_are_paged_by_twelve(analysis: Analysis, drawing: figures.Drawing) -> None:
    many = replace(drawing, panels=[
        frames.Panel(panel.finding.with_changes(task=f"{panel.finding.task}_{copy}"), panel.points)
        for copy in range(2) for panel in drawing.headlines
    ])  # fmt: skip
    names = [name for name, _ in figures._paged("performance_vs_loss", many, "loss", "Performance", [])]
    assert names == ["performance_vs_loss", "performance_vs_loss_2"]


def test_drawing_is_deterministic(drawing: figures.Drawing, specs: dict[str, performance.Spec]) -> None:
    assert dict(figures.all_figures(drawing)) == specs


# ---- plot: any result of an analysis -----------------------------------------------------------------------


def layers(chart: Any) -> dict[str, Any]:
    """The specification of a chart that must be one stack of layers, resized and layered again."""
    assert isinstance(chart, alt.LayerChart)
    again: Any = (chart + alt.Chart(pd.DataFrame({"loss": [1.0]})).mark_rule().encode(x="loss:Q")).properties(width=300)
    spec: dict[str, Any] = again.to_dict()
    assert compiles(spec)
    return chart.to_dict()


def threshold_of(analysis: Analysis) -> Threshold:
    finding = analysis["world_facts_en"]
    return Threshold(**{name: getattr(finding, name) for name in Threshold.model_fields})


def test_a_threshold_is_one_layered_chart_with_its_points_where_they_were_seen(analysis: Analysis) -> None:
    """Lost: a figure for a paper that can be resized and laid under another."""
    fit = threshold_of(analysis)
    rows = analysis.observations.query("task == 'world_facts_en' and metric == 'exact_match'")
    for one in (fit, fit.with_changes(observed=rows)):
        spec = layers(plot(one))
        drawn = [frame for frame in spec["datasets"].values() if frame and {"score", "run"} <= set(frame[0])]
        assert sorted(row["score"] for row in drawn[0]) == pytest.approx(sorted(rows["score"]), abs=1e-6)
    assert plot(fit).to_dict()["title"]["text"] == "Facts · English"


def test_an_analysis_is_a_forest_of_its_onsets_or_a_panel_a_task(analysis: Analysis) -> None:
    """Lost: the one picture that says which abilities emerge, and where."""
    layers_of = plot(analysis)
    assert isinstance(layers_of, alt.LayerChart)
    assert compiles(layers_of.to_dict())
    assert len(plot(analysis, kind="panels").to_dict()["concat"]) == 12


def test_an_analysis_of_one_task_is_its_curve(analysis: Analysis) -> None:
    one = analysis.with_changes(findings=(analysis["world_exam_en"],))
    rows = analysis.observations.query("task == 'world_exam_en' and metric == 'accuracy'")
    layers(plot(one.with_changes(observations=rows)))


def test_a_fit_without_a_curve_says_why_there_is_no_picture() -> None:
    with pytest.raises(OnsetError, match="nothing was fitted") as caught:
        plot(Threshold(verdict="inconclusive", why="Only three points."))
    assert caught.value.advice == "Only three points."


def test_a_size_effect_shows_the_offset_of_each_size_with_labels_that_differ() -> None:
    """Lost: two sizes on one row because their labels collide."""
    levels = pd.DataFrame({"level": [103.8e6, 104.4e6], "offset": [0.1, -0.2], "low": [-1.0, -1.0], "high": [1.0, 1.0]})
    made = SizeEffect(verdict="equivalent", pp_per_decade=0.1, low=-1, high=1, levels=levels)
    spec = plot(made).to_dict()
    assert compiles(spec)
    labels = [row["label"] for frame in spec["datasets"].values() for row in frame if "label" in row]
    assert len(set(labels)) == 2
    with pytest.raises(OnsetError, match="nothing could be compared"):
        plot(SizeEffect(verdict="inconclusive", why="one size"))


def test_a_forecast_is_drawn_beside_what_it_was_learnt_from(analysis: Analysis) -> None:
    scores = pd.DataFrame(
        {"task": ["world_exam_en", "world_facts_en"], "metric": ["accuracy", "exact_match"], "loss": [0.8, 0.8],
         "score": [0.7, np.nan], "low": [0.5, np.nan], "high": [0.9, np.nan], "why": ["", "at chance everywhere"]}
    )  # fmt: skip
    made = Forecast(scores=scores, onsets=pd.DataFrame(), observations=analysis.observations)
    assert isinstance(plot(made), alt.LayerChart), "one task is one layered chart"
    assert compiles(plot(made).to_dict())
    with pytest.raises(OnsetError, match="refused"):
        plot(made.with_changes(scores=scores.iloc[1:]))


def test_a_back_test_is_drawn_against_what_was_observed_with_its_coverage() -> None:
    seen = np.linspace(0.2, 0.8, 20)
    rows = pd.DataFrame(
        {"task": "mmlu", "metric": "accuracy", "method": "score_from_loss", "run": "a", "params": 1e9, "seen": seen,
         "score": seen + 0.01, "low": seen - 0.05, "high": np.where(seen > 0.5, seen + 0.05, seen - 0.01)}
    )  # fmt: skip
    spec = plot(Backtest(predictions=rows, refusals=pd.DataFrame())).to_dict()
    assert spec["concat"][0]["title"]["subtitle"] == "mean error 1.0 pp; 50% within 95 % intervals"
    assert compiles(spec)


def test_what_has_no_chart_is_one_clear_error() -> None:
    with pytest.raises(OnsetError, match="no chart of int"):
        plot(3)


def test_the_method_draws_what_is_registered_as_an_entry_point(
    analysis: Analysis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lost: ``fit.plot()``, and a drawing library of one's own in place of Altair."""
    entry = EntryPoint("altair", "onset.plots:plot", "onset.plots")
    monkeypatch.setattr(base.metadata, "entry_points", lambda group: [entry] if group == "onset.plots" else [])
    assert threshold_of(analysis).plot().to_dict() == plot(threshold_of(analysis)).to_dict()
    monkeypatch.setattr(base.metadata, "entry_points", lambda group: [])
    with pytest.raises(OnsetError, match="nothing that draws"):
        threshold_of(analysis).plot()
