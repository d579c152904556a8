"""Training and scoring on a GPU: is it right, how fast is it, and what share of the GPU's matrix rate is that?

    python benchmarks/gpu.py [--data FOLDER]

One call checks and measures everything at 0.1, 0.35, 1 and 3 billion parameters: that PyTorch's flash kernels take
this model's attention, that the compiled bfloat16 step gives float32's loss, that peak memory is near the plan; tokens
per second and share of the measured bfloat16 matrix rate; that a training killed and resumed ends like one left
alone. With ``--data`` it goes on with ``gpu_scoring.py``: MMLU with five shots and HellaSwag on a model of a billion
weights, beside lm-evaluation-harness. The table goes to benchmarks/results/gpu.md.

**Not run on a GPU yet: it was written where none was at hand.** ``--device cpu --sizes tiny`` goes through all of it
but the GPU's own checks, and keeps its table only where ``--out`` says.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from onset.data import tokenizer as tokenizers
from onset.data.mixture import Mixture
from onset.data.shards import Shard
from onset.models.transformer import Decoder
from onset.store.rundir import RunDir
from onset.study import cost
from onset.study.spec import Optimizer, Run, Shape, TokenizerSpec
from onset.train.precision import Arithmetic, choose
from onset.train.step import Stepper
from onset.train.trainer import Job, train

RESULT = Path(__file__).parent / "results" / "gpu.md"
VOCAB = 65_024
SIZES = {
    # name: layers, width, heads, key-value heads, hidden, context, sequences a step, tied
    "tiny": (2, 64, 4, 2, 176, 64, 8, True),
    "100m": (12, 640, 10, 2, 1728, 2048, 64, True),
    "350m": (24, 1024, 16, 4, 2816, 2048, 64, True),
    "1b": (32, 1536, 12, 4, 4096, 2048, 64, False),
    "3b": (39, 2560, 20, 4, 6912, 2048, 64, False),
}
RESUMED_STEPS, KILLS = 60, 2
"""Steps of the training that is killed, and how often."""


def run_of(name: str) -> Run:
    layers, width, heads, kv_heads, hidden, context, batch, tied = SIZES[name]
    shape = Shape(layers=layers, width=width, heads=heads, kv_heads=kv_heads, hidden=hidden, context=context,
                  tied=tied)  # fmt: skip
    return Run(name=name, shape=shape, tokens=20 * cost.total_parameters(shape, VOCAB), batch=batch)


def vocab_of(name: str) -> int:
    return VOCAB if name != "tiny" else 512


def arithmetic_of(run: Run, vocab: int, device: str) -> Arithmetic:
    """What the trainer chooses on a GPU; on a processor autograd in bfloat16, uncompiled."""
    if device == "cuda":
        return choose(run, vocab, precision="bfloat16", threads=1, device=device)
    return Arithmetic("torch", True, 1, device, torch.__version__)


def seconds(act: Callable[[], object], device: str, rounds: int) -> float:
    """Mean seconds of an act, after one that warms up."""
    act()
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    wait()
    began = time.perf_counter()
    for _ in range(rounds):
        act()
    wait()
    return (time.perf_counter() - began) / rounds


def matrix_rate(device: str) -> float:
    """FLOP/s of a large bfloat16 product."""
    size = 8192 if device == "cuda" else 512
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * size**3 / seconds(lambda: left @ right, device, 20)


def flash_takes(shape: Shape) -> str:
    """Whether the flash kernel alone can do this model's attention, forward and backward: 'yes', or why not."""
    model = Decoder(shape.model_copy(update={"layers": 1}), 256).to("cuda", torch.bfloat16)
    ids = torch.randint(0, 256, (1, shape.context), device="cuda")
    try:
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            model.read(ids)[0].sum().backward()
    except RuntimeError as error:
        return f"no: {error}"
    return "yes"


def loss_apart(run: Run, vocab: int, how: Arithmetic, device: str) -> float:
    """Relative difference of the first loss on one sequence between this arithmetic and plain float32."""
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(0, vocab, (1, run.shape.context + 1), generator=draw).to(device)
    losses = []
    for one in (how, Arithmetic("torch", False, 1, "", "")):
        stepper = Stepper(Decoder(run.shape, vocab).to(device), Optimizer(), one, batch=1)
        losses.append(stepper.step(ids[:, :-1], ids[:, 1:], 0.0).loss)
    return abs(losses[0] - losses[1]) / losses[1]


def measure(name: str, options: argparse.Namespace, rate: float) -> dict[str, Any]:
    """Everything of one size."""
    run, device, vocab = run_of(name), options.device, vocab_of(name)
    how = arithmetic_of(run, vocab, device)
    found: dict[str, Any] = {
        "size": name,
        "params": cost.total_parameters(run.shape, vocab),
        "arithmetic": how.told(),
    }
    found["loss_apart"] = loss_apart(run, vocab, how, device)
    if device == "cuda":
        found["flash"] = flash_takes(run.shape)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    stepper = Stepper(Decoder(run.shape, vocab).to(device), Optimizer(), how, batch=run.batch)
    ids = torch.randint(0, vocab, (run.batch, run.shape.context + 1), device=device)

    def step() -> object:
        return stepper.step(ids[:, :-1], ids[:, 1:], 1e-4)

    took = seconds(step, device, options.rounds)
    found["tokens_per_second"] = run.tokens_per_step / took
    found["flops"] = found["tokens_per_second"] * cost.flops_per_token(run.shape, vocab)
    found["share_of_matrix_rate"] = found["flops"] / rate
    limit = cost.usable(torch.cuda.get_device_properties(0).total_memory) if device == "cuda" else None
    method = cost.Method(how.engine, how.bfloat16)
    found["planned_bytes"] = cost.fitted(run, vocab, limit, method).bytes
    if device == "cuda":
        found["peak_bytes"] = torch.cuda.max_memory_allocated()
    if options.profile:
        with torch.profiler.profile() as profiler:
            step()
        key = "self_cuda_time_total" if device == "cuda" else "self_cpu_time_total"
        print(profiler.key_averages().table(sort_by=key, row_limit=25))
    return found


