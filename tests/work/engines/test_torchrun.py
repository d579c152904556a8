"""Without these a training shared by processes would end elsewhere than alone, or not at all when one of them dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from onset.store.rundir import RunDir
from onset.study.files import dump
from onset.study.spec import Study
from onset.work.engines.local import choose_engine
from onset.work.ledger import Workplace
from onset.work.study import run_study


def start(folder: Path, out: Path) -> subprocess.Popen[str]:
    """The command in a process group of its own, each training on two processes."""
    command = [sys.executable, "-m", "onset", "run", str(folder / "study.toml"), "--out", str(out)]
    command += ["--processes", "2", "--threads", "1"]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def logged(rundir: RunDir, what: str) -> list[float]:
    lines = rundir.log_path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line)[what] for line in lines]


def wait_for(true: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while not true():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)


def follower(command: int) -> int:
    """Number of the process that follows in the training that a command has in hand."""
    import psutil

    for child in psutil.Process(command).children(recursive=True):
        try:
            if "onset.work.engines.torchrun" in child.cmdline() and child.environ().get("RANK") == "1":
                return child.pid
        except psutil.Error:
            continue  # it ended while we looked
    raise AssertionError("the training has no second process")


@pytest.mark.slow
def test_two_processes_of_which_one_is_killed_and_then_all_are_train_a_study_like_one(
    small: Study, tmp_path: Path
) -> None:
    longer = small.runs[1].model_copy(update={"tokens": 150_000, "checkpoints": 6})
    study = small.model_copy(update={"precision": "float32", "runs": (longer,)})
    (tmp_path / "study.toml").write_text(dump(study))
    alone = choose_engine("local", 1, 1, out=tmp_path / "alone", threads=1)
    assert run_study(study, tmp_path / "alone", engine=alone).owed == 0
    one, two = (Workplace(study, tmp_path / name).rundir(longer) for name in ("alone", "two"))

    process = start(tmp_path, tmp_path / "two")
    wait_for(lambda: len(two.steps()) >= 2, process)
    os.kill(follower(process.pid), signal.SIGKILL)
    before = len(two.steps())
    wait_for(lambda: len(two.steps()) > before, process)  # torchrun has started both again
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not two.done

    again = time.time()
    process = start(tmp_path, tmp_path / "two")
    told = process.communicate()[0]
    assert process.returncode == 0, told
    assert two.done
    assert two.steps() == one.steps()
    assert json.loads(two.done_path.read_text(encoding="utf-8"))["arithmetic"]["device"] == "cpu x2"
    assert logged(two, "loss") == pytest.approx(logged(one, "loss"), abs=5e-6)
    assert logged(two, "time")[0] < again  # it went on, and did not begin anew
