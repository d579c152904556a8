"""What each part of the hand-written code for processors brings: training with and without it, in one go.

    python benchmarks/kernels.py --widths 64 128

Every variant trains the same decoder on the same batches of 32 x 128 tokens. Steps of all variants are interleaved
and the fastest of each is taken, in seconds of the processor, so that a machine that is busy elsewhere slows all
alike. One thread. What brings less than 1.25 times is not worth its lines.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import torch

from onset.cpu import build
from onset.models.transformer import Decoder
from onset.study.spec import Optimizer, Shape
from onset.train.precision import Arithmetic
from onset.train.step import Stepper
from training import CONTEXT, RATE, ROWS, VOCAB, batches, shape_of

Step = Callable[[torch.Tensor], object]

VARIANTS: dict[str, tuple[str, bool, tuple[str, ...]]] = {
    # name: engine, bfloat16, files of C
    "kernels, bfloat16": ("kernels", True, build.SOURCES),
    "without attention_bfloat16.c": ("kernels", True, ("kernels.c",)),
    "kernels, float32": ("kernels", False, build.SOURCES),
    "torch, compiled, float32": ("compiled", False, ()),
    "torch, compiled, bfloat16": ("compiled", True, ()),
    "torch, float32": ("torch", False, ()),
}


@contextmanager
def built_from(files: tuple[str, ...]) -> Iterator[None]:
    """The kernels built from those files alone, within."""
    before, build.SOURCES = build.SOURCES, files or build.SOURCES
    caches = (build.identity, build.kernels)
    for one in caches:
        one.cache_clear()
    try:
        yield
    finally:
        build.SOURCES = before
        for one in caches:
            one.cache_clear()


def stepper(shape: Shape, variant: str) -> Step:
    """A step of that variant."""
    engine, bfloat16, files = VARIANTS[variant]
    with built_from(files):
        how = Arithmetic(engine, bfloat16, 1, "cpu", torch.__version__)  # type: ignore[arg-type]
        made = Stepper(Decoder(shape, VOCAB), Optimizer(), how, batch=ROWS)
    return lambda ids: made.step(ids[:, :-1], ids[:, 1:], RATE)


def measure(width: int, rounds: int, variants: list[str]) -> dict[str, float]:
    """Tokens per second of each variant."""
    # Making a compiled one forgets what was compiled before: these come first and are compiled at their first step.
    shape = shape_of(width)
    steps = {}
    feed = batches()
    for name in variants:
        steps[name] = stepper(shape, name)
    seconds = dict.fromkeys(steps, float("inf"))
    for turn in range(rounds + 2):
        ids = next(feed)
        for name, step in steps.items():
            began = time.process_time()
            step(ids)
            if turn >= 2:
                seconds[name] = min(seconds[name], time.process_time() - began)
    return {name: ROWS * CONTEXT / took for name, took in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--out", type=Path, help="also write the numbers as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{date.today()}, {platform.machine()}, torch {torch.__version__}")
    found = {}
    for width in options.widths:
        speeds = found[width] = measure(width, options.rounds, options.variants)
        best = max(speeds.values())
        for name, speed in speeds.items():
            print(f"width {width:4}  {speed:10,.0f} tokens/s  {best / speed:5.2f} times as slow  {name}", flush=True)
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
