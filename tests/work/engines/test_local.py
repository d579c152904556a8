"""Without these a worker that dies would end a study, a full disk would be told as something else, a flag be lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
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
from onset.work.engines.local import DEATHS, Event, LocalEngine, choose_engine
from onset.work.ledger import Owing, Piece, Report
from onset.work.resources import Need, Seat
from onset.work.study import Outcome


@dataclass(frozen=True)
class Deadly:
    """A place of two pieces: whoever takes the first dies on it, so many times."""

    folder: Path
    deaths: int

    def owing(self) -> Owing:
        pieces = (Piece("train", "deadly"), Piece("train", "harmless"))
        return Owing(0, tuple(piece for piece in pieces if not (self.folder / piece.run).exists()))

    def ready(self, piece: Piece) -> bool:
        return True

    def need(self, piece: Piece, threads: int) -> Need:
        return Need()

    def carry_out(self, piece: Piece, seat: Seat, report: Report) -> None:
        before = len(list(self.folder.glob("death*")))
        if piece.run == "deadly" and before < self.deaths:
            (self.folder / f"death{before}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        (self.folder / piece.run).touch()


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are processes of their own and find ``Deadly`` by this file's module name."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3]))


def test_a_worker_that_dies_costs_its_piece_which_is_tried_again(tmp_path: Path) -> None:
    told: list[Event] = []
    assert LocalEngine(2, 1).carry_out(Deadly(tmp_path, 1), told.append) == {}
    assert (tmp_path / "deadly").exists()
    assert (tmp_path / "harmless").exists()
    notices = [event.data["notice"] for event in told if "notice" in event.data]
    assert notices == ["a worker was lost (exit code -9): 'train deadly 0' is tried again"]


def test_a_piece_that_kills_every_worker_is_given_up_and_the_others_are_done(tmp_path: Path) -> None:
    given_up = LocalEngine(1, 1).carry_out(Deadly(tmp_path, 99), lambda event: None)
    assert list(given_up) == ["train deadly 0"]
    assert f"died {DEATHS} times (exit code -9)" in str(given_up["train deadly 0"])
    assert (tmp_path / "harmless").exists()


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
    engine = chosen("--workers", "3", "--threads", "2", "--processes", "4", "--gpus", "0.25")
    assert (engine.workers, engine.threads, engine.processes, engine.gpus) == (3, 2, 4, 0.25)
    alone = chosen("--threads", "64")
    assert (alone.workers, alone.threads) == (1, 64)


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
    assert "14 done, 0 owed" in second
