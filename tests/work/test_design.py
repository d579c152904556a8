"""``onset design``: from a study, a table or numbers to power, in JSON and files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from onset.cli import app
from onset.errors import OnsetError
from onset.results import Design
from onset.stats.design import belief, family, power, simulation
from onset.work.design import believe, plan_family, stated_items


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers without fits, in this process."""

    def fake(job: power._Job) -> list[power.Answer]:
        names = ("threshold", "size_effect", "same_curve", "forecast")
        return [power.Answer(name, True, 1.0 / np.sqrt(job.family.items)) for name in names]

    monkeypatch.setattr(power, "answer", fake)
    monkeypatch.setattr(power, "cores", lambda: 1)


def test_numbers_of_the_command_line_are_the_family_that_is_simulated(tmp_path: Path) -> None:
    """Lost: a design of another family than was asked for, or files that are not those of the table."""
    words = ["design", "--threshold", "3.0", "--sizes", "1e8,4e8", "--tokens", "2e10", "--items", "500", "--draws", "4"]
    done = CliRunner().invoke(app, [*words, "--rate", "1e14", "--out", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    told = Design.from_json(json.loads(done.stdout))
    assert told == Design.from_json((tmp_path / "design.json").read_text(encoding="utf-8"))
    assert told.runs["params"].tolist() == [1e8, 4e8]
    assert told.flops == 6 * 5e8 * 2e10
    assert set(told.power["power"]) == {1.0}
    assert told.additions["change"].iloc[0] == "1,000 more items"
    for name in ("design.csv", "families.csv", "additions.csv", "figures/power_against_cost.svg"):
        assert (tmp_path / name).stat().st_size > 100
    shown = CliRunner().invoke(app, words)
    assert "100% [51%, 100%]" in shown.stdout
    chosen = CliRunner().invoke(app, [*words, "--budget", "1e20", "--json", "--no-additions"])
    assert Design.from_json(json.loads(chosen.stdout)).chosen is not None


def test_a_preset_is_planned_with_its_own_items() -> None:
    made = plan_family("tiny", items=stated_items("tiny") or 0)
    assert (made.items, len(made.runs)) == (60, 2)


def test_a_table_of_smaller_runs_is_what_is_believed(tmp_path: Path) -> None:
    """Lost: which tasks are simulated of a table, and that those at chance are named."""
    told = belief.stated(belief.LAWS["hoffmann2022"], 3.2)
    grid = family.of_sizes([5e7, 1e8, 2e8, 4e8], [4e9, 2e10], checkpoints=6, items=2000)
    one = simulation.simulate(grid, told.law, told.curves[0], 0.0, 1).none
    flat = replace(told.curves[0], task="guessed", ability=np.zeros_like(told.curves[0].ability))
    two = simulation.simulate(grid, told.law, flat, 0.0, 1).none
    rows = pd.concat([one, two], ignore_index=True)
    found, items = believe(rows)
    assert ([curve.task for curve in found.curves], items) == (["believed"], 2000)
    assert any(note.startswith("guessed (accuracy) is left out") for note in found.notes)
    with pytest.raises(OnsetError, match="no loss law is called"):
        believe(rows, law="hofman")


def test_a_folder_of_scored_runs_is_a_table(study_folder: Path) -> None:
    """Lost: a study's folder taken for the name of a study."""
    with pytest.raises(OnsetError, match=r"no task of the table tells a curve|tells no loss law"):
        CliRunner().invoke(app, ["design", str(study_folder)], catch_exceptions=False)


def test_what_is_believed_is_given_once() -> None:
    """Lost: a design from a threshold that was meant beside a table."""
    for words in (["design", "--sizes", "1e8"], ["design", "tiny"]):
        with pytest.raises(OnsetError, match="given once"):
            CliRunner().invoke(app, words, catch_exceptions=False)
    with pytest.raises(OnsetError, match="no numbers"):
        CliRunner().invoke(app, ["design", "--threshold", "3", "--sizes", "big"], catch_exceptions=False)
