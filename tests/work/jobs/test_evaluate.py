"""An evaluation that is killed, again and again, ends with the rows of one that was left in peace."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from onset.data.tokenizer import train
from onset.models.files import save
from onset.models.transformer import Decoder
from onset.store.parts import read_about, read_part
from onset.study.spec import Shape, TokenizerSpec
from onset.tasks.catalogue import find
from onset.tasks.chunks import chunks
from onset.work.jobs.evaluate import told_of

TASKS = ("modular_arithmetic", "addition_2digit")
CHARACTERS = 500
SCRIPT = """
import io, sys, torch
import onset.tasks.chunks
from pathlib import Path
from rich.console import Console
from onset.work.jobs.foreign import ModelsLedger
from onset.work.models import evaluate_models
from onset.work.names import subjects
torch.set_num_threads(1)
onset.tasks.chunks.CHARACTERS = {characters}
bench = ModelsLedger(subjects([{model!r}], Path({out!r})), {tasks!r}, limit={limit})
done, problems = evaluate_models(bench, 1, Console(file=io.StringIO()))
assert (done, problems) == (1, []), problems
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small untrained decoder that knows digits."""
    text = [task.requests()[0].prompt * 20 for task in find(TASKS)]
    tokenizer = train(text, TokenizerSpec(vocab=280))
    shape = Shape(layers=2, width=64, heads=2, kv_heads=1, hidden=128, context=256)
    save(Decoder(shape, tokenizer.vocab, seed=1), tokenizer, tmp_path / "model")
    return tmp_path / "model"


def start(model: Path, out: Path, limit: int) -> subprocess.Popen[bytes]:
    script = SCRIPT.format(characters=CHARACTERS, model=str(model), out=str(out), tasks=TASKS, limit=limit)
    return subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "OMP_NUM_THREADS": "1"})


def kill_when_further(process: subprocess.Popen[bytes], out: Path, further: int) -> bool:
    """Kill a process once it has written so many files more; says whether it was caught in the act."""
    names = set(out.rglob("*.parquet"))
    until = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < until:
        if len(set(out.rglob("*.parquet")) - names) >= further:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.002)
    return process.wait() == -signal.SIGKILL


def rows(out: Path) -> pd.DataFrame:
    parts = sorted(out.glob("runs/*/items/*/*.parquet"))
    assert len(parts) == len(TASKS)
    assert not list(out.rglob("*.chunks")), "chunks are tidied away"
    return pd.concat([read_part(part) for part in parts], ignore_index=True)


def disturbed(model: Path, out: Path, limit: int, kills: int, most: int) -> pd.DataFrame:
    draw = random.Random(3)
    caught = sum(kill_when_further(start(model, out, limit), out, draw.randint(1, most)) for _ in range(kills))
    assert caught == kills, "every process was killed while at work"
    assert start(model, out, limit).wait() == 0
    return rows(out)


def test_a_killed_evaluation_goes_on_within_a_task(model: Path, tmp_path: Path) -> None:
    """Lost otherwise: hours of scoring, or rows that differ from an undisturbed run's."""
    assert len(chunks(find(TASKS[:1])[0].with_use(limit=24).requests(), CHARACTERS)) > 2
    found = disturbed(model, tmp_path / "killed", 24, kills=1, most=2)
    assert start(model, tmp_path / "peace", 24).wait() == 0
    pd.testing.assert_frame_equal(found, rows(tmp_path / "peace"), check_exact=True)
    requests = [request for task in find(sorted(TASKS)) for request in task.with_use(limit=24).requests()]
    by_task = found.sort_values("task", kind="stable")
    assert list(zip(by_task["item"], by_task["choice"], strict=True)) == [(r.item, r.choice) for r in requests], (
        "chunks are put back into the order of the task"
    )
    (part,) = (tmp_path / "killed").glob(f"runs/*/items/*/{TASKS[0]}-*.parquet")
    assert read_about(part) == {**told_of(find(TASKS[:1])[0].with_use(limit=24)), "dtype": "float32"}


@pytest.mark.slow
def test_killed_five_times_the_rows_are_those_of_an_undisturbed_run(model: Path, tmp_path: Path) -> None:
    """Lost otherwise: trust in any evaluation on a machine that is taken away now and then."""
    found = disturbed(model, tmp_path / "killed", 120, kills=5, most=4)
    assert start(model, tmp_path / "peace", 120).wait() == 0
    pd.testing.assert_frame_equal(found, rows(tmp_path / "peace"), check_exact=True)
