"""Without these a worker that dies would end a study, a full disk would be told as something else, a flag be lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from onset.cli import app
from onset.errors import OnsetError
from onset.study.files import dump
from onset.study.spec import Study
from onset.work import study as running
from onset.work.engines import LocalEngine, Options, choose_engine
from onset.work.engines.retries import DEATHS
from onset.work.piece import Control, Event, Pending, Piece, Stopped
from onset.work.resources import Need, Slot
from onset.work.study import Outcome


@dataclass
class TwoPieces:
    """A ledger of two trainings, each done once its file is there."""

    folder: Path
    deaths: int = 0
    """So many workers die on the first."""
    divide_always: bool = False

    def pending(self, *, fresh: bool = False) -> Pending:
        pieces = (Piece("train", "first"), Piece("train", "second"))
        return Pending(0, tuple(piece for piece in pieces if not (self.folder / piece.run).exists()))

    def ready(self, piece: Piece) -> bool:
        return True

    def need(self, piece: Piece, threads: int) -> Need:
        return Need()

    def divide(self, piece: Piece) -> tuple[Piece, ...]:
        return (piece,)

    def hear(self, event: Event) -> None:
        return None


def deadly(ledger: TwoPieces, piece: Piece, slot: Slot, control: Control) -> None:
    """Whoever takes the first piece dies on it, as often as the ledger says."""
    before = len(list(ledger.folder.glob("death*")))
    if piece.run == "first" and before < ledger.deaths:
        (ledger.folder / f"death{before}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    (ledger.folder / piece.run).touch()


def endless(ledger: TwoPieces, piece: Piece, slot: Slot, control: Control) -> None:
    """Works until it is asked to stop, and leaves a state then."""
    (ledger.folder / f"{piece.run}.begun").touch()
    while not control.should_stop():
        time.sleep(0.01)
    (ledger.folder / f"{piece.run}.state").touch()
    raise Stopped(piece.run)


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are processes of their own and find the functions above by this file's module name."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3]))


def test_a_worker_that_dies_costs_its_piece_which_is_tried_again(tmp_path: Path) -> None:
    told: list[Event] = []
    assert LocalEngine(2, 1).run(TwoPieces(tmp_path, 1), deadly, told.append) == {}
    assert (tmp_path / "first").exists()
    assert (tmp_path / "second").exists()
    notices = [event.data["notice"] for event in told if "notice" in event.data]
    assert notices == ["a worker was lost (exit code -9): 'train first' is tried again"]


def test_a_piece_that_kills_every_worker_is_given_up_and_the_others_are_done(tmp_path: Path) -> None:
    given_up = LocalEngine(1, 1).run(TwoPieces(tmp_path, 99), deadly, lambda event: None)
    assert list(given_up) == ["train first 0"]
    assert f"died {DEATHS} times (exit code -9)" in str(given_up["train first 0"])
    assert (tmp_path / "second").exists()


def test_workers_that_are_asked_to_stop_leave_their_state(tmp_path: Path) -> None:
    """Lost otherwise: all that a training did since its last state, whenever a scheduler ends the job."""
    told: list[Event] = []
    begun = [tmp_path / f"{name}.begun" for name in ("first", "second")]
    options = Options(should_stop=lambda: all(path.exists() for path in begun))
    assert LocalEngine(2, 1).run(TwoPieces(tmp_path), endless, told.append, options) == {}
    assert [event.kind for event in told] == ["start", "start", "stopped", "stopped"]
    assert {path.name for path in tmp_path.glob("*.state")} == {"first.state", "second.state"}


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Gives the command's words after ``run STUDY --out`` and returns the engine that they choose."""
    engines: list[Any] = []

    def run_study(study: Study, out: Path, *, engine: Any, **others: Any) -> Outcome:
        engines.append(engine)
        raise OnsetError("enough")

    monkeypatch.setattr(running, "run_study", run_study)

    def choose(*words: str) -> Any:
        CliRunner().invoke(app, ["run", "tiny", "--out", str(tmp_path), *words])
        return engines.pop()

    return choose


def test_flags_reach_the_local_engine(chosen: Any) -> None:
    engine = chosen("--workers", "3", "--threads", "2", "--gpus", "0.25")
    assert (engine.workers, engine.threads, engine.gpus) == (3, 2, 0.25)
    alone = chosen("--threads", "64")
    assert (alone.workers, alone.threads) == (1, 64)


def test_a_training_on_several_processes_needs_ray(chosen: Any) -> None:
    """Ray starts the processes; the flag must reach the engine that asks for it."""
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    assert chosen("--workers", "3", "--processes", "4").processes == 4


def test_flags_reach_ray(chosen: Any) -> None:
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    words = ("--engine", "ray", "--ray-address", "10.0.0.1:6379", "--threads", "2", "--processes", "3", "--gpus", "8")
    engine = chosen(*words)
    assert (engine.address, engine.threads, engine.processes, engine.gpus) == ("10.0.0.1:6379", 2, 3, 8)


def test_an_engine_that_is_not_known_and_an_address_without_ray_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OnsetError, match="no engine named 'slurm'"):
        choose_engine("slurm", None, 1, out=tmp_path)
    with pytest.raises(OnsetError, match="--ray-address is for the engine 'ray'"):
        choose_engine("local", None, 1, out=tmp_path, address="auto")


@pytest.mark.parametrize("words", [("--threads", "0"), ("--processes", "0"), ("--gpus", "-1")])
def test_a_flag_below_its_least_is_wrong_usage(words: tuple[str, str]) -> None:
    assert CliRunner().invoke(app, ["run", "tiny", "--out", "nowhere", *words]).exit_code == 2


FULL = """
import subprocess, sys, time
from pathlib import Path

study, disk = sys.argv[1], Path(sys.argv[2])
command = [sys.executable, "-m", "onset", "run", study, "--out", str(disk / "out")]
process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
while len(list(disk.glob("out/runs/*/steps/0*"))) < 2 and process.poll() is None:
    time.sleep(0.005)
try:
    with open(disk / "filler", "wb", buffering=0) as filler:
        while True:
            filler.write(b"x" * 4096)
except OSError as error:
    print(error)
print(process.communicate()[1])
print("first exit", process.returncode)
(disk / "filler").unlink()
again = subprocess.run(command, capture_output=True, text=True)
print("second exit", again.returncode, again.stderr)
"""


@pytest.mark.slow
def test_a_disk_that_is_full_is_told_by_name_and_with_space_the_study_goes_on(small: Study, tmp_path: Path) -> None:
    # A file system of 40 MB that is seen by these processes alone, and is gone when they are.
    disk = tmp_path / "disk"
    disk.mkdir()
    alone = ["unshare", "--mount", "bash", "-c", 'mount -t tmpfs -o size=40m tmpfs "$0" && exec "$@"', str(disk)]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("a file system of a test's own needs the right to mount one")
    longer = tuple(run.model_copy(update={"tokens": 400_000, "checkpoints": 6}) for run in small.runs)
    (tmp_path / "study.toml").write_text(dump(small.model_copy(update={"runs": longer})))
    command = [*alone, sys.executable, "-c", FULL, str(tmp_path / "study.toml"), str(disk)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    first, second = told.split("first exit ")
    assert second.startswith("1")
    assert "No space left on device" in first[first.index("onset: the study is not whole") :]
    assert "Traceback" not in first
    assert "second exit 0" in second, second
    assert "damaged" not in second
    assert "14 done, 0 pending" in second
