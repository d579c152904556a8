"""A study kept in a store: without these, machines that share no folder would lose or mix each other's work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from onset.errors import OnsetError
from onset.store.parts import read_part
from onset.study.files import dump
from onset.study.spec import Study
from onset.work import sync as stored
from onset.work.engines import InlineEngine
from onset.work.status import rows as status_rows
from onset.work.study import kept, run_study

pytest.importorskip("fsspec", reason="fsspec is not installed")


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store in ``tmp_path / 'store'`` that is reached through fsspec alone, and a machine with a scratch folder."""
    on_machine("one", tmp_path, monkeypatch)
    return f"local://{tmp_path / 'store'}"


def on_machine(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on this process is another machine: its copies lie elsewhere."""
    monkeypatch.setenv("ONSET_SCRATCH", str(folder / f"scratch-{name}"))


def done(study: Study, out: str | Path) -> int:
    outcome = run_study(study, out, engine=InlineEngine(), console=Console(quiet=True))
    assert outcome.pending == 0, outcome.problems
    return outcome.done


def content(out: Path) -> dict[str, object]:
    """Weights as bytes and rows as text, by name."""
    found: dict[str, object] = {}
    for path in sorted((out / "runs").rglob("*")):
        if path.suffix == ".safetensors":
            found[path.relative_to(out).as_posix()] = path.read_bytes()
        elif path.suffix == ".parquet":
            found[path.relative_to(out).as_posix()] = read_part(path).to_csv()
    return found


def test_a_study_in_a_store_is_that_of_a_folder_and_another_machine_goes_on_with_it(
    small: Study, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert done(small, url) == done(small, tmp_path / "folder")
    store = tmp_path / "store"
    assert content(store) == content(tmp_path / "folder")
    assert not list(store.rglob("resume")), "a run that is done needs no state"

    on_machine("two", tmp_path, monkeypatch)
    rows = next(store.glob("runs/w16-*/items/00000005/world_scripts_en-*.parquet"))
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*.safetensors")}
    rows.unlink()
    assert [row["evaluated"] for row in status_rows(kept(url, logs=True))] == [2, 3]
    done(small, url)
    assert content(store) == content(tmp_path / "folder")
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*.safetensors")} == before, "trained again"
    weights = [path.parent.name for path in (tmp_path / "scratch-two").rglob("model.safetensors")]
    assert weights == ["00000005"], "only the weights that were asked are fetched"
    assert all(row["last_loss"] for row in status_rows(kept(url, logs=True)))


def test_a_checkpoint_that_is_damaged_in_the_store_is_made_again_and_never_scored(
    small: Study, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = small.model_copy(update={"runs": small.runs[:1]})
    done(study, url)
    store = tmp_path / "store"
    whole = content(store)
    weights = next(store.glob("runs/w16-*/steps/00000005/model.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-8] + b"damaged!")
    next(store.glob("runs/w16-*/loss/00000005.parquet")).unlink()
    on_machine("two", tmp_path, monkeypatch)
    done(study, url)
    assert content(store) == whole


def test_two_commands_do_not_work_on_one_study_but_one_that_died_does_not_hold_it(
    small: Study, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = stored.StoredLedger(small, url)
    with first.held():
        on_machine("two", tmp_path, monkeypatch)
        with pytest.raises(OnsetError, match="another command is working on this study"):
            run_study(small, url, console=Console(quiet=True))
        lease = tmp_path / "store" / stored.LEASE
        old = json.loads(lease.read_text()) | {"time": time.time() - 2 * stored.LEASE_SECONDS}
        lease.write_text(json.dumps(old))
        with stored.StoredLedger(small, url).held():
            assert json.loads(lease.read_text())["id"] != old["id"]
    assert not lease.exists()


def test_a_store_without_a_study_says_so(url: str) -> None:
    with pytest.raises(OnsetError, match="no study here"):
        kept(url)


@pytest.mark.slow
def test_killed_in_a_training_another_machine_goes_on_from_what_was_sent(
    small: Study, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lost: a machine that dies costs more than what it had not sent, or the run ends with other weights."""
    runs = tuple(run.model_copy(update={"tokens": 2_000_000, "checkpoints": 8}) for run in small.runs[:1])
    study = small.model_copy(update={"runs": runs})
    (tmp_path / "study.toml").write_text(dump(study))
    quick = "import onset.work.sync as stored; stored.LOOK_SECONDS = 0.2; from onset.cli import main; main()"
    command = [sys.executable, "-c", quick, "run", str(tmp_path / "study.toml"), "--out", url, "--threads", "1"]
    process = subprocess.Popen(command, start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    until = time.monotonic() + 120
    while not list(tmp_path.glob("store/runs/w16-*/resume/*/.whole")) and time.monotonic() < until:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not list(tmp_path.glob("store/runs/w16-*/DONE")), "it was killed too late for this test to tell anything"
    state = max(int(path.parent.name) for path in tmp_path.glob("store/runs/w16-*/resume/*/.whole"))
    assert state > 0

    on_machine("two", tmp_path, monkeypatch)
    (tmp_path / "store" / stored.LEASE).unlink()
    one = [sys.executable, "-m", "onset", "run", str(tmp_path / "study.toml"), "--out", url, "--threads", "1"]
    told = subprocess.run(one, check=False, capture_output=True, text=True, timeout=300)
    assert told.returncode == 0, told.stderr
    log = next(tmp_path.glob("store/runs/w16-*/log.jsonl")).read_text().splitlines()
    assert len(log) == len({json.loads(line)["step"] for line in log})
    alone = [*one[:4], str(tmp_path / "study.toml"), "--out", str(tmp_path / "folder"), "--threads", "1"]
    subprocess.run(alone, check=True, capture_output=True, timeout=300)
    assert content(tmp_path / "store") == content(tmp_path / "folder")
