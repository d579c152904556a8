"""A run directory holds hours of work: it is never taken for another's and never overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest

from onset.errors import OnsetError
from onset.store.rundir import RunDir, run_dirs


def test_a_directory_of_another_specification_is_left_as_it_is(tmp_path: Path) -> None:
    rundir = RunDir(tmp_path / "w32-aaaa")
    rundir.create({"run": "w32", "digest": "aaaa"})
    rundir.create({"run": "w32", "digest": "aaaa"})  # the same specification resumes
    with pytest.raises(OnsetError, match="another specification"):
        rundir.create({"run": "w32", "digest": "bbbb"})
    assert rundir.meta()["digest"] == "aaaa"


def test_only_whole_checkpoints_are_steps(tmp_path: Path) -> None:
    rundir = RunDir(tmp_path / "w32-aaaa")
    for name in ("00000010", "00000002", ".00000020.123.part"):
        (rundir.path / "steps" / name).mkdir(parents=True)
    assert rundir.steps() == [2, 10]


def test_a_description_cut_short_is_named(tmp_path: Path) -> None:
    rundir = RunDir(tmp_path / "w32-aaaa")
    rundir.create({"run": "w32", "digest": "aaaa"})
    rundir.meta_path.write_text('{"run": "w3')
    with pytest.raises(OnsetError, match="restore this file, or move the run"):
        rundir.meta()


def test_a_folder_without_a_study_lists_all_its_models(tmp_path: Path) -> None:
    RunDir(tmp_path / "runs" / "a-1").create({"run": "a", "digest": "1"})
    (tmp_path / "runs" / "not-a-run").mkdir()
    assert [rundir.name for rundir in run_dirs(tmp_path)] == ["a-1"]
