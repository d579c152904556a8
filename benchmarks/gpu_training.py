"""Training on a GPU: is it right, how fast is it, and what share of the GPU's matrix rate is that? 125M, 350M and 1B.

    python benchmarks/gpu_training.py --out gpu.json

One call checks and measures everything: that PyTorch's flash kernels take this model's attention, that the compiled
bfloat16 step gives float32's loss, that peak memory is near the plan; then tokens per second, share of the measured
bfloat16 matrix rate, and with ``--profile`` where the time goes. **No result of this script is recorded yet: it was
written where no GPU was at hand**; ``--device cpu --sizes tiny`` goes through all of it but the GPU's own checks.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from onset.models.transformer import Decoder
from onset.study import cost as sizing
from onset.study.spec import Optimizer, Run, Shape
from onset.train.precision import Arithmetic
from onset.train.step import Stepper

VOCAB = 65_024
SIZES = {
    # name: layers, width, heads, key-value heads, hidden, context, sequences a step
    "tiny": (2, 64, 4, 2, 176, 64, 8),
    "125m": (12, 768, 12, 4, 2048, 2048, 64),
    "350m": (24, 1024, 16, 4, 2816, 2048, 64),
    "1b": (32, 1536, 12, 4, 4096, 2048, 64),
}


def run_of(name: str) -> Run:
    layers, width, heads, kv_heads, hidden, context, batch = SIZES[name]
    shape = Shape(layers=layers, width=width, heads=heads, kv_heads=kv_heads, hidden=hidden, context=context,
                  tied=width <= 1024)  # fmt: skip
    return Run(name=name, shape=shape, tokens=10**9, batch=batch)


def arithmetic_of(run: Run, vocab: int, device: str, memory: int | None) -> Arithmetic:
    """The GPU path of ``arithmetic.choose`` (compiled bfloat16), fitted to the memory; on any device."""
    fit = sizing.fitted(run, vocab, memory, sizing.Method("compiled" if device == "cuda" else "torch", True))
    name = torch.cuda.get_device_name() if device == "cuda" else device
    # What compiling gives on a processor tells nothing of a GPU, and takes minutes.
    usual = Arithmetic("compiled" if device == "cuda" else "torch", True, 1, name, torch.__version__)
    return usual if fit.usual else replace(usual, together=fit.sequences * run.shape.context, recompute=fit.recompute)


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
    model = Decoder(replace_layers(shape), 256).to("cuda", torch.bfloat16)
    ids = torch.randint(0, 256, (1, shape.context), device="cuda")
    try:
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            model.hidden(ids).sum().backward()
    except RuntimeError as error:
        return f"no: {error}"
    return "yes"


def replace_layers(shape: Shape) -> Shape:
    """The shape with one layer."""
    return shape.model_copy(update={"layers": 1})


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
    run, device = run_of(name), options.device
    vocab = VOCAB if name != "tiny" else 512
    memory = int(torch.cuda.mem_get_info()[0] * 0.9) if device == "cuda" else None
    how = arithmetic_of(run, vocab, device, memory)
    found: dict[str, Any] = {
        "size": name,
        "params": sizing.total_parameters(run.shape, vocab),
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
    found["flops"] = found["tokens_per_second"] * sizing.flops_per_token(run.shape, vocab)
    found["share_of_matrix_rate"] = found["flops"] / rate
    fit = sizing.fitted(run, vocab, memory, sizing.Method("compiled" if device == "cuda" else "torch", True))
    found["planned_bytes"] = fit.bytes
    if device == "cuda":
        found["peak_bytes"] = torch.cuda.max_memory_allocated()
    if options.profile:
        with torch.profiler.profile() as profiler:
            step()
        key = "self_cuda_time_total" if device == "cuda" else "self_cpu_time_total"
        print(profiler.key_averages().table(sort_by=key, row_limit=25))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=["125m", "350m", "1b"])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("no GPU here; --device cpu --sizes tiny only goes through the code")
    rate = matrix_rate(options.device)
    print(f"{date.today()}, torch {torch.__version__}, bfloat16 matrix rate {rate / 1e12:.3g} TFLOP/s")
    results = []
    for name in options.sizes:
        results.append(measure(name, options, rate))
        print(json.dumps(results[-1]), flush=True)
    if options.out:
        options.out.write_text(json.dumps({"matrix_rate": rate, "sizes": results}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
