"""The presets: whole studies by name, with the designs that they promise."""

from __future__ import annotations

from collections import Counter

import pytest

from onset.errors import OnsetError
from onset.study import files
from onset.study.cost import checkpoint_steps, total_parameters
from onset.study.presets import PRESETS, WORLD_TASKS, preset


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_whole_study_that_survives_toml(name: str) -> None:
    """``onset run NAME`` and a copy of its study.toml must be the same study."""
    study = preset(name)
    assert study.name == name
    assert files.parse(files.dump(study)) == study
    assert preset(name).digest() == study.digest()


def test_an_unknown_preset_says_what_was_meant() -> None:
    """A misspelt name must not be a traceback."""
    with pytest.raises(OnsetError, match="no preset named 'dmeo'") as error:
        preset("dmeo")
    assert "demo" in (error.value.advice or "")


@pytest.mark.parametrize("name", ["demo", "nano31"])
def test_studies_of_the_world_ask_all_twelve_abilities(name: str) -> None:
    """A panel that is not asked cannot be drawn."""
    study = preset(name)
    assert {task.name for task in study.tasks} == set(WORLD_TASKS)
    assert len(WORLD_TASKS) == 12
    assert len({run.shape.layers for run in study.runs}) == 1  # a family keeps its depth


@pytest.mark.parametrize("name", ["nano31", "paper31"])
def test_the_papers_design_has_three_trajectories_and_a_grid_of_28(name: str) -> None:
    """Figures 1 and 2 of the paper rest on it: few long runs, many short ones with a full decay each."""
    study = preset(name)
    groups = Counter(run.group for run in study.runs)
    assert groups == {"trajectory": 3, "grid": 28}
    grid = [run for run in study.runs if run.group == "grid"]
    assert len({run.shape for run in grid}) == 6
    assert all(run.schedule.final_ratio < 1 for run in grid)
    per_run = {run.group: len(checkpoint_steps(run)) for run in study.runs}
    assert per_run["trajectory"] > per_run["grid"] > 1


def test_the_papers_sizes_are_what_their_names_say() -> None:
    """A plan at the wrong size would be a wrong plan."""
    named = {"300m": 0.3, "540m": 0.54, "1b": 1.0, "1.5b": 1.5, "3b": 3.0, "6b": 6.0, "32b": 32.0}
    study = preset("paper31")
    vocab = study.tokenizers["main"].vocab
    assert vocab is not None
    for run in study.runs:
        size = run.name.split("-")[1]
        assert total_parameters(run.shape, vocab) / 1e9 == pytest.approx(named[size], rel=0.04)
    budgets = [run.tokens for run in study.runs if run.group == "grid"]
    assert (min(budgets), max(budgets)) == (33_000_000_000, 500_000_000_000)
