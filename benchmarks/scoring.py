"""Scoring beside lm-evaluation-harness: the same model, the same strings, the same machine, one run.

    ONSET_PEERS=PYTHON python benchmarks/scoring.py --data FOLDER [--tasks mmlu,hellaswag] [--items N]
                       [--checkpoints 1] [--threads 2] [--out FILE]

``PYTHON`` is the interpreter of an environment of its own that holds lm_eval and the same torch and transformers;
``FOLDER`` holds the local task files. A random Llama is made on the spot. Both sides are whole processes, from start
to rows on disk: ``onset eval`` once for all checkpoints, ``lm_eval run`` once a checkpoint, as its users do, with the
batch size that a short trial found fastest. Wall-clock time is what counts on a quiet machine; processor time is
given beside it for machines that are shared. The log-probabilities of all strings are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from onset.cpu.products import Matrix
from onset.data.tokenizer import train
from onset.score.encoding import Encoder
from onset.score.huggingface import load
from onset.score.requests import Row, prepare
from onset.score.scorer import Scorer
from onset.store.parts import read_part
from onset.study.spec import TokenizerSpec
from onset.tasks.catalogue import catalogue
from onset.tasks.task import Request, Task

TWELVE = (
    "triviaqa,hellaswag,race,winogrande,mmlu,gsm8k,nlpcc_kbqa,clozet_proxy,c3,cluewsc,ceval,gsm8k_zh"
)  # fmt: skip
BATCH_SIZES = (1, 8, 32, 128)
TRIAL_STRINGS = 160


@dataclass(frozen=True)
class Cost:
    """What a whole process took, in seconds."""

    wall: float
    processor: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.wall + other.wall, self.processor + other.processor)


def timed(command: Sequence[str], threads: int) -> Cost:
    """Run a process to its end on so many cores; its output is shown only when it fails."""
    settings = {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    cores = sorted(os.sched_getaffinity(0))[:threads]
    done = subprocess.run(
        command, env={**os.environ, **settings}, capture_output=True, text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )  # fmt: skip
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return Cost(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def make_model(
    folder: Path,
    texts: Sequence[str],
    seed: int,
    size: dict[str, int],
    context: int = 4096,
    dtype: torch.dtype = torch.float32,
    vocab: int = 8000,
) -> int:
    """A random Llama with a byte-level tokenizer trained on the tasks' own words; returns its parameters."""
    from transformers import AutoModelForCausalLM, LlamaConfig

    tokenizer = train(texts, TokenizerSpec(vocab=vocab, split_digits=False))
    torch.manual_seed(seed)
    config = LlamaConfig(
        **size, vocab_size=tokenizer.vocab, max_position_embeddings=context, initializer_range=0.06,
        bos_token_id=tokenizer.eos, eos_token_id=tokenizer.eos,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    model.save_pretrained(folder)
    tokenizer.save(folder)
    return int(model.num_parameters())


def shape_of(text: str) -> dict[str, int]:
    """Width, hidden size, layers and heads, joined by commas, under the library's names."""
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    return dict(zip(names, map(int, text.split(",")), strict=True))


def harness_task(folder: Path, task: Task, items: int | None) -> list[str]:
    """The task's requests, string for string, as tasks of the harness; returns their names."""
    asked = task.with_use(limit=items).requests()
    rows = [{"prompt": prompt, "answer": answer} for prompt, answer in strings(asked)]
    names = [_task_file(folder, f"onset_{task.name}", rows, "output_type: loglikelihood", "acc")]
    free = [request for request in asked if request.kind == "generate"]
    if free:
        how = f"output_type: generate_until\ngeneration_kwargs: {json.dumps(_generation(free[0]))}"
        rows = [{"prompt": request.prompt, "answer": request.continuation} for request in free]
        names.append(_task_file(folder, f"onset_{task.name}_free", rows, how, "exact_match"))
    return names


def strings(asked: Sequence[Request]) -> list[tuple[str, str]]:
    """All that is scored: prompts and continuations, and after them the continuations alone where that is asked."""
    scored = [(request.prompt, request.continuation) for request in asked]
    return scored + [(request.uncond, request.continuation) for request in asked if request.uncond is not None]


def _generation(request: Request) -> dict[str, Any]:
    return {"until": list(request.stop), "max_gen_toks": request.max_tokens, "do_sample": False}


def _task_file(folder: Path, name: str, rows: Sequence[dict[str, str]], how: str, metric: str) -> str:
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    (folder / f"{name}.yaml").write_text(
        f"task: {name}\ndataset_path: json\ndataset_kwargs:\n  data_files:\n    test: {data}\ntest_split: test\n{how}\n"
        'doc_to_text: "{{prompt}}"\ndoc_to_target: "{{answer}}"\ntarget_delimiter: ""\n'
        f"metric_list:\n  - metric: {metric}\n    aggregation: mean\n    higher_is_better: true\n",
        encoding="utf-8",
    )
    return name


def harness(
    python: str,
    model: Path,
    names: Sequence[str],
    folder: Path,
    batch: int | str,
    threads: int,
    limit: int | None = None,
    dtype: str = "float32",
    device: str = "cpu",
) -> tuple[Cost, Path]:
    """One whole process of the harness; its samples lie below the returned folder."""
    out = folder / f"out-{model.name}-{batch}-{limit}"
    command = [
        python, "-m", "lm_eval", "run", "--model", "hf", "--model_args", f"pretrained={model},dtype={dtype}",
        "--tasks", ",".join(names), "--include_path", str(folder), "--device", device, "--batch_size", str(batch),
        "--log_samples", "--output_path", str(out),
    ]  # fmt: skip
    return timed(command + (["--limit", str(limit)] if limit else []), threads), out


def best_batch(python: str, model: Path, names: Sequence[str], folder: Path, threads: int) -> int:
    """The batch size with which the harness does a short trial with the least processor time."""
    costs = {}
    for batch in BATCH_SIZES:
        costs[batch] = harness(python, model, names, folder, batch, threads, limit=TRIAL_STRINGS)[0].processor
    return min(costs, key=costs.__getitem__)


def ours(models: Sequence[Path], tasks: Sequence[str], data: Path, items: int | None, out: Path, threads: int) -> Cost:
    """One whole process of onset for all checkpoints."""
    command = [
        str(Path(sys.executable).with_name("onset")), "eval", *map(str, models), "--tasks", ",".join(tasks),
        "--data", str(data), "--out", str(out),
    ]  # fmt: skip
    return timed(command + (["--limit", str(items)] if items else []), threads)


@dataclass
class Agreement:
    """How two sides' numbers agree, over tasks and models."""

    gaps: list[float] = field(default_factory=list)
    """Differences of log-probabilities of the same tokens."""
    spanned: int = 0
    """Strings with a token across the border of prompt and continuation, of which the harness scores only a part."""
    texts: int = 0
    """Free answers that differ."""

    def add(self, asked: Sequence[Request], encoder: Encoder, rows: Path, out: Path, task: str) -> None:
        """Take up a task of a model: our rows, and the harness's samples."""
        frame = read_part(rows)
        found = [*frame["logprob"], *frame["logprob_uncond"].dropna()]
        theirs = [float(row["filtered_resps"][0][0]) for row in samples(out, f"onset_{task}")]
        for (prompt, answer), one, two in zip(strings(asked), found, theirs, strict=True):
            whole, front = encoder.ids([prompt + answer, prompt.rstrip()])
            if whole[: len(front)] == front:
                self.gaps.append(one - two)
            else:
                self.spanned += 1
        texts = [row["filtered_resps"][0] for row in samples(out, f"onset_{task}_free")]
        if texts:
            self.texts += sum(one != two for one, two in zip(frame["text"].dropna(), texts, strict=True))

    def told(self) -> str:
        """In one sentence."""
        worst, beyond = max(map(abs, self.gaps)), sum(abs(gap) > 1e-3 for gap in self.gaps)
        also = f" ({beyond} beyond 1e-3)" if beyond else ""
        if self.spanned:
            also += f", {self.spanned} strings left out, whose continuation begins within a token"
        return (
            f"{len(self.gaps):,} log-probabilities: largest difference {worst:.1e} nats{also}; free answers that "
            f"differ: {self.texts}."
        )


def samples(out: Path, name: str) -> list[dict[str, Any]]:
    """What the harness recorded of a task, document by document."""
    files = sorted(out.rglob(f"samples_{name}_2*.jsonl"))
    if not files:
        return []
    rows = [json.loads(line) for line in files[-1].read_text(encoding="utf-8").splitlines()]
    return sorted(rows, key=lambda row: row["doc_id"])


@dataclass(frozen=True)
class Rate:
    """What one process reaches, start-up left out."""

    scoring: float
    """Operations of products a second while scoring."""
    matrix: float
    """The same of one large product: the machine's rate."""


def rate(model: Path, requests: Sequence[Request], threads: int) -> Rate:
    """Score in this process: two operations a weight and token read, and those of attention to keys that are seen."""
    torch.set_num_threads(threads)
    lm = load(str(model))
    scorer, asked = Scorer(lm), [request for request in requests if request.kind == "score"]
    scorer.score(asked[:8])
    start = time.perf_counter()
    scorer.score(asked)
    took = time.perf_counter() - start
    groups = prepare(asked, lm.encoder, lm.context, lm.reach).groups
    rows = [row for group in groups for row in group.rows]
    read = sum(map(len, rows)) + sum(len(group.prefix) for group in groups)
    logits = sum(len(row.columns) for row in rows)
    seen = sum(_seen(len(group.prefix), group.rows) for group in groups)
    head = lm.vocab * lm.width
    attended = 2 * lm.width * len(lm.model.blocks) * seen  # type: ignore[arg-type]  # read by onset.score.llama
    return Rate(2 * ((lm.params - 2 * head) * read + head * logits + attended) / took, matrix_rate())


def _seen(prefix: int, rows: Sequence[Row]) -> int:
    """Pairs of a query and a key that it sees, over a prefix and the rows that continue it."""
    pairs = prefix * (prefix + 1) // 2
    for row in rows:
        question, *answers = np.bincount(row.branches).tolist()
        pairs += prefix * len(row) + question * (question + 1) // 2
        pairs += sum(answer * question + answer * (answer + 1) // 2 for answer in answers)
    return pairs


def matrix_rate(size: int = 2048, rounds: int = 8) -> float:
    """Operations a second of a large float32 product, the best of some tries and of two libraries' products."""
    left, right = torch.randn(size, size), torch.randn(size, size)
    best = float("inf")
    for product in (Matrix(right, packed=True), Matrix(right, packed=False)):
        for _ in range(rounds):
            start = time.perf_counter()
            product(left)
            best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def compare(options: argparse.Namespace, folder: Path) -> list[str]:
    """Make the models, run both sides, and tell."""
    known = catalogue(data=options.data)
    tasks = options.tasks.split(",")
    texts = [request.question for name in TWELVE.split(",") for request in known[name].requests()]
    models = [folder / f"llama{index}" for index in range(options.checkpoints)]
    size = shape_of(options.shape)
    for seed, model in enumerate(models):
        params = make_model(model, texts, seed, size)
    asked = [request for task in tasks for request in known[task].with_use(limit=options.items).requests()]
    reached = rate(models[0], asked, options.threads)
    cost = ours(models, tasks, options.data, options.items, folder / "ours", options.threads)
    lines = [
        f"### {', '.join(tasks)}; {options.checkpoints} checkpoint(s)",
        "",
        f"Random Llama, {params / 1e6:.1f} M parameters ({options.shape}), vocabulary 8,000, float32, "
        f"{options.threads} thread(s), {options.items or 'all'} items a task.",
        "",
        "| | wall, s | processor, s |",
        "|---|---|---|",
        f"| onset eval | {cost.wall:.1f} | {cost.processor:.1f} |",
    ]
    said = (
        f"Scoring alone, in one process, does {reached.scoring / 1e9:.0f} GFLOP/s in products, "
        f"{reached.scoring / reached.matrix:.0%} of the {reached.matrix / 1e9:.0f} of a large float32 product."
    )
    python = os.environ.get("ONSET_PEERS")
    if python is None:
        return [*lines, "", said, "", "lm-evaluation-harness is absent: set ONSET_PEERS to a Python that has it."]
    names = [name for task in tasks for name in harness_task(folder, known[task], options.items)]
    batch = options.batch or best_batch(python, models[0], names, folder, options.threads)
    theirs, agreement = Cost(0, 0), Agreement()
    for model in models:
        spent, out = harness(python, model, names, folder, batch, options.threads)
        theirs += spent
        encoder = load(str(model)).encoder
        for task in tasks:
            (rows,) = (folder / "ours").glob(f"runs/{model.name}-*/items/*/{task}-*.parquet")
            agreement.add(known[task].with_use(limit=options.items).requests(), encoder, rows, out, task)
    return [
        *lines,
        f"| lm_eval run, batch size {batch} | {theirs.wall:.1f} | {theirs.processor:.1f} |",
        f"| ratio | {theirs.wall / cost.wall:.1f} | {theirs.processor / cost.processor:.1f} |",
        "",
        agreement.told(),
        "",
        said,
    ]


def common(parser: argparse.ArgumentParser) -> None:
    """The options of every comparison with the harness."""
    parser.add_argument("--shape", default="256,704,6,8", help="width, hidden, layers, heads")
    parser.add_argument("--batch", type=int, help="the harness's batch size; found by trial without it")
    parser.add_argument("--threads", type=int, default=max(1, (os.cpu_count() or 1)))
    parser.add_argument("--out", type=Path, help="Markdown file that the table is added to")


def told(compare: Callable[[argparse.Namespace, Path], Sequence[str]], options: argparse.Namespace) -> None:
    """Compare in a folder of its own, print the table and add it to the file asked for."""
    with tempfile.TemporaryDirectory() as folder:
        text = "\n".join(compare(options, Path(folder)))
    print(text)
    if options.out:
        with open(options.out, "a", encoding="utf-8") as file:
            file.write(f"\n{text}\n")


def main() -> None:
    """Parse the options, compare, print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of local task files")
    parser.add_argument("--tasks", default="mmlu", help=f"joined by commas; 'twelve' for {TWELVE}")
    parser.add_argument("--items", type=int, help="at most so many of each task")
    parser.add_argument("--checkpoints", type=int, default=1)
    common(parser)
    options = parser.parse_args()
    options.tasks = TWELVE if options.tasks == "twelve" else options.tasks
    options.data = options.data.resolve()
    told(compare, options)


if __name__ == "__main__":
    main()
