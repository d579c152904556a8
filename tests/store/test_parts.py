"""A part that is half-written would be taken for a result: it is whole or it is absent."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from onset.errors import OnsetError
from onset.store.parts import ITEMS, LOSSES, read_part, whole_file, write_part, write_text

ROW: dict[str, Any] = {
    "run": "r", "step": 1, "text": "t", "language": "all", "nats_per_token": 1.5, "bits_per_byte": 0.9,
    "unigram_normalised": None, "tokens": 10, "bytes": 40,
}  # fmt: skip


def test_a_part_comes_back_as_written(tmp_path: Path) -> None:
    write_part(tmp_path / "a" / "b.parquet", [ROW], LOSSES)
    frame = read_part(tmp_path / "a" / "b.parquet")
    assert frame.loc[0, "nats_per_token"] == 1.5
    assert frame["unigram_normalised"].isna().all()


def test_a_missing_value_is_refused_where_one_is_needed(tmp_path: Path) -> None:
    with pytest.raises(OnsetError, match="nats_per_token"):
        write_part(tmp_path / "a.parquet", [{**ROW, "nats_per_token": None}], LOSSES)
    assert list(tmp_path.iterdir()) == []


def test_an_error_while_writing_leaves_the_old_file_and_no_leftover(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail() -> None:
        with whole_file(path) as beside:
            beside.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_a_part_cut_short_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_part(path, [ROW], LOSSES)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(OnsetError, match="cannot read the part") as caught:
        read_part(path)
    assert str(path) in str(caught.value)
    assert "delete this file" in str(caught.value)


def test_a_full_disk_is_one_error_that_says_it_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OnsetError, match="No space left on device") as caught:
        write_part(tmp_path / "a.parquet", [ROW], LOSSES)
    assert "it resumes" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_a_folder_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OnsetError, match="cannot write"):
        write_part(tmp_path / "file" / "a.parquet", [ROW], LOSSES)


def test_what_is_not_a_file_is_not_replaced_by_one(tmp_path: Path) -> None:
    """``--out /dev/full`` must not put a file in the place of a device, nor in that of a pipe or a folder."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for taken in (pipe, tmp_path, Path("/dev/null")):
        with pytest.raises(OnsetError, match="is not a file"):
            write_text(taken, "text")
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert list(tmp_path.iterdir()) == [pipe]


def test_lists_that_are_not_there_are_empty(tmp_path: Path) -> None:
    """Lost otherwise: item rows of other programs, whose columns of samples hold nothing."""
    row = {"run": "a", "step": 1, "task": "t", "digest": "", "item": "i", "choice": 0, "gold": True}
    write_part(tmp_path / "a.parquet", pd.DataFrame([row]).reindex(columns=ITEMS.names), ITEMS)
    assert read_part(tmp_path / "a.parquet").samples.tolist() == [None]
    mixed = pd.DataFrame([{**row, "samples": ["x"], "samples_correct": [True]}, {**row, "item": "j"}])
    write_part(tmp_path / "b.parquet", mixed, ITEMS)
    lists = read_part(tmp_path / "b.parquet").samples_correct
    assert [None if one is None else list(one) for one in lists] == [[True], None]