def training(size: str, device: str, folder: Path, *, deterministic: bool) -> None:
    """A short training of random tokens that a kill may end at any time; called again, it goes on."""
    tokenizer = tokenizers.train(["some words of a small corpus"] * 10, TokenizerSpec(vocab=262))
    full = run_of(size)
    run = full.model_copy(
        update={"tokens": RESUMED_STEPS * full.tokens_per_step, "checkpoints": (full.tokens_per_step,)}
    )
    ids = np.random.default_rng(0).integers(1, 250, 200_000).astype(np.uint16)
    shard = Shard(folder, len(ids), 1, len(ids), 0, ids)
    mixture = Mixture([shard], [1.0], run.shape.context, run.batch, run.seed)
    rundir = RunDir(folder)
    rundir.create({"digest": "benchmark"})
    job = Job(
        run, 262, mixture, tokenizer, rundir, device=device, state_seconds=1.0, deterministic=deterministic,
        precision="bfloat16" if device == "cuda" else "auto",
    )  # fmt: skip
    came: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    train(job, should_stop=lambda: bool(came))


def losses_of(size: str, device: str, folder: Path, kills: int, *, deterministic: bool) -> list[float]:
    """Losses of a training that is killed so often on its way: by SIGKILL and SIGTERM in turn."""
    call = f"training({size!r}, {device!r}, Path({str(folder)!r}), deterministic={deterministic})"
    command = [sys.executable, "-c", f"from pathlib import Path; from gpu import training; {call}"]
    here = Path(__file__).parent
    while not (folder / "DONE").exists():
        process = subprocess.Popen(command, cwd=here)
        states = {entry.name for entry in (folder / "resume").glob("*")}
        while kills and process.poll() is None:
            time.sleep(0.05)
            if {entry.name for entry in (folder / "resume").glob("[0-9]*")} - states:
                kills -= 1
                process.send_signal((signal.SIGKILL, signal.SIGTERM)[kills % 2])
                break
        code = process.wait()
        if code > 0:
            raise SystemExit(f"the training ended with {code}")
    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def resume(size: str, device: str, *, deterministic: bool) -> str:
    """How far a training that was killed is from one left alone, in words."""
    with tempfile.TemporaryDirectory() as folder:
        alone, killed = (
            losses_of(size, device, Path(folder) / name, kills, deterministic=deterministic)
            for name, kills in (("alone", 0), ("killed", KILLS))
        )
    apart = max(abs(one - other) for one, other in zip(alone, killed, strict=True))
    kind = "with deterministic algorithms" if deterministic else "as usual"
    equal = "equal to the last bit" if apart == 0 else f"losses at most {apart:.2g} nats apart"
    return f"{len(alone)} steps of {size}, {kind}, killed {KILLS} times and resumed: {equal} to one left alone."


def table(results: list[dict[str, Any]], told: list[str], rate: float, device: str) -> str:
    """The results as Markdown."""
    name = torch.cuda.get_device_name() if device == "cuda" else "a processor (the numbers mean nothing)"
    lines = [
        f"## {date.today()}, {name}",
        "",
        f"`benchmarks/gpu.py`, torch {torch.__version__}. Measured bfloat16 matrix rate {rate / 1e12:.3g} TFLOP/s.",
        "",
        "| size | parameters | tokens a second | share of matrix rate | peak, GB | planned, GB | loss apart | flash |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in results:
        speed, share = f"{one['tokens_per_second']:,.0f}", f"{one['share_of_matrix_rate']:.0%}"
        peak = f"{one['peak_bytes'] / 1e9:.1f}" if "peak_bytes" in one else ""
        planned, apart = f"{one['planned_bytes'] / 1e9:.1f}", f"{one['loss_apart']:.1e}"
        cells = [one["size"], f"{one['params']:,}", speed, share, peak, planned, apart, one.get("flash", "")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *(f"- {line}" for line in told)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=["100m", "350m", "1b", "3b"])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--data", type=Path, help="folder of local task files: scoring is measured too")
    parser.add_argument("--out", type=Path, help=f"Markdown file that the table is added to (GPU: {RESULT.name})")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("no GPU here; --device cpu --sizes tiny only goes through the code")
    rate = matrix_rate(options.device)
    print(f"{date.today()}, torch {torch.__version__}, bfloat16 matrix rate {rate / 1e12:.3g} TFLOP/s")
    results = []
    for name in options.sizes:
        results.append(measure(name, options, rate))
        print(json.dumps(results[-1]), flush=True)
    told = [resume(options.sizes[0], options.device, deterministic=one) for one in (False, True)]
    text = table(results, told, rate, options.device)
    print(text)
    out = options.out or (RESULT if options.device == "cuda" else None)
    if out:
        with open(out, "a", encoding="utf-8") as file:
            file.write(f"\n{text}\n")
    if options.data:
        command = [sys.executable, str(Path(__file__).with_name("gpu_scoring.py")), "--data", str(options.data)]
        command += ["--device", options.device, *(["--tiny"] if options.sizes == ["tiny"] else [])]
        sys.exit(subprocess.run([*command, *(["--out", str(out)] if out else [])], check=False).returncode)


if __name__ == "__main__":
    main()
