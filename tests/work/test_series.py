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

from onset import compare
from onset.cli import app
from onset.data.tokenizer import train
from onset.errors import OnsetError
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


def test_tasks_and_metrics_of_ones_own_go_from_eval_to_the_table(series: list[str], tmp_path: Path) -> None:
    """Lost otherwise: one's own task is scored, and its language or metric is lost on the way to the analysis."""
    examples = Path(__file__).parents[2] / "examples"
    text = tmp_path / "valid.txt"
    text.write_text("What is 3 plus 4? It is 7. " * 20, encoding="utf-8")
    out = tmp_path / "out"
    tokens = ("--tokens-per-step", TOKENS_PER_STEP, "--out", out)
    asked = ("--tasks", f"{examples / 'own_task' / 'capitals.toml'},modular_arithmetic", "--limit", LIMIT)
    metrics = ("--metrics", f"accuracy_per_byte,{examples / 'own_metric.py'}:margin")
    printed = onset("eval", *series, *asked, *metrics, *tokens)
    assert {"margin", "accuracy_per_byte", "accuracy"} <= set(printed.split())
    onset("loss", *series, "--text", f"en:{text}", *tokens)
    obs = read(out)
    assert set(obs["language"][obs["task"] == "capitals"]) == {"en"}
    assert {"margin", "accuracy_per_byte", "accuracy", "brier"} == set(obs["metric"]) - {
        "correct_choice_prob", "choice_log_loss", "gold_bits_per_byte",
    }  # fmt: skip
    _compared(out)
    (out / "metrics.json").write_text('["no_such_metric"]')
    with pytest.raises(OnsetError, match="no metric is called 'no_such_metric'"):
        read(out)


def _compared(out: Path) -> None:
    """Two checkpoints of the folder against each other, by the command and in Python."""
    (run,) = (out / "runs").iterdir()
    printed = json.loads(onset("compare", f"{run}@100", f"{run}@300", "--out", out / "c", "--json"))
    assert printed == json.loads((out / "c" / "comparison.json").read_text())
    found = compare(f"{run}@100", f"{run}@300")
    assert found.to_json() == printed
    rows = found.rows.set_index(["task", "metric"])
    obs = read(out).set_index(["task", "metric", "tokens"])["score"]
    for key in (("modular_arithmetic", "accuracy"), ("capitals", "margin")):
        early, late = (obs[(*key, step * TOKENS_PER_STEP)] for step in (100, 300))
        assert rows.loc[key, "difference"] == pytest.approx(late - early)
    flips = pd.read_csv(out / "c" / "flips.csv")
    flipped = rows["gained"].fillna(0) + rows["lost"].fillna(0)
    assert len(flips) == flipped.sum()
    with pytest.raises(OnsetError, match="no item rows at step 200"):
        compare(f"{run}@100", f"{run}@200")
    with pytest.raises(OnsetError, match="is named twice"):
        compare(run, f"{run}@300")
