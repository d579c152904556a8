"""Without these a run that was killed would end with other losses than one left alone, or with spoilt checkpoints."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from onset.data import tokenizer as tokenizers
from onset.data.mixture import Mixture
from onset.data.shards import Shard
from onset.data.tokenizer import Tokenizer
from onset.errors import OnsetError
from onset.models import files
from onset.models import transformer as models
from onset.models.transformer import Decoder
from onset.store.rundir import RunDir
from onset.study.spec import Run, Schedule, Shape, TokenizerSpec
from onset.train import checkpoint
from onset.train import precision as arithmetic
from onset.train.step import Outcome, Stepper
from onset.train.trainer import Job, Progress, train

SHAPE = Shape(layers=2, width=32, heads=4, kv_heads=2, hidden=48, context=16)
RUN = Run(name="r", shape=SHAPE, tokens=16 * 4 * 24, batch=4, checkpoints=(64, 64 * 5, 64 * 12, 64 * 18), seed=3)
STEPS = [1, 5, 12, 18, 24]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return tokenizers.train(["some words of a small corpus"] * 10, TokenizerSpec(vocab=262))


@pytest.fixture
def job(tokenizer: Tokenizer, tmp_path: Path) -> Callable[..., Job]:
    """Makes the job of a run in a directory of that name."""

    def make(name: str, run: Run = RUN, **settings: Any) -> Job:
        ids = np.random.default_rng(0).integers(1, 20, 3000).astype(np.uint16)
        mixture = Mixture([Shard(Path("nowhere"), 3000, 1, 3000, 0, ids)], [1.0], 16, run.batch, run.seed)
        rundir = RunDir(tmp_path / "runs" / name)
        rundir.create({"digest": "x"})
        return Job(run, tokenizer.vocab, mixture, tokenizer, rundir, **settings)

    return make


def stop_after(steps: int) -> Callable[[], bool]:
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > steps

    return stop


def log(job: Job) -> list[dict[str, float]]:
    """The log without what depends on the clock."""
    lines = [json.loads(line) for line in job.rundir.log_path.read_text(encoding="utf-8").splitlines()]
    return [{k: v for k, v in line.items() if k not in ("time", "tokens_per_second")} for line in lines]


def weights(job: Job) -> dict[int, bytes]:
    return {step: (job.rundir.checkpoint(step) / "model.safetensors").read_bytes() for step in job.rundir.steps()}


def assert_same(one: Job, two: Job) -> None:
    assert one.rundir.done
    assert two.rundir.done
    assert log(one) == log(two)
    assert weights(one) == weights(two)


def test_a_run_writes_its_declared_checkpoints_log_and_end(job: Callable[..., Job]) -> None:
    seen: list[Progress] = []
    shown: dict[int, torch.Tensor] = {}
    whole = job("a")
    assert train(whole, on_progress=seen.append, on_checkpoint=lambda s, m: shown.update({s: m.embedding.clone()}))
    assert whole.rundir.steps() == STEPS == list(shown)
    lines = log(whole)
    assert [line["step"] for line in lines] == list(range(1, 25)) == [here.step for here in seen]
    assert set(lines[0]) == {"step", "tokens", "loss", "rate", "grad_norm"}
    assert lines[-1]["tokens"] == RUN.tokens
    assert lines[-1]["loss"] < lines[0]["loss"] - 1
    for step in STEPS:
        assert torch.equal(models.load(whole.rundir.checkpoint(step)).embedding, shown[step])
        assert checkpoint.fault(whole.rundir.checkpoint(step)) is None
    assert checkpoint.states(whole.rundir) == []
    assert train(whole, on_checkpoint=lambda s, m: pytest.fail("a run that is done is not trained again"))


SETTINGS: list[dict[str, Any]] = [{}, {"precision": "float32"}, {"precision": "bfloat16"}, {"threads": 2}]


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_resumed_run_equals_one_left_alone_bitwise(job: Callable[..., Job], settings: dict[str, Any]) -> None:
    alone, stopped = job("a", **settings), job("b", **settings)
    assert train(alone)
    shown: list[int] = []
    for steps in (0, 3, 5, 1, 9, 100):
        train(stopped, should_stop=stop_after(steps), on_checkpoint=lambda step, model: shown.append(step))
    assert_same(alone, stopped)
    assert set(shown) == set(STEPS)


def test_it_is_so_without_kernels_too(job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONSET_CPU_KERNELS", "0")
    assert arithmetic.choose(RUN, 262, precision="auto", threads=1, device="cpu").engine == "torch"
    alone, stopped, told = job("a"), job("b"), []
    assert train(alone, on_notice=told.append)
    assert told == ["ONSET_CPU_KERNELS=0: training takes torch, about three times as long"]
    for steps in (7, 6, 100):
        train(stopped, should_stop=stop_after(steps))
    assert_same(alone, stopped)


@pytest.mark.parametrize(
    "damage", ["state cut", "state gone", "checkpoint cut", "checkpoint edited", "early checkpoint"]
)
def test_damage_is_named_and_what_is_whole_is_used(job: Callable[..., Job], damage: str) -> None:
    alone, hurt = job("a"), job("b")
    assert train(alone)
    train(hurt, should_stop=stop_after(18))
    assert checkpoint.states(hurt.rundir) == [12, 18]
    state = checkpoint.state_folder(hurt.rundir, 18)
    newest = hurt.rundir.checkpoint(18)
    first = 12
    if damage == "state cut":
        file = state / "state.safetensors"
        file.write_bytes(file.read_bytes()[:-50])
    elif damage == "state gone":
        (state / "state.json").unlink()
    elif damage == "checkpoint cut":
        (newest / "model.safetensors").write_bytes(b"")
        first = 18
    elif damage == "checkpoint edited":
        (newest / "config.json").write_text("{}", encoding="utf-8")
        first = 18
    else:
        (hurt.rundir.checkpoint(5) / "model.safetensors").unlink()
        first = 0
    notices: list[str] = []
    shown: list[int] = []
    assert train(hurt, on_notice=notices.append, on_checkpoint=lambda step, model: shown.append(step))
    assert len(notices) == 1
    assert "damaged" in notices[0]
    assert "b" in notices[0]
    assert shown[0] == (first or 1)
    assert_same(alone, hurt)


def test_damage_after_the_end_is_mended(job: Callable[..., Job]) -> None:
    alone, hurt = job("a"), job("b")
    assert train(alone)
    assert train(hurt)
    (hurt.rundir.checkpoint(24) / "model.safetensors").write_bytes(b"short")
    notices: list[str] = []
    assert train(hurt, on_notice=notices.append)
    assert len(notices) == 1
    assert_same(alone, hurt)


def test_a_torn_or_longer_log_is_cut_back(job: Callable[..., Job]) -> None:
    alone, torn = job("a"), job("b")
    assert train(alone)
    train(torn, should_stop=stop_after(15))
    with open(torn.rundir.log_path, "a", encoding="utf-8") as stream:
        stream.write('{"step": 16, "lo')
    assert train(torn)
    assert_same(alone, torn)


def test_a_loss_that_is_not_finite_gives_the_run_up(job: Callable[..., Job]) -> None:
    run = RUN.model_copy(update={"schedule": Schedule(peak_rate=1e30, warmup=0.0)})
    broken = job("a", run)
    with pytest.raises(OnsetError, match="was given up") as caught:
        train(broken)
    assert "peak_rate" in str(caught.value)
    assert "nan" in str(broken.rundir.failed) or "inf" in str(broken.rundir.failed)
    assert not broken.rundir.done
    for step in broken.rundir.steps():
        assert all(torch.isfinite(p).all() for p in models.load(broken.rundir.checkpoint(step)).parameters())


def break_batches(monkeypatch: pytest.MonkeyPatch, steps: set[int]) -> None:
    """Let the loss be not a number at those steps (1 is the first)."""
    real, seen = Stepper.step, 0

    def step(self: Stepper, inputs: torch.Tensor, targets: torch.Tensor, rate: float) -> Outcome:
        nonlocal seen
        seen += 1
        return Outcome(float("nan"), 1.0) if seen in steps else real(self, inputs, targets, rate)

    monkeypatch.setattr(Stepper, "step", step)


def test_a_batch_that_breaks_the_run_is_left_out_counted_and_told(
    job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, told = job("a", RUN.model_copy(update={"skip": 2})), []
    break_batches(monkeypatch, {7, 14})
    assert train(one, on_notice=told.append)
    assert [line["step"] for line in log(one) if line.get("skipped")] == [7, 14]
    assert json.loads(one.rundir.done_path.read_text(encoding="utf-8"))["skipped"] == [7, 14]
    assert "2 of at most 2" in told[1]


def test_no_more_batches_are_left_out_than_allowed_over_a_resume_too(
    job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = job("a", RUN.model_copy(update={"skip": 1}))
    break_batches(monkeypatch, {7, 14})
    assert not train(one, should_stop=stop_after(13))
    with pytest.raises(OnsetError, match="after 1 batches that were left out"):
        train(one)
    assert one.rundir.failed is not None


def test_a_file_put_into_a_checkpoint_by_hand_is_noticed(job: Callable[..., Job]) -> None:
    one, told = job("a"), []
    train(one, should_stop=stop_after(13))
    (one.rundir.checkpoint(5) / "pytorch_model.bin").write_bytes(b"other weights")
    train(one, on_notice=told.append)
    assert any("pytorch_model.bin" in line for line in told)
    assert one.rundir.done


def test_a_full_disk_is_said_and_the_run_goes_on_later(
    job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, stopped = job("a"), job("b")
    assert train(alone)

    def full(model: Decoder, tokenizer: Tokenizer, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    train(stopped, should_stop=stop_after(10))
    with monkeypatch.context() as patch:
        patch.setattr(files, "save", full)
        with pytest.raises(OnsetError, match="No space left") as caught:
            train(stopped)
    assert "resumes" in str(caught.value)
    assert stopped.rundir.steps() == [1, 5]
    assert train(stopped)
    assert_same(alone, stopped)


def test_other_arithmetic_is_told(job: Callable[..., Job]) -> None:
    """Bitwise equality is promised for the same arithmetic only: a user must hear where it ends."""
    half = job("a", threads=1)
    train(half, should_stop=stop_after(14))
    notices: list[str] = []
    assert train(job("a", threads=2), on_notice=notices.append)
    assert any("rounding" in notice for notice in notices)


def test_precision_is_as_said(job: Callable[..., Job]) -> None:
    for precision, bfloat16 in (("float32", False), ("bfloat16", True)):
        assert arithmetic.choose(RUN, 262, precision=precision, threads=1, device="cpu").bfloat16 is bfloat16


def test_a_run_that_is_always_stopped_before_its_checkpoint_makes_progress(job: Callable[..., Job]) -> None:
    """A scheduler that ends every job after a day must not see the same day trained for ever."""
    run = RUN.model_copy(update={"checkpoints": (RUN.tokens,)})
    alone, stopped = job("a", run), job("b", run)
    assert train(alone)
    calls = 0
    while not train(stopped, should_stop=stop_after(5)):
        calls += 1
        assert checkpoint.states(stopped.rundir)[-1] == 5 * calls
    assert calls == 4
    assert_same(alone, stopped)


def test_states_are_written_between_checkpoints_by_the_clock(job: Callable[..., Job]) -> None:
    """A machine that fails without a signal costs minutes, not all since the last declared checkpoint."""
    run = RUN.model_copy(update={"checkpoints": (RUN.tokens,)})
    one, seen = job("a", run, state_seconds=0.0), []
    assert train(one, on_progress=lambda here: seen.append(checkpoint.states(one.rundir)))
    assert seen[10] == [9, 10]
    assert checkpoint.states(one.rundir) == []


def test_how_auto_was_decided_is_recorded(job: Callable[..., Job]) -> None:
    """The digest holds the word 'auto': the records must tell which precision it became."""
    one = job("a")
    assert train(one)
    told = json.loads(one.rundir.done_path.read_text(encoding="utf-8"))["arithmetic"]
    assert told["bfloat16"] is arithmetic.choose(RUN, 262, precision="auto", threads=1, device="cpu").bfloat16


def test_deterministic_algorithms_are_asked_for_and_left_as_before(job: Callable[..., Job]) -> None:
    seen = []
    assert train(
        job("a", deterministic=True), on_progress=lambda here: seen.append(torch.are_deterministic_algorithms_enabled())
    )
    assert all(seen)
    assert not torch.are_deterministic_algorithms_enabled()


def test_torch_threads_are_left_as_they_were(job: Callable[..., Job]) -> None:
    before = torch.get_num_threads()
    train(job("a", threads=2))
    assert torch.get_num_threads() == before


KILLED = """
import signal
import sys
from pathlib import Path
import numpy as np
from onset.data.mixture import Mixture
from onset.data.shards import Shard
from onset.train.step import Outcome, Stepper
from onset.data.tokenizer import Tokenizer
from onset.train.trainer import Job, train
from onset.store.rundir import RunDir
from onset.study.spec import Run
folder, name = Path(sys.argv[1]), sys.argv[2]
run = Run.model_validate_json((folder / "run.json").read_text())
tokenizer = Tokenizer.load(folder / "tokenizer")
ids = np.random.default_rng(0).integers(1, 20, 3000).astype(np.uint16)
mixture = Mixture([Shard(Path("nowhere"), 3000, 1, 3000, 0, ids)], [1.0], 16, run.batch, run.seed)
rundir = RunDir(folder / "runs" / name)
rundir.create({"digest": "x"})
print("ready", flush=True)
came = []
signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
train(Job(run, tokenizer.vocab, mixture, tokenizer, rundir), should_stop=lambda: bool(came))
"""


@pytest.mark.slow
def test_a_run_killed_at_random_moments_equals_one_left_alone(
    tokenizer: Tokenizer, tmp_path: Path, job: Callable[..., Job]
) -> None:
    run = RUN.model_copy(update={"tokens": 64 * 2500, "checkpoints": 60})
    (tmp_path / "run.json").write_text(run.model_dump_json(), encoding="utf-8")
    tokenizer.save(tmp_path / "tokenizer")
    alone, killed = job("a", run), job("b", run)
    began = time.perf_counter()
    assert train(alone)
    took = time.perf_counter() - began
    draw = np.random.default_rng(1)
    kills = 0
    for attempt in range(200):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path), "b"], stdout=subprocess.PIPE, env=dict(os.environ)
        )
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(timeout=float(draw.uniform(0, took / 2)) if attempt < 6 else None)
        except subprocess.TimeoutExpired:
            process.send_signal((signal.SIGKILL, signal.SIGTERM)[attempt % 2])
            process.wait()
            kills += 1
        if killed.rundir.done:
            break
    assert kills >= 3
    assert_same(alone, killed)


@pytest.mark.slow
def test_a_scheduler_that_ends_the_job_every_few_seconds_makes_progress(
    tokenizer: Tokenizer, tmp_path: Path, job: Callable[..., Job]
) -> None:
    """With states at declared checkpoints alone, a job of a day's limit would begin the same day again for ever."""
    run = RUN.model_copy(update={"tokens": 64 * 6000, "checkpoints": (64 * 6000,)})
    (tmp_path / "run.json").write_text(run.model_dump_json(), encoding="utf-8")
    tokenizer.save(tmp_path / "tokenizer")
    alone, ended = job("a", run), job("b", run)
    began = time.perf_counter()
    assert train(alone)
    took = time.perf_counter() - began
    reached = [0]
    for _ in range(40):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path), "b"], stdout=subprocess.PIPE, env=dict(os.environ)
        )
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(timeout=took / 4)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
            assert process.wait() == 0
        if ended.rundir.done:
            break
        reached.append(checkpoint.states(ended.rundir)[-1])
        assert reached[-1] > reached[-2]
    assert len(reached) > 2
    assert_same(alone, ended)
