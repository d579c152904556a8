"""The benchmarks for GPUs go through on a processor, so that a rented GPU does not meet their first mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def rows(folder: Path) -> Path:
    """A few made-up rows of the two tasks."""
    folder.mkdir()
    ends = ["goes home.", "sings.", "sleeps.", "laughs aloud."]
    questions = [
        {"id": f"q{n}", "question": f"What is {n} plus {n}?", "choices": [str(2 * n + k) for k in range(4)],
         "answer": 0, "subject": "algebra"}
        for n in range(12)
    ]  # fmt: skip
    stories = [{"id": f"s{n}", "context": f"The cat of house {n}", "choices": ends, "answer": n % 4} for n in range(6)]
    for name, found in (
        ("mmlu.eval", questions[5:]), ("mmlu.fewshot", questions[:5]), ("hellaswag.eval", stories),
        ("hellaswag.fewshot", stories[:0]),
    ):  # fmt: skip
        lines = "".join(json.dumps(row) + "\n" for row in found)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    return folder


@pytest.mark.slow
def test_it_goes_through_on_a_processor(tmp_path: Path) -> None:
    """Lost otherwise: an hour of a GPU, to an argument that was renamed."""
    command = [
        sys.executable, str(ROOT / "benchmarks" / "gpu_scoring.py"), "--data", str(rows(tmp_path / "rows")),
        "--device", "cpu", "--tiny", "--items", "2", "--out", str(tmp_path / "table.md"),
    ]  # fmt: skip
    settings = {name: value for name, value in os.environ.items() if name != "ONSET_PEERS"} | {"OMP_NUM_THREADS": "1"}
    ran = subprocess.run(command, env=settings, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    table = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "| mmlu | onset, scoring |" in table
    assert "| hellaswag | onset, scoring |" in table
    assert "the numbers mean nothing" in table


@pytest.mark.slow
def test_training_goes_through_on_a_processor(tmp_path: Path) -> None:
    command = [
        sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--device", "cpu", "--sizes", "tiny", "--rounds", "1",
        "--out", str(tmp_path / "table.md"),
    ]  # fmt: skip
    ran = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    table = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "| tiny | 125,248 |" in table
    assert "killed 2 times and resumed: equal to the last bit to one left alone" in table
    assert "the numbers mean nothing" in table
