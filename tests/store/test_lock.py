"""Without these two processes would train one run, or a killed one would hold it for ever."""

from __future__ import annotations

import errno
import fcntl
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from onset.errors import OnsetError
from onset.store.lock import Locked, lock_run, lock_study

HOLD = """
import sys
from pathlib import Path
from onset.store.lock import lock_run
with lock_run(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_is_refused_with_the_holder_s_number_and_free_once_it_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        told = f"another process .number {process.pid}. is training this run"
        with pytest.raises(Locked, match=told), lock_run(tmp_path / "run"):
            pass
        process.kill()
    with lock_run(tmp_path / "run"):
        pass


def test_a_lock_is_waited_for_as_long_as_asked(tmp_path: Path) -> None:
    """Lost otherwise: a run whose last worker is just ending, which would be given up."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert process.stdin is not None
        process.stdin.close()  # it ends now
        with lock_study(tmp_path, patience=60):
            pass


def test_a_file_system_without_locks_is_named_and_so_is_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OnsetError, match="the file system has no locks") as caught, lock_study(tmp_path):
        pass
    assert "another folder with --out" in str(caught.value)


def test_a_lock_s_error_is_still_known_as_such_in_another_process() -> None:
    copy = pickle.loads(pickle.dumps(Locked("held", where="runs/a")))
    assert isinstance(copy, Locked)
    assert copy.where == "runs/a"
