"""What scoring holds in memory is bounded: a large vocabulary, long prompts and many items together fit a laptop."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from onset.data.tokenizer import train
from onset.study.spec import TokenizerSpec

VOCAB, PROMPT, CHOICES = 8000, 2000, 2
"""Entries, tokens, and answers of an item."""
SCRIPT = """
import io, json, resource, sys, torch
from pathlib import Path
from rich.console import Console
from onset.score import requests as prefixes
from onset.work.jobs.foreign import ModelsLedger
from onset.work.models import evaluate_models
from onset.work.names import subjects
torch.set_num_threads(1)
model, data, out = map(Path, sys.argv[1:])
bench = ModelsLedger(subjects([str(model)], out), ("hellaswag",), data=data)
done, problems = evaluate_models(bench, 1, Console(file=io.StringIO()))
assert (done, problems) == (1, []), problems
print(json.dumps({"kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))
"""


def peak_gb(folder: Path, items: int, llama_folder: Callable[..., Path]) -> float:
    """Peak memory, in GB, of a process that scores so many items whose prompts have nothing in common."""
    draw = random.Random(5)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=5)) for _ in range(7500)]
    tokenizer = train([" ".join(draw.choices(words, k=500)) for _ in range(300)], TokenizerSpec(vocab=VOCAB))
    model = llama_folder(folder / "model", tokenizer, context=PROMPT + 128)
    (folder / "data").mkdir()
    each = len(tokenizer.encode(" ".join(words))) / len(words)
    with open(folder / "data" / "hellaswag.eval.jsonl", "w", encoding="utf-8") as file:
        for item in range(items):
            text, *ends = (" ".join(draw.choices(words, k=count)) for count in (int(PROMPT / each), *[4] * CHOICES))
            row = {"id": str(item), "context": text, "choices": ends, "answer": item % CHOICES}
            file.write(json.dumps(row) + "\n")
    command = [sys.executable, "-c", SCRIPT, str(model), str(folder / "data"), str(folder / "out")]
    ran = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert len(tokenizer.encode(text)) == pytest.approx(PROMPT, rel=0.05)
    return float(json.loads(ran.stdout)["kib"]) * 1024 / 1e9


@pytest.mark.slow
def test_ten_thousand_long_prompts_stay_below_three_gigabytes(
    tmp_path: Path, llama_folder: Callable[..., Path]
) -> None:
    """Lost otherwise: an evaluation that runs for hours, and then is killed for its memory."""
    assert peak_gb(tmp_path, 10_000, llama_folder) < 3
