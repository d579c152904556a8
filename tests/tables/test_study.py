"""Observations of a study's folder: from item rows and held-out losses, and from nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from onset.errors import OnsetError
from onset.store.parts import ITEMS, read_part, write_part
from onset.store.rundir import run_dirs
from onset.tables import observations
from onset.tables.study import from_study

STEPS = [10, 20, 40, 80]


def test_scores_stand_at_the_loss_of_their_checkpoint(study_folder: Path) -> None:
    """A curve would be drawn through the wrong points."""
    frame = observations.read(study_folder)
    assert set(frame.loss_name) == {"main"}
    assert set(frame.loss_unit) == {"nats/token"}
    one = frame[(frame.task == "world_exam_en") & (frame.metric == "accuracy")].sort_values(["run", "step"])
    assert one.step.tolist() == STEPS * 2
    np.testing.assert_allclose(one.loss[:4], 3 - 0.3 * np.log(STEPS))
    np.testing.assert_array_equal(one.tokens[:4], np.array(STEPS) * 64)
    np.testing.assert_allclose(one.flops[:4], np.array(STEPS) * 64 * 6e5)
    assert set(one.params) == {10**5, 10**6}
    assert set(one.chance) == {0.25}
    assert json.loads(one.extra.iloc[0])["width"] == 16


def test_the_score_is_that_of_the_item_rows(study_folder: Path) -> None:
    frame = observations.read(study_folder)
    rundir = run_dirs(study_folder)[0]
    part = next((rundir.path / "items" / "00000080").glob("world_exam_en-*.parquet"))
    rows = read_part(part)
    best = rows.loc[rows.groupby("item").logprob.idxmax()]
    found = frame[(frame.run == rundir.name) & (frame.step == 80) & (frame.task == "world_exam_en")]
    assert found.set_index("metric").score["accuracy"] == pytest.approx(best.gold.mean())


@pytest.mark.parametrize(
    ("loss", "unit", "factor"),
    [("other", "nats/token", 1.2), ("other@en", "nats/token", 1.2), ("main:bpb", "bits/byte", 0.5),
     ("other@all:bits_per_byte", "bits/byte", 0.6)],
)  # fmt: skip
def test_the_loss_can_be_chosen(study_folder: Path, loss: str, unit: str, factor: float) -> None:
    frame, usual = observations.read(study_folder, loss), observations.read(study_folder)
    np.testing.assert_allclose(frame.loss, usual.loss * factor)
    assert set(frame.loss_unit) == {unit}


@pytest.mark.parametrize("loss", ["mian", "main@zh", "main:furlongs"])
def test_an_unknown_loss_is_told_with_the_nearest(study_folder: Path, loss: str) -> None:
    with pytest.raises(OnsetError) as caught:
        observations.read(study_folder, loss)
    assert caught.value.advice


def test_a_checkpoint_without_loss_cannot_be_placed(study_folder: Path) -> None:
    """It would be taken for a loss of zero, or vanish without a word."""
    rundir = run_dirs(study_folder)[0]
    rundir.loss(20).unlink()
    frame = observations.read(study_folder)
    assert 20 not in set(frame.step[frame.run == rundir.name])
    assert any("1 scored checkpoints have no loss 'main'" in note for note in frame.attrs["notes"])


def test_a_failed_run_is_reported_and_not_scored(study_folder: Path) -> None:
    rundir = run_dirs(study_folder)[1]
    rundir.failed_path.write_text("loss is not finite at step 50")
    frame = observations.read(study_folder)
    assert set(frame.run) == {run_dirs(study_folder)[0].name}
    assert any(rundir.name in note and "step 50" in note for note in frame.attrs["notes"])


def test_two_forms_of_a_task_are_not_pooled(study_folder: Path) -> None:
    """After a change of prompts, old and new answers would be averaged."""
    rundir = run_dirs(study_folder)[0]
    old = next((rundir.path / "items" / "00000010").glob("world_exam_en-*.parquet"))
    rows = read_part(old).assign(digest="cd" * 32)
    write_part(rundir.items(10, "world_exam_en", "cd" * 32), rows, ITEMS)
    frame = observations.read(study_folder)
    assert {"world_exam_en@abab", "world_exam_en@cdcd", "world_facts_en"} == set(frame.task)
    assert any("more than one form" in note for note in frame.attrs["notes"])


def test_a_part_cut_short_is_named(study_folder: Path) -> None:
    part = next((run_dirs(study_folder)[0].path / "items" / "00000040").glob("*.parquet"))
    part.write_bytes(part.read_bytes()[:500])
    with pytest.raises(OnsetError, match="cannot read the part") as caught:
        from_study(study_folder)
    assert caught.value.where == str(part)


def test_a_folder_without_runs_or_scores_says_so(tmp_path: Path, study_folder: Path) -> None:
    with pytest.raises(OnsetError, match="holds no runs"):
        observations.read(tmp_path)
    for rundir in run_dirs(study_folder):
        for part in (rundir.path / "items").rglob("*.parquet"):
            part.unlink()
    with pytest.raises(OnsetError, match="scored on a task yet"):
        observations.read(study_folder)


def test_a_run_that_does_not_say_its_tokens_is_counted(study_folder: Path) -> None:
    rundir = run_dirs(study_folder)[0]
    meta = rundir.meta()
    del meta["tokens_per_step"]
    rundir.meta_path.write_text(json.dumps(meta))
    frame = observations.read(study_folder)
    assert rundir.name not in set(frame.run)
    assert any("lacks params or training tokens" in note for note in frame.attrs["notes"])


def test_observations_survive_a_table(study_folder: Path, tmp_path: Path) -> None:
    """What is written to a table and read again must be what was analysed."""
    frame = observations.read(study_folder)
    frame.to_csv(tmp_path / "table.csv.gz", index=False)
    pd.testing.assert_frame_equal(observations.read(tmp_path / "table.csv.gz"), frame)


@pytest.mark.parametrize("constant", [0.25, None])
def test_the_chance_of_free_answers_is_the_best_constant_answer(study_folder: Path, constant: float | None) -> None:
    """Lost: a plateau of answers of the right kind, told as an ability; or a chance of 0 that nobody mentions."""
    about = {"metric": "exact_match"} | ({} if constant is None else {"constant_answer": constant})
    for rundir in run_dirs(study_folder):
        for step in STEPS:
            rows = [
                {"run": rundir.name, "step": step, "task": "open", "digest": "abcd1234", "item": str(item), "choice": 0,
                 "gold": True, "logprob": -1.0, "tokens": 2, "bytes": 4, "text": "x", "correct": item < 3}
                for item in range(8)
            ]  # fmt: skip
            write_part(rundir.items(step, "open", "abcd1234"), rows, ITEMS, about)
    observed = observations.read(study_folder)
    exact = observed[(observed.task == "open") & (observed.metric == "exact_match")]
    assert set(exact.chance) == {constant or 0.0}
    told = any("best constant answer is not known of open" in note for note in observed.attrs["notes"])
    assert told == (constant is None)
