"""A job that a scheduler ends: without these it would lose what it did, or never come to an end."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from onset.store.parts import sweep
from onset.study.files import dump
from onset.study.spec import Study
from onset.work.piece import Stopped
from onset.work.signals import stop_signals


def test_the_first_signal_is_noted_and_the_second_obeyed(request: pytest.FixtureRequest) -> None:
    # A shell that starts the tests in the background has them ignore SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    with stop_signals() as stop:
        assert not stop()
        signal.raise_signal(signal.SIGINT)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    with pytest.raises(Stopped, match="stopped by signal 2") as caught:
        stop.check("out")
    assert caught.value.exit_code == 130


def test_outside_the_main_thread_no_signal_is_caught() -> None:
    before, seen = signal.getsignal(signal.SIGTERM), []

    def look() -> None:
        with stop_signals() as stop:
            seen.append((stop(), signal.getsignal(signal.SIGTERM) == before))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [(False, True)]


def test_half_written_parts_of_a_killed_process_are_removed_and_whole_ones_stay(tmp_path: Path) -> None:
    """Lost otherwise: disk, a little more with every job that a scheduler kills."""
    run = tmp_path / "runs" / "w16-aaaa"
    places = ("study.toml", "runs/w16-aaaa/run.json", "runs/w16-aaaa/loss/00000005.parquet")
    places += ("runs/w16-aaaa/items/00000005/mmlu-aaaa.parquet", "runs/w16-aaaa/items/00000005/a-b.chunks/0001.parquet")
    for name in places:
        whole = tmp_path / name
        whole.parent.mkdir(parents=True, exist_ok=True)
        whole.touch()
        whole.with_name(f".{whole.name}.123.0a1b.part").touch()
    checkpoint = run / "steps" / ".00000005.123.part"
    checkpoint.mkdir(parents=True)  # for the process that holds the run
    sweep(tmp_path)
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()} == set(places)
    assert checkpoint.exists()


def recovery_states(folder: Path) -> list[int]:
    """Steps of the recovery states of a study's runs."""
    return [int(path.name) for path in folder.glob("out/runs/*/resume/*") if path.name.isdigit()]


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_a_study_that_is_ended_again_and_again_comes_to_its_end(small: Study, tmp_path: Path, workers: str) -> None:
    """Between its checkpoints, too: a job that is shorter than the way to the next one would never get there."""
    runs = tuple(run.model_copy(update={"tokens": 400_000, "checkpoints": 1}) for run in small.runs)
    study = small.model_copy(update={"runs": runs, "tasks": small.tasks[:1], "state_minutes": 0.005})
    (tmp_path / "study.toml").write_text(dump(study))
    command = [sys.executable, "-m", "onset", "run", str(tmp_path / "study.toml"), "--out", str(tmp_path / "out")]
    command += ["--workers", workers, "--threads", "1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    while not recovery_states(tmp_path) and process.poll() is None:
        time.sleep(0.01)
    process.terminate()
    told = process.communicate(timeout=120)[1]
    assert process.returncode == 143, told
    assert "stopped by signal 15" in told
    assert "run the same command again" in told
    assert recovery_states(tmp_path)
    assert not list(tmp_path.glob("out/runs/*/DONE")), "it was stopped too late for this test to tell anything"
    again = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert again.returncode == 0, again.stderr
    for run in tmp_path.glob("out/runs/*"):
        assert len((run / "log.jsonl").read_text().splitlines()) == runs[0].steps
