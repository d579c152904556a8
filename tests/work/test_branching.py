"""Without these a family's stable trunk would be trained once a run, or a branch would end with other weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from onset.study.branching import Trunk, trunks
from onset.study.cost import Method
from onset.study.plan import plan_notes, plan_rows
from onset.study.spec import Run, Schedule, Study
from onset.work.jobs.study import run_piece
from onset.work.ledger import StudyLedger
from onset.work.piece import Control, Piece
from onset.work.resources import Slot
from onset.work.study import run_study

STEP = 8 * 128
"""Tokens a step of the runs below."""


def family(small: Study, *steps: int, **changes: Any) -> Study:
    """Runs of one size and so many steps each, with a stable trunk."""
    schedule = Schedule(kind="wsd", warmup_steps=3, decay=0.25)
    runs = tuple(
        small.runs[0].model_copy(
            update={"name": f"s{count}", "tokens": count * STEP, "schedule": schedule, "checkpoints": 4} | changes
        )
        for count in steps
    )
    return small.model_copy(update={"runs": runs})


def outcome(place: StudyLedger, run: Run) -> tuple[list[dict[str, Any]], dict[int, bytes]]:
    """A run's log without the clock, and the bytes of its weights by step."""
    rundir = place.rundir(run)
    lines = [json.loads(line) for line in rundir.log_path.read_text(encoding="utf-8").splitlines()]
    kept = [{k: v for k, v in line.items() if k not in ("time", "tokens_per_second")} for line in lines]
    return kept, {step: (rundir.checkpoint(step) / "model.safetensors").read_bytes() for step in rundir.steps()}


def train(place: StudyLedger, name: str) -> list[str]:
    """Train one run here and now; returns the notices."""
    told: list[str] = []
    control = Control(lambda data: told.append(data["notice"]) if "notice" in data else None)
    run_piece(place, Piece("train", name), Slot(), control)
    place.pending(fresh=True)
    return told


def test_runs_of_one_size_that_differ_in_length_share_a_trunk(small: Study) -> None:
    study = family(small, 12, 24, 16)
    assert trunks(study) == {"s12": Trunk("s24", 9), "s16": Trunk("s24", 12)}


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 5},
        {"batch": 16, "tokens": 48 * STEP},
        {"schedule": Schedule(kind="wsd", warmup_steps=3, peak_rate=1e-3)},
        {"schedule": Schedule(kind="wsd", warmup_steps=4)},
        {"schedule": Schedule(kind="wsd")},
        {"schedule": Schedule(kind="cosine", warmup_steps=3)},
        {"initialisation": 0.5},
        {"skip": 1},
    ],
)
def test_whatever_the_first_steps_depend_on_keeps_runs_apart(small: Study, changes: dict[str, Any]) -> None:
    study = family(small, 12, 24)
    other = study.runs[1].model_copy(update=changes)
    assert trunks(study.model_copy(update={"runs": (study.runs[0], other)})) == {}


def test_a_branch_equals_the_same_run_trained_alone_bitwise(small: Study, tmp_path: Path) -> None:
    study = family(small, 12, 24, 16)
    together = StudyLedger(study, tmp_path / "together")
    assert [piece.run for piece in _trainings(together) if together.ready(piece)] == ["s24"]
    train(together, "s24")
    for name in ("s12", "s16"):
        assert together.ready(Piece("train", name))
        train(together, name)
        alone = StudyLedger(study.model_copy(update={"runs": (study.run(name),)}), tmp_path / name)
        train(alone, name)
        assert outcome(together, study.run(name)) == outcome(alone, study.run(name))
        told = together.rundir(study.run(name)).meta()
        leader = together.rundir(study.run("s24")).name
        assert told["trunk"] == {"run": leader, "steps": trunks(study)[name].steps}
        assert "trunk" not in alone.rundir(study.run(name)).meta()


def test_a_branch_trains_its_decay_alone(small: Study, tmp_path: Path) -> None:
    study = family(small, 12, 24)
    place = StudyLedger(study, tmp_path)
    train(place, "s24")
    branch = place.rundir(study.run("s12"))
    before = branch.log_path.read_text(encoding="utf-8").splitlines()
    train(place, "s12")
    after = branch.log_path.read_text(encoding="utf-8").splitlines()
    assert len(before) == 9
    assert len(after) == 12
    assert after[:9] == before  # times of the clock included: those steps were not done again


def test_a_branch_whose_handed_state_is_damaged_is_trained_alone_and_says_so(small: Study, tmp_path: Path) -> None:
    study = family(small, 12, 24)
    place = StudyLedger(study, tmp_path / "a")
    train(place, "s24")
    branch = place.rundir(study.run("s12"))
    state = next((branch.path / "resume").iterdir()) / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-1])
    assert any("damaged" in line for line in train(place, "s12"))
    alone = StudyLedger(study.model_copy(update={"runs": (study.run("s12"),)}), tmp_path / "b")
    train(alone, "s12")
    assert outcome(place, study.run("s12")) == outcome(alone, study.run("s12"))
    assert "trunk" not in branch.meta()


def test_a_trunk_that_has_ended_leaves_no_branch_waiting(small: Study, tmp_path: Path) -> None:
    longest = family(small, 24)
    train(StudyLedger(longest, tmp_path), "s24")
    study = family(small, 12, 24)  # the shorter run comes later
    place = StudyLedger(study, tmp_path)
    assert place.ready(Piece("train", "s12"))
    train(place, "s12")
    assert place.rundir(study.run("s12")).done


def test_a_whole_study_with_trunks_ends_and_owes_nothing(small: Study, tmp_path: Path) -> None:
    study = family(small, 12, 24)
    done = run_study(study, tmp_path, workers=2, console=Console(quiet=True))
    assert done.pending == 0
    assert not done.problems
    meta = StudyLedger(study, tmp_path).rundir(study.run("s12")).meta()
    assert meta["trunk"]["steps"] == 9


def test_the_plan_shows_what_is_saved(small: Study) -> None:
    study = family(small, 12, 24)
    rows = plan_rows(study, lambda run: 1e9, {"main": 600}, lambda run: Method())
    assert [row["trunk"] for row in rows] == ["s24", None]
    assert rows[0]["shared_tokens"] == 9 * STEP
    assert rows[0]["shared_flops"] * 4 == rows[0]["flops"] * 3
    assert rows[0]["hours"] * 4 == pytest.approx(rows[1]["hours"] / 2)
    assert "25%" in plan_notes(study, rows)[0]


def test_runs_that_a_shared_warm_up_would_join_are_told(small: Study) -> None:
    study = family(small, 100, 200, schedule=Schedule(kind="wsd"))
    assert "s100, s200" in plan_notes(study, plan_rows(study, lambda run: 1e9, {"main": 600}, lambda run: Method()))[0]


def test_wsd_in_one_word_is_a_trunk_that_can_be_shared(small: Study) -> None:
    runs = [
        Run.model_validate(
            {**small.runs[0].model_dump(), "name": f"s{steps}", "tokens": steps * STEP, "schedule": "wsd"}
        )
        for steps in (100, 200)
    ]
    assert trunks(small.model_copy(update={"runs": tuple(runs)})) == {"s100": Trunk("s200", 80)}


def _trainings(ledger: StudyLedger) -> list[Piece]:
    return [piece for piece in ledger.pending(fresh=True).pieces if piece.kind == "train"]
