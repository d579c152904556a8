"""A series of somebody's checkpoints, from folders named by step to the page, and by several processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from onset.cli import app
from onset.data.tokenizer import train
from onset.store.parts import read_part
from onset.study.spec import TokenizerSpec
from onset.tables.observations import read
from onset.tasks.catalogue import find

TASKS = ("modular_arithmetic", "addition_1digit")
LIMIT = 6
TOKENS_PER_STEP = 512


@pytest.fixture
def series(tmp_path: Path, llama_folder: Callable[..., Path]) -> list[str]:
    """Two folders of one model at two steps."""
    tokenizer = train([task.requests()[0].prompt * 20 for task in find(TASKS)], TokenizerSpec(vocab=280))
    steps = (100, 300)
    return [str(llama_folder(tmp_path / "models" / f"toy-step{step}", tokenizer, seed=step)) for step in steps]


def onset(*arguments: object) -> str:
    """What a command prints; it must succeed."""
    found = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert found.exit_code == 0, (found.output, found.exception)
    return found.stdout


def test_a_published_series_becomes_a_table_and_a_page(series: list[str], tmp_path: Path) -> None:
    """Lost otherwise: what a stranger with a series of checkpoints comes for, whichever link of the chain breaks."""
    out, text = tmp_path / "out", tmp_path / "valid.txt"
    text.write_text("What is 3 plus 4? It is 7. " * 20, encoding="utf-8")
    tokens = ("--tokens-per-step", TOKENS_PER_STEP, "--out", out)
    onset("eval", *series, "--tasks", ",".join(TASKS), "--limit", LIMIT, *tokens)
    onset("loss", *series, "--text", f"en:{text}", *tokens)
    obs = read(out)
    assert set(obs["task"]) == set(TASKS)
    assert obs["run"].nunique() == 1, "two steps of one run, not two runs"
    assert set(obs["tokens"]) == {100 * TOKENS_PER_STEP, 300 * TOKENS_PER_STEP}
    by_task = obs.groupby("task")["loss"].nunique()
    assert obs["loss"].notna().all(), "each score has the loss of its own checkpoint"
    assert set(by_task) == {2}
    found = json.loads(onset("analyze", out, "--out", out, "--json"))
    assert {row["task"] for row in found["findings"]} == set(TASKS)
    assert not any(row["verdict"] == "emergent" for row in found["findings"]), "two points of noise are no onset"
    page = (out / "report.html").read_text(encoding="utf-8")
    for name in TASKS:
        assert name in page


def _rows(out: Path) -> pd.DataFrame:
    parts = sorted(out.glob("runs/*/items/*/*.parquet"))
    assert len(parts) == 2 * len(TASKS)
    assert not list(out.rglob("*.chunks")), "chunks are tidied away"
    return pd.concat([read_part(part) for part in parts], ignore_index=True)


def test_two_workers_write_the_rows_of_one(series: list[str], tmp_path: Path) -> None:
    """Lost otherwise: either the second processor, or the same numbers however a machine is used."""
    outs = []
    for workers in (1, 2):
        outs.append(tmp_path / f"by{workers}")
        command = [
            sys.executable, "-m", "onset", "eval", *series, "--tasks", ",".join(TASKS), "--limit", str(LIMIT),
            "--out", str(outs[-1]), "--workers", str(workers), "--json",
        ]  # fmt: skip
        ran = subprocess.run(
            command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr[-2000:]
    one, two = map(_rows, outs)
    assert one["logprob"].notna().any()
    pd.testing.assert_frame_equal(one, two, check_exact=True)
