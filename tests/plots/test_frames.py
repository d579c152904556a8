"""What the pictures would draw, without drawing: points lost or invented here are lost or invented on the page."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from onset.plots import frames, palette
from onset.plots.facts import StudyFacts
from onset.results import Analysis


@pytest.fixture(scope="module")
def drawn(analysis: Analysis, facts: StudyFacts) -> frames.Points:
    return frames.points(analysis, groups=dict(zip(facts.runs["run"], facts.runs["group"], strict=True)))


def test_every_observation_is_a_point_where_there_are_few(analysis: Analysis, drawn: frames.Points) -> None:
    assert drawn.drawn == drawn.total == len(analysis.observations)
    panels = frames.panels(analysis, drawn)
    assert sum(len(panel.points) for panel in panels) == len(analysis.observations)
    panel = next(p for p in panels if (p.finding.task, p.finding.metric) == ("world_exam_en", "accuracy"))
    rows = analysis.observations.query("task == 'world_exam_en' and metric == 'accuracy'")
    assert sorted(panel.points["score"]) == sorted(rows["score"])
    assert sorted(panel.points["loss"]) == sorted(rows["loss"])


def test_a_missing_score_has_no_point_rather_than_one_at_zero(analysis: Analysis) -> None:
    rows = analysis.observations.copy()
    rows.loc[rows.index[:5], "score"] = np.nan
    assert frames.points(analysis.with_changes(observations=rows)).total == len(rows) - 5


def test_compute_is_estimated_and_said_to_be_where_the_table_has_none(analysis: Analysis) -> None:
    rows = analysis.observations.drop(columns="flops")
    made = frames.points(analysis.with_changes(observations=rows))
    assert made.flops_estimated
    found = made.checkpoints
    assert np.allclose(found["flops"], 6 * found["params"] * found["tokens"])


def test_the_last_checkpoint_of_each_run_is_final(drawn: frames.Points) -> None:
    rows = drawn.checkpoints
    assert (rows.groupby("run")["final"].sum() == 1).all()
    last = rows[rows["final"]].set_index("run")["tokens"]
    assert (last == rows.groupby("run")["tokens"].max().loc[last.index]).all()


def test_the_grid_has_its_own_final_checkpoints(analysis: Analysis, drawn: frames.Points) -> None:
    panel = frames.finals(frames.panels(analysis, drawn)[0], "grid")
    assert len(panel.points) == 12
    assert set(panel.points["kind"]) == {"grid"}


def test_thinning_keeps_final_checkpoints_and_stays_near_its_limit(analysis: Analysis) -> None:
    limit = 36 * frames.FEWEST_POINTS
    many = pd.concat([analysis.observations.assign(loss=analysis.observations["loss"] + 1e-4 * i) for i in range(6)])
    made = frames.points(analysis.with_changes(observations=many), limit=limit)
    assert made.total == len(many)
    assert made.drawn < 2 * limit
    finals = set(made.checkpoints.index[made.checkpoints["final"]])
    for _, rows in made.scores.groupby(["task", "metric"]):
        assert finals & set(rows["at"])


def test_several_losses_do_not_share_a_picture(analysis: Analysis) -> None:
    other = analysis.observations.assign(loss_name="other", loss=analysis.observations["loss"] * 2)
    findings = (*analysis.findings, *(finding.with_changes(loss_name="other") for finding in analysis.findings[:3]))
    both = analysis.with_changes(observations=pd.concat([analysis.observations, other]), findings=findings)
    assert frames.loss_names(both) == ["world", "other"]
    first, second = frames.points(both, "world"), frames.points(both, "other")
    assert first.seen.high * 2 == pytest.approx(second.seen.high)
    assert len(frames.panels(both, second)) == 3


def test_the_window_shows_every_threshold_and_most_checkpoints(analysis: Analysis, drawn: frames.Points) -> None:
    panels = frames.panels(analysis, drawn)
    near = frames.window(drawn, panels)
    assert near is not None
    thresholds = [panel.finding.threshold for panel in panels]
    assert all(near[0] < found.low and found.high < near[1] for found in thresholds if found is not None)
    assert drawn.checkpoints["loss"].between(*near).mean() >= 0.75


def test_noise_at_chance_is_not_stretched_into_a_rise(analysis: Analysis, drawn: frames.Points) -> None:
    panel = frames.panels(analysis, drawn)[0]
    flat = panel.finding.with_changes(curve=None, chance=0.25)
    rows = panel.points.assign(score=np.linspace(0.24, 0.26, len(panel.points)))
    low, high = frames.Panel(flat, rows).extent()
    assert high - low >= frames.NARROWEST


def test_headlines_are_one_panel_a_task_in_the_order_of_abilities(analysis: Analysis, drawn: frames.Points) -> None:
    titles = [panel.title.text for panel in frames.headlines(frames.panels(analysis, drawn))]
    assert titles[:4] == ["Facts · English", "Facts · Chinese", "Scripts · English", "Scripts · Chinese"]
    assert len(titles) == len(set(titles)) == 12


@pytest.mark.parametrize("ends", [(1e11, 3e14), (2e5, 9e5), (1.0, 50.0), (1e3, 1e24)])
def test_logarithmic_axes_have_a_few_ticks_inside_their_ends(ends: tuple[float, float]) -> None:
    ticks = frames.log_ticks(*ends)
    assert 2 <= len(ticks) <= 9
    assert all(ends[0] <= tick <= ends[1] for tick in ticks)


def test_the_floor_is_drawn_only_where_it_is_known(facts: StudyFacts, drawn: frames.Points) -> None:
    frame, floor = frames.training(facts, drawn.sizes)
    assert len(floor) == 1
    assert set(frame["size"]) == set(drawn.sizes.labels)
    assert frames.training(replace(facts, floor={"all": None}), drawn.sizes)[1].empty


def test_a_size_has_one_colour_and_larger_ones_are_darker() -> None:
    known = palette.sizes([1e9, 3e8, 1e9, 6e9, float("nan")])
    assert known.labels == ("300 M", "1 B", "6 B")
    assert len(set(known.colours)) == 3
    lightness = [sum(int(colour[i : i + 2], 16) for i in (1, 3, 5)) for colour in known.colours]
    assert lightness == sorted(lightness, reverse=True)


def test_sizes_that_are_close_keep_labels_that_tell_them_apart() -> None:
    assert len(set(palette.sizes([50_100_000, 50_200_000, 50_300_000]).labels)) == 3
