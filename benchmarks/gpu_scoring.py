"""Scoring on a GPU: is it right, how fast is it, and what share of the GPU's matrix rate is that? MMLU and HellaSwag.

    [ONSET_PEERS=PYTHON] python benchmarks/gpu_scoring.py --data FOLDER

A Llama of more than a billion random weights is made on the spot, its tokenizer trained on the tasks' own words (the
rows of ``FOLDER``); nothing is fetched. One call checks and measures everything: that bfloat16 stays near
float32 and shared prefixes near whole rows; then, for MMLU with five shots and HellaSwag without, seconds, items and
tokens per second, share of the measured bfloat16 matrix rate, and peak memory, beside lm-evaluation-harness where
``ONSET_PEERS`` names a Python that has it, or this one has. The table goes to benchmarks/results/gpu_scoring.md.

**No result of this script is recorded yet: it was written where no GPU was at hand.** ``--device cpu --tiny`` goes
through all of it on a small model, and keeps its table only where ``--out`` says.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import torch

from gpu import matrix_rate
from onset.score.causal import CausalLM
from onset.score.huggingface import load
from onset.score.requests import prepare
from onset.score.scorer import Scorer
from onset.tasks.catalogue import catalogue
from onset.tasks.task import Request, Task
from scoring import Cost, harness, harness_task, make_model, samples, shape_of

RESULT = Path(__file__).parent / "results" / "gpu_scoring.md"
TASKS = ("mmlu", "hellaswag")
SHAPES = {"1b": "2048,5632,22,16", "tiny": "32,64,2,4"}
"""Width, hidden, layers, heads. The first has 1.16 billion weights with a vocabulary of 8,000."""
VOCAB = {"1b": 8000, "tiny": 280}
TINY_ITEMS = 8
CHECKED = 64
"""Requests on which the ways of arithmetic are compared."""
NEAR = 0.05
"""Largest mean difference, in nats a token, between two ways in bfloat16: its rounding, not an error of ours."""


@dataclass(frozen=True)
class Speed:
    """One task on one model."""

    task: str
    requests: int
    seconds: float
    asked: int
    """Tokens as they are asked, each prompt counted whole with each of its answers: what a plain way reads."""
    read: int
    """Tokens that we read, what is shared counted once."""
    peak_bytes: int | None


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def score(lm: CausalLM, task: str, requests: Sequence[Request], device: str) -> tuple[Speed, list[float]]:
    """Time all requests of a task after a warm-up on a few; tokens are made within the time."""
    Scorer(lm).score(requests[:8])
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    wait(device)
    began = time.perf_counter()
    found = Scorer(lm).score(requests)
    wait(device)
    took = time.perf_counter() - began
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else None
    rows = prepare(requests, lm.encoder, lm.context, lm.reach)
    whole = prepare(requests, lm.encoder, lm.context, 0)
    speed = Speed(task, len(requests), took, whole.held(), rows.held(), peak)
    return speed, [one.logprob for one in found if one.logprob is not None]


def apart(one: Sequence[float], other: Sequence[float], tokens: int) -> float:
    """Mean difference in nats a token."""
    assert len(one) == len(other), "the same strings on both sides"
    return sum(abs(left - right) for left, right in zip(one, other, strict=True)) / tokens


def check(lm: CausalLM, folder: Path, device: str, requests: Sequence[Request]) -> list[str]:
    """Hold bfloat16 with shared prefixes against bfloat16 row by row, and against float32; stops where they part."""
    found = Scorer(lm).score(requests)
    tokens = sum(one.tokens for one in found)
    ours = [one.logprob for one in found if one.logprob is not None]
    reach, lm.reach = lm.reach, 0
    plain = [one.logprob for one in Scorer(lm).score(requests) if one.logprob is not None]
    lm.reach = reach
    exact = load(folder, dtype="float32", device=device)
    wide = [one.logprob for one in Scorer(exact).score(requests) if one.logprob is not None]
    gaps = {"row by row in bfloat16": apart(ours, plain, tokens), "float32": apart(ours, wide, tokens)}
    for name, gap in gaps.items():
        if not gap < NEAR:
            raise SystemExit(f"wrong: {gap:.3g} nats a token from {name}, more than {NEAR}")
    told = "; ".join(f"from {name} {gap:.1e}" for name, gap in gaps.items())
    return [f"Checked on {len(requests)} requests: mean difference in nats a token {told}."]


def peer() -> str | None:
    """The Python of lm-evaluation-harness, if there is one."""
    return os.environ.get("ONSET_PEERS") or (sys.executable if importlib.util.find_spec("lm_eval") else None)


def beside(
    python: str, model: Path, task: Task, items: int | None, folder: Path, device: str
) -> tuple[Cost, list[float]]:
    """The harness's whole process with its automatic batch size, in bfloat16, and what it found."""
    names = harness_task(folder, task, items)
    batch = "auto" if device == "cuda" else 8
    threads = os.cpu_count() or 1
    cost, out = harness(python, model, names, folder, batch, threads, dtype="bfloat16", device=device)
    return cost, [float(row["filtered_resps"][0][0]) for row in samples(out, names[0])]


