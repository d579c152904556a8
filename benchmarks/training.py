"""Tokens per second of training, ours against Hugging Face and litgpt, in one go on one machine.

    python benchmarks/training.py --widths 64 128 --threads 1
    python benchmarks/training.py --widths 64 --compiled          # peers through torch.compile too (minutes a shape)

Every contestant trains the same decoder on the same batches of 32 x 128 tokens with clipping and fused AdamW.
Each peer is tried in every setting and its best one counts. Steps of all contestants are interleaved, and the
fastest step of each is taken, so that a machine that is busy elsewhere slows all alike; ``--clock cpu`` counts the
seconds of the processor instead of the wall's, for machines that are shared (one thread only).

Peers that are not installed are named and left out: litgpt, and accelerate for the Trainer.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onset.models.transformer import Decoder, glm_config
from onset.study.cost import flops_per_token, total_parameters
from onset.study.spec import Optimizer, Run, Shape
from onset.train.precision import choose
from onset.train.step import Stepper

ROWS, CONTEXT, VOCAB = 32, 128, 600
RATE = 1e-3
Step = Callable[[Tensor], None]
"""Trains on one batch of ids (rows, context + 1)."""


def shape_of(width: int) -> Shape:
    """A decoder as small studies use them: four layers up to width 128, six above."""
    heads = max(4, width // 32)
    hidden = width * 8 // 3 // 16 * 16
    layers = 4 if width <= 128 else 6
    return Shape(layers=layers, width=width, heads=heads, kv_heads=heads // 2, hidden=hidden, context=CONTEXT)


def batches() -> Iterator[Tensor]:
    """Endless batches of random ids."""
    draw = torch.Generator().manual_seed(0)
    while True:
        yield torch.randint(0, VOCAB, (ROWS, CONTEXT + 1), generator=draw)


# ---- contestants ----


def ours(shape: Shape, threads: int) -> Iterator[tuple[str, Step]]:
    """This package's step, in the arithmetic that it chooses for itself."""
    run = Run(name="bench", shape=shape, tokens=10**8, batch=ROWS)
    arithmetic = choose(run, VOCAB, precision="auto", threads=threads, device="cpu")
    stepper = Stepper(Decoder(shape, VOCAB), Optimizer(), arithmetic, batch=ROWS)
    name = f"onset ({arithmetic.engine}, {'bfloat16' if arithmetic.bfloat16 else 'float32'})"

    def step(ids: Tensor) -> None:
        stepper.step(ids[:, :-1], ids[:, 1:], RATE)

    yield name, step


def own_decoder(shape: Shape, compiled: bool) -> Iterator[tuple[str, Step]]:
    """This package's decoder in the plain loop, without the hand-written code: what that has to beat."""
    for bfloat16 in (False, True):
        kind = "bfloat16" if bfloat16 else "float32"
        model = Decoder(shape, VOCAB)

        def loss(ids: Tensor, model: Decoder = model) -> Tensor:
            return model.loss(ids[:, :-1], ids[:, 1:])

        yield f"onset decoder, plain loop ({kind})", loop(model, loss, bfloat16=bfloat16)
        if compiled:
            yield f"onset decoder, plain loop ({kind}, compiled)", loop(model, torch.compile(loss), bfloat16=bfloat16)


def loop(model: nn.Module, loss: Callable[[Tensor], Tensor], *, bfloat16: bool) -> Step:
    """The plain loop that everyone writes: autocast, backward, clip, fused AdamW."""
    adam = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.1, fused=True)

    def step(ids: Tensor) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            value = loss(ids)
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        adam.zero_grad()

    return step


def glm(shape: Shape, attention: str) -> Any:
    from transformers import GlmConfig, GlmForCausalLM

    config = GlmConfig(**{k: v for k, v in glm_config(shape, VOCAB, 0).items() if k != "architectures"})
    config._attn_implementation = attention
    config.use_cache = False
    return GlmForCausalLM(config).float().train()


def hugging_face(shape: Shape, compiled: bool) -> Iterator[tuple[str, Step]]:
    """Glm of transformers in a plain loop."""
    for bfloat16, attention in itertools.product((False, True), ("sdpa", "eager")):
        model = glm(shape, attention)

        def loss(ids: Tensor, model: Any = model) -> Tensor:
            logits = model(input_ids=ids[:, :-1]).logits
            return F.cross_entropy(logits.reshape(-1, VOCAB).float(), ids[:, 1:].reshape(-1))

        kind = f"{'bfloat16' if bfloat16 else 'float32'}, {attention}"
        yield f"hugging face loop ({kind})", loop(model, loss, bfloat16=bfloat16)
        if compiled:
            yield f"hugging face loop ({kind}, compiled)", loop(model, torch.compile(loss), bfloat16=bfloat16)


def litgpt(shape: Shape, compiled: bool) -> Iterator[tuple[str, Step]]:
    """litgpt's GPT of the same shape in a plain loop."""
    from litgpt.model import GPT, Config

    config = Config(
        block_size=CONTEXT, n_layer=shape.layers, n_embd=shape.width, vocab_size=VOCAB, padded_vocab_size=VOCAB,
        n_head=shape.heads, n_query_groups=shape.kv_heads, rotary_percentage=0.5, parallel_residual=False, bias=False,
        norm_class_name="RMSNorm", mlp_class_name="LLaMAMLP", intermediate_size=shape.hidden,
    )  # fmt: skip
    for bfloat16 in (False, True):
        model = GPT(config).train()

        def loss(ids: Tensor, model: Any = model) -> Tensor:
            return F.cross_entropy(model(ids[:, :-1]).reshape(-1, VOCAB).float(), ids[:, 1:].reshape(-1))

        kind = "bfloat16" if bfloat16 else "float32"
        yield f"litgpt ({kind})", loop(model, loss, bfloat16=bfloat16)
        if compiled:
            yield f"litgpt ({kind}, compiled)", loop(model, torch.compile(loss), bfloat16=bfloat16)


