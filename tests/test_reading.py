"""A file that somebody else wrote must not hang, crash or deceive the commands that read it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from onset import reading
from onset.errors import OnsetError, printable


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{"a": 1', "not valid JSON"),
        ("[" * 10_000 + "]" * 10_000, "nested deeper"),
        ("[" * 101 + "]" * 101, "nested deeper"),
        ('{"a": 1, "a": 2}', "'a' twice"),
        (r'{"a": "\ud800"}', "half of a character"),
        ("1" * 5000, "not valid JSON"),
    ],
)
def test_json_that_cannot_be_meant_is_one_error_that_names_its_file(tmp_path: Path, text: str, what: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(text)
    with pytest.raises(OnsetError, match=what) as caught:
        reading.json_file(file)
    assert str(file) in str(caught.value)
    assert caught.value.advice


def test_what_is_whole_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Trainers write NaN; editors write a byte order mark; 100 levels are more than anyone has."""
    (tmp_path / "a.json").write_text(
        '\ufeff{"loss": NaN, "text": "\\ud83d\\ude00", "deep": ' + "[" * 98 + "]" * 98 + "}"
    )
    found = reading.json_object(tmp_path / "a.json")
    assert found["loss"] != found["loss"]
    assert found["text"] == "😀"
    (tmp_path / "b.jsonl").write_text('{"a": "x\u2028y"}\n\n{"a": 2}\n')
    assert list(reading.json_lines(tmp_path / "b.jsonl")) == [(1, {"a": "x\u2028y"}), (3, {"a": 2})]


@pytest.mark.parametrize("text", ["a = ", "a = " + "[" * 10_000, "a = " + "[" * 150 + "]" * 150, "a = 1\na = 2"])
def test_toml_that_cannot_be_meant_is_one_error(text: str) -> None:
    with pytest.raises(OnsetError):
        reading.toml_text(text, where="study.toml")


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _loop(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize(
    ("make", "what"),
    [(_pipe, "a pipe"), (_loop, "cannot read"), (Path.mkdir, "this is a folder"), (lambda path: None, "no such file")],
)
def test_what_is_no_plain_file_is_refused_and_not_waited_for(
    tmp_path: Path, make: Callable[[Path], object], what: str
) -> None:
    make(tmp_path / "x.json")
    with pytest.raises(OnsetError, match=what):
        reading.json_file(tmp_path / "x.json")


@pytest.mark.parametrize("path", ["x" * 5000, "a\0b", "\udcff"])
def test_a_path_that_the_system_cannot_hold_is_one_error(path: str) -> None:
    with pytest.raises(OnsetError):
        reading.plain_file(path)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), -1, 2**63, 1e300, "many", None, True, [1]])
def test_what_is_no_count_is_refused(value: object) -> None:
    with pytest.raises(OnsetError, match=r"steps .* is no count"):
        reading.count(value, "steps", where="run.json")


def test_counts_are_read_exactly() -> None:
    assert [reading.count(value, "n", where="") for value in (0, 3.0, "12", 2**63 - 1)] == [0, 3, 12, 2**63 - 1]


def test_a_cell_cannot_command_the_terminal_or_fill_it() -> None:
    """Escape sequences set titles and hide text; a cell of a megabyte hides everything else."""
    assert printable("\x1b]0;title\x07a\tb\nc\udcff") == "\\x1b]0;title\\x07a\tb\nc\\xdcff"
    error = OnsetError("bad cell 'a\x9b31m'", where="z" * 100_000)
    assert "\x9b" not in str(error)
    assert len(str(error)) < 2500
