"""Without these a run on several processes would end elsewhere than on one, or leave what one process cannot read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from onset.errors import OnsetError
from onset.models import transformer as models
from onset.store.rundir import RunDir
from onset.train import checkpoint
from onset.train.parallel import Mesh, joined

TEAM = """
import sys
from dataclasses import replace
from pathlib import Path
import numpy as np, torch
from onset.data import tokenizer as tokenizers
from onset.train.parallel import Mesh, joined
from onset.data.mixture import Mixture
from onset.data.shards import Shard
from onset.train.trainer import Job, train
from onset.store.rundir import RunDir
from onset.study.spec import Run, Shape, TokenizerSpec

shape = Shape(layers=2, width=32, heads=4, kv_heads=2, hidden=48, context=16)
run = Run(name="r", shape=shape, tokens=16 * 5 * 24, batch=5, checkpoints=(80, 80 * 5, 80 * 12, 80 * 18), seed=3)
tokenizer = tokenizers.train(["some words of a small corpus"] * 10, TokenizerSpec(vocab=262))

def job(name, start=None):
    ids = np.random.default_rng(0).integers(1, 20, 3000).astype(np.uint16)
    mixture = Mixture([Shard(Path("nowhere"), 3000, 1, 3000, 0, ids)], [1.0], 16, run.batch, run.seed)
    rundir = RunDir(Path(sys.argv[1]) / "runs" / name)
    rundir.create({"digest": "x"})
    return Job(run, tokenizer.vocab, mixture, tokenizer, rundir, precision="float32", start=start)

def after(steps):
    asked = iter(range(steps))
    return lambda: next(asked, None) is None

def alone(name, **settings):
    if mesh.leads:
        train(job(name), **settings)
    mesh.told(None)

torch.set_num_threads(1)
with joined("cpu") as mesh:
    alone("one")
    train(job("two"), mesh)
    alone("mixed", should_stop=after(7))  # one process, then two, then one
    train(job("mixed"), mesh, should_stop=after(9) if mesh.rank == 1 else None)
    alone("mixed")
    train(replace(job("again"), state_seconds=0.0), mesh, should_stop=after(8))
    train(job("again"), mesh)
    begun = RunDir(Path(sys.argv[1]) / "runs" / "one").checkpoint(24)
    if mesh.leads:
        train(job("tuned_one", begun))
    mesh.told(None)
    train(job("tuned_two", begun), mesh)
    if mesh.size == 4:
        train(job("hybrid"), replace(mesh, per_host=2))
"""


COMPILED = """
from dataclasses import replace
import torch
from onset.study.spec import Run, Shape
from onset.train import parallel
from onset.train.parallel import ShardedStepper, joined
from onset.train.precision import choose

parallel.COMPILER = "aot_eager"  # torch's graphs and their gradients without a C++ compiler's minutes
shape = Shape(layers=2, width=32, heads=4, kv_heads=2, hidden=48, context=16)
run = Run(name="r", shape=shape, tokens=16 * 4 * 24, batch=4, seed=3)
ids = torch.randint(0, 90, (4, 17), generator=torch.Generator().manual_seed(0))
torch.set_num_threads(1)
with joined("cpu") as mesh:
    how = choose(run, 90, precision="float32", threads=1, device="cpu", processes=2)
    mine = ids[mesh.rows(4).start : mesh.rows(4).stop]
    found = []
    for engine in ("torch", "compiled"):
        stepper = ShardedStepper(run, 90, replace(how, engine=engine), mesh)
        found.append([stepper.step(mine[:, :-1], mine[:, 1:], 3e-3).loss for _ in range(5)])
    compiled = [layer for layer in stepper.model.layers() if layer._compiled_call_impl is not None]
    assert len(compiled) == 2, compiled
    assert torch.allclose(*map(torch.tensor, found), rtol=1e-4), found
    assert found[0][-1] < found[0][0], found
"""


def torchrun(folder: Path, script: str, *arguments: str, processes: int = 2) -> None:
    (folder / "script.py").write_text(script, encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=1", f"--nproc-per-node={processes}"]
    command += ["--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", "--local-addr=127.0.0.1"]
    command += [str(folder / "script.py"), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def losses(folder: Path, name: str) -> list[float]:
    lines = (folder / "runs" / name / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["loss"] for line in lines]


@pytest.mark.slow
def test_two_processes_train_like_one_and_a_run_may_change_their_number(tmp_path: Path) -> None:
    torchrun(tmp_path, TEAM, str(tmp_path))
    alone = losses(tmp_path, "one")
    assert len(alone) == 24
    for name in ("two", "mixed", "again"):
        assert losses(tmp_path, name) == pytest.approx(alone, abs=2e-6)
        rundir = RunDir(tmp_path / "runs" / name)
        assert rundir.done
        assert rundir.steps() == [1, 5, 12, 18, 24]
        assert all(checkpoint.fault(rundir.checkpoint(step)) is None for step in rundir.steps())
    tuned = losses(tmp_path, "tuned_one")
    assert losses(tmp_path, "tuned_two") == pytest.approx(tuned, abs=2e-6)
    assert tuned[0] < alone[0] - 0.5  # both begin from the trained weights
    assert losses(tmp_path, "again") == losses(tmp_path, "two")  # bitwise: the same number of processes
    last = [RunDir(tmp_path / "runs" / name).checkpoint(24) for name in ("two", "again", "one")]
    assert (last[0] / "model.safetensors").read_bytes() == (last[1] / "model.safetensors").read_bytes()
    whole, shared = models.load(last[2]), models.load(last[0])
    for one, two in zip(whole.parameters(), shared.parameters(), strict=True):
        assert (one - two).abs().max() < 1e-4


@pytest.mark.slow
def test_shards_within_a_host_and_copies_between_hosts_train_like_one(tmp_path: Path) -> None:
    torchrun(tmp_path, TEAM, str(tmp_path), processes=4)
    assert losses(tmp_path, "hybrid") == pytest.approx(losses(tmp_path, "one"), abs=2e-6)
    told = json.loads(RunDir(tmp_path / "runs" / "hybrid").done_path.read_text(encoding="utf-8"))["arithmetic"]
    assert (told["shards"], told["replicas"]) == (2, 2)


@pytest.mark.slow
def test_layers_that_are_compiled_one_by_one_train_like_plain_ones(tmp_path: Path) -> None:
    """GPUs would compute a sharded training at half their rate, or something else than one process does."""
    torchrun(tmp_path, COMPILED)


def test_rows_of_a_batch_are_each_ones_once() -> None:
    for batch, size in ((5, 2), (8, 8), (7, 3)):
        rows = [row for rank in range(size) for row in Mesh(rank, size).rows(batch)]
        assert rows == list(range(batch))


def test_alone_it_says_how_to_start_with_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(OnsetError, match="not started to train together"), joined("cpu"):
        pass
