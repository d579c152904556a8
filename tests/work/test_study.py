"""The path that everything hangs on: all that is owed is done once, and nothing that is done is lost."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from onset.errors import OnsetError
from onset.store.lock import lock_study
from onset.store.parts import read_about, read_part
from onset.study.files import dump, load
from onset.study.shapes import HuggingFaceShape
from onset.study.spec import Study
from onset.work.engines import InlineEngine, LocalEngine
from onset.work.ledger import StudyLedger, dtype_of
from onset.work.resources import Machine
from onset.work.status import rows as status_rows
from onset.work.study import run_study, with_precision


def quiet() -> Console:
    return Console(file=io.StringIO())


def content(out: Path) -> dict[str, object]:
    """All that a study made, by name: weights as bytes, parts as frames' text, logs without their times."""
    found: dict[str, object] = {}
    for path in sorted((out / "runs").rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.suffix == ".safetensors":
            found[name] = path.read_bytes()
        elif path.suffix == ".parquet":
            found[name] = read_part(path).to_csv()
        elif path.name == "log.jsonl":
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            found[name] = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    return found


def test_a_study_ends_whole_and_a_second_call_owes_nothing(small: Study, tmp_path: Path) -> None:
    outcome = run_study(small, tmp_path, console=quiet())
    assert (outcome.pending, outcome.problems) == (0, ())
    place = StudyLedger(small, tmp_path)
    for run in small.runs:
        rundir = place.rundir(run)
        assert rundir.done
        for step in place.steps(run):
            losses = read_part(rundir.loss(step))
            assert set(losses["language"]) == {"en", "zh", "all"}
            assert losses["nats_per_token"].between(0.1, 10).all()
            rows = read_part(rundir.items(step, "world_scripts_en", place.task_digests["world_scripts_en"]))
            assert rows["item"].nunique() == 12
            assert rows.groupby("item")["gold"].sum().eq(1).all()
    before = content(tmp_path)
    again = run_study(small, tmp_path, console=quiet())
    assert again.done == outcome.done
    assert content(tmp_path) == before
    assert {row["state"] for row in status_rows(tmp_path)} == {"trained"}


def test_evaluations_are_in_the_precision_that_the_study_was_begun_with(small: Study, tmp_path: Path) -> None:
    """Curves would be made of float32 and bfloat16 points, or a GPU would be used at a fifteenth of its rate."""
    one = small.model_copy(update={"runs": small.runs[:1], "evaluation_precision": "bfloat16"})
    run_study(one, tmp_path, console=quiet())
    plain, half = StudyLedger(small, tmp_path), StudyLedger(one, tmp_path)
    assert set(plain.task_digests.values()).isdisjoint(half.task_digests.values())
    rundir, step = half.rundir(one.runs[0]), half.steps(one.runs[0])[-1]
    for name, digest in half.task_digests.items():
        assert read_about(rundir.items(step, name, digest))["dtype"] == "bfloat16"
    assert read_about(rundir.loss(step))["dtype"] == "bfloat16"
    before = content(tmp_path)
    unsaid = one.model_copy(update={"evaluation_precision": "auto"})  # goes on as it was begun
    assert run_study(unsaid, tmp_path, console=quiet()).pending == 0
    assert content(tmp_path) == before
    with pytest.raises(OnsetError, match="evaluated in bfloat16, and float32 is asked for"):
        run_study(one.model_copy(update={"evaluation_precision": "float32"}), tmp_path, console=quiet())


def test_a_study_begun_on_gpus_is_evaluated_in_bfloat16(small: Study, tmp_path: Path) -> None:
    ledger = StudyLedger(small, tmp_path)
    for cards, expected in (((), "float32"), ((80 * 10**9,), "bfloat16")):
        engine = LocalEngine(1, 1, machine=Machine(4, 10**10, cards))
        assert dtype_of(with_precision(small, ledger, engine)) == expected
    without = LocalEngine(1, 1, gpus=0, machine=Machine(4, 10**10, (80 * 10**9,)))
    assert dtype_of(with_precision(small, ledger, without)) == "float32"


def test_a_part_that_is_lost_is_owed_again_and_made_the_same(small: Study, tmp_path: Path) -> None:
    run_study(small, tmp_path, console=quiet())
    before = content(tmp_path)
    for lost in ("items/*/world_facts_zh-*.parquet", "loss/*.parquet", "documents/*.parquet"):
        next((tmp_path / "runs").rglob(lost)).unlink()
        assert len(StudyLedger(small, tmp_path).pending(fresh=True).pieces) == 1, lost
        run_study(small, tmp_path, console=quiet())
        assert content(tmp_path) == before, lost


def test_killed_at_random_moments_a_study_ends_like_one_left_alone(small: Study, tmp_path: Path) -> None:
    run_study(small, tmp_path / "alone", console=quiet())
    (tmp_path / "study.toml").write_text(dump(small))
    command = [sys.executable, "-c", "from onset.cli import main; main()", "run", str(tmp_path / "study.toml")]
    command += ["--out", str(tmp_path / "killed")]
    rng = random.Random(1)
    for _ in range(6):
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(rng.uniform(2.0, 9.0))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    run_study(small, tmp_path / "killed", console=quiet())
    assert content(tmp_path / "killed") == content(tmp_path / "alone")


def test_a_loss_that_is_not_finite_stops_its_run_alone_and_is_told(small: Study, tmp_path: Path) -> None:
    wild = small.runs[0].model_copy(
        update={"name": "wild", "schedule": small.runs[0].schedule.model_copy(update={"peak_rate": 1e300})}
    )
    study = small.model_copy(update={"runs": (wild, small.runs[1])})
    outcome = run_study(study, tmp_path, console=quiet())
    assert any("wild" in problem and "became nan" in problem for problem in outcome.problems)
    place = StudyLedger(study, tmp_path)
    assert place.rundir(study.runs[1]).done
    assert not place.rundir(wild).done
    states = {row["run"]: row["state"] for row in status_rows(tmp_path)}
    assert states == {"wild": "failed", "w24": "trained"}


def test_an_edited_study_gets_new_runs_and_leaves_the_old_untouched(small: Study, tmp_path: Path) -> None:
    run_study(small, tmp_path, console=quiet())
    before = content(tmp_path)
    edited = small.model_copy(update={"runs": (small.runs[0].model_copy(update={"seed": 7}), small.runs[1])})
    run_study(edited, tmp_path, console=quiet())
    after = content(tmp_path)
    assert {name: after[name] for name in before} == before
    assert len(list((tmp_path / "runs").glob("w16-*"))) == 2


def test_an_architecture_of_ones_own_is_trained_and_scored(small: Study, tmp_path: Path) -> None:
    """Its code is the study's own: no one has to allow it for every checkpoint."""
    shutil.copy(Path(__file__).parents[2] / "examples" / "own_architecture.py", tmp_path / "mine.py")
    kind = {"kind": "huggingface", "model_type": "mine.py:GatedConvForCausalLM", "context": 128}
    shape = HuggingFaceShape.model_validate(kind | {"hidden_size": 16, "num_hidden_layers": 1})
    run = small.runs[0].model_copy(update={"shape": shape, "tokens": 8_000, "checkpoints": 1})
    (tmp_path / "study.toml").write_text(dump(small.model_copy(update={"runs": (run,), "tasks": small.tasks[:1]})))
    outcome = run_study(load(tmp_path / "study.toml"), tmp_path / "out", engine=InlineEngine(), console=quiet())
    assert not outcome.problems
    (folder,) = (tmp_path / "out" / "runs").iterdir()
    assert len(list(folder.glob("items/*/*.parquet"))) == len(list(folder.glob("loss/*.parquet"))) == 1


def test_a_second_process_on_the_same_study_is_refused_by_name(small: Study, tmp_path: Path) -> None:
    told = f"another process .*{os.getpid()}.* is working on this study"
    with lock_study(tmp_path), pytest.raises(OnsetError, match=told):
        run_study(small, tmp_path, console=quiet())
    with lock_study(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_is_told_before_any_work(small: Study, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OnsetError, match="cannot write to the study's folder"):
        run_study(small, tmp_path / "file" / "out", console=quiet())


def test_an_unknown_task_is_told_before_any_work(small: Study, tmp_path: Path) -> None:
    study = small.model_copy(update={"tasks": (small.tasks[0].model_copy(update={"name": "world_script_en"}),)})
    with pytest.raises(OnsetError) as caught:
        run_study(study, tmp_path, console=quiet())
    assert "world_scripts_en" in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_a_checkpoint_cut_short_is_noticed_and_made_again(small: Study, tmp_path: Path) -> None:
    run_study(small, tmp_path, console=quiet())
    before = content(tmp_path)
    place = StudyLedger(small, tmp_path)
    rundir = place.rundir(small.runs[0])
    step = rundir.steps()[-1]
    weights = rundir.checkpoint(step) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    next((tmp_path / "runs").glob(f"w16-*/items/*{step}/world_facts_zh-*.parquet")).unlink()
    console = quiet()
    assert run_study(small, tmp_path, console=console).pending == 0
    assert "model.safetensors is not what was written" in console.file.getvalue()  # type: ignore[attr-defined]
    after = {name: value for name, value in content(tmp_path).items() if ".damaged" not in name}
    assert after == before