# ---- the Trainer has a loop of its own, so it is timed by its callbacks ----


def trainer_seconds(shape: Shape, steps: int, clock: Callable[[], float], attention: str, *, bfloat16: bool) -> float:
    """Seconds of the Trainer's fastest step."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    rows = next(batches()).repeat(steps, 1)[:, :-1]
    best = float("inf")

    class Clock(TrainerCallback):
        began = 0.0

        def on_step_begin(self, *args: Any, **settings: Any) -> None:
            nonlocal best
            if self.began:  # the data loader's share of the step belongs to it
                best = min(best, clock() - self.began)
            self.began = clock()

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, per_device_train_batch_size=ROWS, max_steps=steps, bf16=bfloat16, use_cpu=True,
            optim="adamw_torch_fused", max_grad_norm=1.0, report_to=[], save_strategy="no", logging_strategy="no",
            disable_tqdm=True, dataloader_num_workers=0,
        )  # fmt: skip
        data = [{"input_ids": row, "labels": row} for row in rows]
        Trainer(glm(shape, attention), arguments, train_dataset=data, callbacks=[Clock()]).train()
    return best


# ---- measuring ----


def fastest(contestants: dict[str, Step], rounds: int, clock: Callable[[], float]) -> dict[str, float]:
    """Seconds of each contestant's fastest step, all of them taking turns."""
    feed = batches()
    best = dict.fromkeys(contestants, float("inf"))
    for step in contestants.values():
        for _ in range(2):
            step(next(feed))
    for _ in range(rounds):
        for name, step in contestants.items():
            ids = next(feed)
            began = clock()
            step(ids)
            best[name] = min(best[name], clock() - began)
    return best


def matrix_rate(clock: Callable[[], float]) -> dict[str, float]:
    """FLOP/s of a large matrix product, per number format."""
    rates = {}
    for dtype in (torch.float32, torch.bfloat16):
        left, right = (torch.randn(1024, 1024).to(dtype) for _ in range(2))
        best = float("inf")
        for _ in range(20):
            began = clock()
            torch.mm(left, right)
            best = min(best, clock() - began)
        rates[str(dtype).removeprefix("torch.")] = 2 * 1024**3 / best
    return rates


def measure(width: int, options: argparse.Namespace, clock: Callable[[], float]) -> dict[str, Any]:
    """All contestants at one width: tokens per second by name, and ours against the best peer."""
    shape = shape_of(width)
    contestants = dict(ours(shape, options.threads))
    own = next(iter(contestants))
    contestants |= dict(own_decoder(shape, options.compiled))
    contestants |= dict(hugging_face(shape, options.compiled))
    missing = []
    try:
        contestants |= dict(litgpt(shape, options.compiled))
    except ImportError as error:
        missing.append(f"litgpt ({error})")
    seconds = fastest(contestants, options.rounds, clock)
    try:
        for bfloat16, attention in ((False, "sdpa"), (True, "sdpa"), (True, "eager")):
            name = f"hugging face Trainer ({'bfloat16' if bfloat16 else 'float32'}, {attention})"
            seconds[name] = trainer_seconds(shape, options.rounds + 2, clock, attention, bfloat16=bfloat16)
    except ImportError as error:
        missing.append(f"Trainer ({error})")
    speed = {name: ROWS * CONTEXT / took for name, took in seconds.items()}
    best = max((name for name in speed if not name.startswith("onset")), key=speed.__getitem__)
    return {
        "width": width,
        "params": total_parameters(shape, VOCAB),
        "tokens_per_second": speed,
        "ours": own,
        "best_peer": best,
        "ratio": speed[own] / speed[best],
        "flops": speed[own] * flops_per_token(shape, VOCAB),
        "missing": missing,
    }


def show(result: dict[str, Any], rates: dict[str, float], threads: int) -> None:
    """Print one width's table."""
    print(f"\nwidth {result['width']}: {result['params'] / 1e6:.2f} M parameters, {threads} thread(s)")
    for name, speed in sorted(result["tokens_per_second"].items(), key=lambda pair: -pair[1]):
        print(f"  {speed:10,.0f} tokens/s   {name}")
    kind = "bfloat16" if "bfloat16" in result["ours"] else "float32"
    print(f"  {result['ratio']:.2f} times the best peer, {result['best_peer']}")
    print(f"  {result['flops'] / 1e9:.0f} GFLOP/s: {result['flops'] / rates[kind]:.0%} of the {kind} matrix rate here")
    for name in result["missing"]:
        print(f"  not measured: {name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128, 256, 512])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--compiled", action="store_true", help="peers through torch.compile too")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--out", type=Path, help="also write the numbers as JSON")
    options = parser.parse_args()
    if options.clock == "cpu" and options.threads > 1:
        parser.error("--clock cpu is for one thread")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    rates = matrix_rate(clock)
    print(f"{date.today()}, {platform.machine()}, torch {torch.__version__}, {options.clock} clock")
    print("matrix rate: " + ", ".join(f"{rate / 1e9:.0f} GFLOP/s {kind}" for kind, rate in rates.items()))
    results = []
    for width in options.widths:
        results.append(measure(width, options, clock))
        show(results[-1], rates, options.threads)
    if options.out:
        options.out.write_text(json.dumps({"matrix_rate": rates, "widths": results}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
