"""Work shared by processes comes back in order, and its errors with it."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

from onset.errors import OnsetError
from onset.stats.parallel import Workers
from onset.tables.files import read_table


def test_answers_come_back_in_order() -> None:
    """Findings would be given to the wrong task."""
    with Workers(2) as workers:
        assert workers.map(math.sqrt, [float(n * n) for n in range(20)]) == list(range(20))


def test_progress_is_told_once_an_item() -> None:
    """Lost: a bar that stands still while a table of many tasks is analysed."""
    for count in (1, 2):
        told: list[int] = []
        with Workers(count) as workers:
            workers.map(math.sqrt, [1.0, 4.0, 9.0], done=lambda: told.append(1))  # noqa: B023 - called in this loop
        assert len(told) == 3


def test_an_error_of_the_input_is_raised_here() -> None:
    with Workers(2) as workers, pytest.raises(OnsetError, match="no such table") as caught:
        workers.map(read_table, [Path("absent.csv"), Path("other.csv")])
    assert caught.value.where == "absent.csv"
    assert caught.value.advice


def test_without_processes_the_work_is_done_here() -> None:
    with Workers(1) as workers:
        assert workers.map(len, ["a", "bb"]) == [1, 2]


def test_a_script_without_a_main_guard_may_use_them() -> None:
    """Otherwise a plain script that analyses a table would start itself again and again."""
    code = (
        "import math\nfrom onset.stats.parallel import Workers\n"
        "with Workers(2) as workers:\n    print(workers.map(math.sqrt, [1.0, 4.0, 9.0]))\n"
    )
    done = subprocess.run([sys.executable, "-"], input=code, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[1.0, 2.0, 3.0]"
