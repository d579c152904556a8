"""Without these a user's study could go on from a checkpoint that a kill, a full disk or an edit had spoilt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from onset.errors import OnsetError
from onset.store.rundir import RunDir
from onset.train import checkpoint, states
from onset.train.parallel import Mesh


def fill(folder: Path) -> None:
    (folder / "a.bin").write_bytes(b"12345")
    (folder / "b.txt").write_text("text", encoding="utf-8")


def test_a_whole_folder_has_no_fault(tmp_path: Path) -> None:
    checkpoint.write_folder(tmp_path / "x", fill)
    assert checkpoint.fault(tmp_path / "x") is None
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("damage", ["cut", "edit", "gone", "sums cut", "sums gone", "sums edited"])
def test_every_damage_is_noticed_and_named(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "x"
    checkpoint.write_folder(folder, fill)
    sums = folder / checkpoint.CHECKSUMS
    if damage == "cut":
        (folder / "a.bin").write_bytes(b"1234")
    elif damage == "edit":
        (folder / "b.txt").write_text("texT", encoding="utf-8")
    elif damage == "gone":
        (folder / "a.bin").unlink()
    elif damage == "sums cut":
        sums.write_text(sums.read_text()[:-9], encoding="utf-8")
    elif damage == "sums gone":
        sums.unlink()
    else:
        sums.write_text(json.dumps(["a.bin"]), encoding="utf-8")
    why = checkpoint.fault(folder)
    assert why
    if damage in ("cut", "gone"):
        assert "a.bin" in why


def test_what_fails_midway_leaves_nothing(tmp_path: Path) -> None:
    def full(folder: Path) -> None:
        (folder / "a.bin").write_bytes(b"1")
        raise OSError(28, "No space left on device")

    with pytest.raises(OnsetError, match="No space left"):
        checkpoint.write_folder(tmp_path / "x", full)
    assert list(tmp_path.iterdir()) == []


def test_states_are_read_back_and_only_the_newest_kept(tmp_path: Path) -> None:
    rundir = RunDir(tmp_path / "run")
    for step in (3, 12, 40):
        checkpoint.write_state(rundir, step, {"w": torch.full((3,), float(step))}, {"step": step}, keep=2)
    assert checkpoint.states(rundir) == [12, 40]
    tensors = {"w": torch.zeros(3)}
    folder = checkpoint.state_folder(rundir, 40)
    states.fill(folder, tensors, Mesh())
    assert tensors["w"].tolist() == [40.0] * 3
    assert states.facts_of(folder) == {"step": 40}
    checkpoint.drop_states(rundir)
    assert checkpoint.states(rundir) == []


def test_a_damaged_folder_is_set_aside_not_lost(tmp_path: Path) -> None:
    rundir = RunDir(tmp_path / "run")
    for _ in range(2):
        checkpoint.write_folder(rundir.checkpoint(7), fill)
        aside = checkpoint.set_aside(rundir.checkpoint(7))
        assert (aside / "b.txt").read_text(encoding="utf-8") == "text"
    assert rundir.steps() == []


def test_leftovers_of_a_kill_are_swept(tmp_path: Path) -> None:
    rundir = RunDir(tmp_path / "run")
    checkpoint.write_folder(rundir.checkpoint(7), fill)
    (tmp_path / "run" / "steps" / ".00000009.1.ab.part").mkdir()
    checkpoint.sweep(rundir)
    assert [entry.name for entry in (tmp_path / "run" / "steps").iterdir()] == ["00000007"]


def test_old_checkpoints_are_looked_at_without_reading_them(tmp_path: Path) -> None:
    """A resume that reads every checkpoint of a large run takes hours before its first step."""
    folder = tmp_path / "x"
    checkpoint.write_folder(folder, fill)
    (folder / "b.txt").write_text("texT", encoding="utf-8")
    assert checkpoint.fault(folder, contents=False) is None
    (folder / "a.bin").unlink()
    assert "a.bin is missing" in str(checkpoint.fault(folder, contents=False))