def compare(options: argparse.Namespace, data: Path, folder: Path) -> list[str]:
    """Make the model, check it, measure, and tell."""
    device, items = options.device, options.items
    known = catalogue(data=data)
    asked = {name: known[name].with_use(limit=items).requests() for name in TASKS}
    texts = [request.question for name in TASKS for request in known[name].requests()]
    size = "tiny" if options.tiny else "1b"
    model = folder / "llama"
    params = make_model(model, texts, 0, shape_of(SHAPES[size]), dtype=torch.bfloat16, vocab=VOCAB[size])
    rate = matrix_rate(device)
    lm = load(model, dtype="bfloat16", device=device)
    name = torch.cuda.get_device_name() if device == "cuda" else "a processor (the numbers mean nothing)"
    lines = [
        f"## {date.today()}, {name}",
        "",
        f"`benchmarks/gpu_scoring.py`, torch {torch.__version__}. Random Llama of {params / 1e9:.2f} B weights "
        f"({SHAPES[size]}), vocabulary {lm.vocab:,}, bfloat16; {items or 'all'} items a task. "
        f"Measured matrix rate {rate / 1e12:.3g} TFLOP/s.",
        "",
        *check(lm, model, device, [one for name in TASKS for one in asked[name][: CHECKED // 2]]),
        "",
        "| task | | requests | s | tokens asked a second | tokens read a second | share of matrix rate | peak, GB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    inner = params - 2 * lm.vocab * lm.width  # neither embedding is a product for most tokens
    speeds = {}
    for task in TASKS:
        speeds[task] = score(lm, task, asked[task], device)
        one = speeds[task][0]
        peak = "" if one.peak_bytes is None else f"{one.peak_bytes / 1e9:.1f}"
        lines.append(
            f"| {task} | onset, scoring | {one.requests:,} | {one.seconds:.2f} | {one.asked / one.seconds:,.0f} "
            f"| {one.read / one.seconds:,.0f} | {2 * inner * one.read / one.seconds / rate:.0%} | {peak} |"
        )
    lines += [
        "",
        "Share of the matrix rate: two operations for each weight outside the embeddings and each token read;",
    ]
    lines += ["attention and logits are not counted."]
    del lm
    if device == "cuda":
        torch.cuda.empty_cache()
    python = peer()
    if python is None:
        return [*lines, "", "lm-evaluation-harness is absent: set ONSET_PEERS to a Python that has it."]
    lines += ["", "| task | lm_eval run, s, whole process | onset, s, scoring | nats a token apart |"]
    lines += ["|---|---|---|---|"]
    for task in TASKS:
        cost, theirs = beside(python, model, known[task], items, folder, device)
        one, found = speeds[task]
        scored = sum(row.tokens for row in prepare(asked[task], load(model).encoder, 4096, 4096).asked)
        lines.append(
            f"| {task} | {cost.wall:.1f} | {one.seconds:.1f} | {apart(found, theirs[: len(found)], scored):.1e} |"
        )
    return lines


def main() -> None:
    """Parse the options, refuse where nothing can be measured, compare, print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of local task files")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a small model and a few items, to go through the code")
    parser.add_argument("--items", type=int, help="at most so many of each task")
    parser.add_argument("--out", type=Path, help=f"Markdown file that the table is added to (GPU: {RESULT.name})")
    options = parser.parse_args()
    if options.device == "cpu" and not options.tiny:
        parser.error("a billion weights on a processor take hours; --device cpu --tiny goes through the code")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("no GPU here; --device cpu --tiny only goes through the code")
    if options.tiny:
        options.items = options.items or TINY_ITEMS
    with tempfile.TemporaryDirectory() as folder:
        text = "\n".join(compare(options, options.data.resolve(), Path(folder)))
    print(text)
    out = options.out or (RESULT if options.device == "cuda" and not options.tiny else None)
    if out:
        with open(out, "a", encoding="utf-8") as file:
            file.write(f"\n{text}\n")


if __name__ == "__main__":
    main()
