"""The rate at which this machine trains a run, measured with the trainer's own step for a moment and kept.

A plan's hours rest on it. A run too large for a moment is measured by a smaller decoder: its width up to
``LARGEST_WIDTH`` and two of its layers.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import torch

from onset import reading
from onset.errors import OnsetError
from onset.models.build import first_model
from onset.store.parts import write_text
from onset.study.cost import flops_per_token, total_parameters
from onset.study.spec import HuggingFaceShape, Run, Shape, digest_of
from onset.train.precision import Arithmetic, choose
from onset.train.step import Stepper

LARGEST_WIDTH, LAYERS, LARGEST_CONTEXT, LARGEST_VOCAB = 512, 2, 512, 8192
"""Bounds of the decoder that is measured."""

LARGEST_PARAMETERS = 100_000_000
"""Above so many, an architecture of transformers is not measured."""

TOKENS = 4096
"""Tokens of a measured step (at least one sequence)."""

ROUNDS = 3
"""Steps that are timed after one that warms up; the fastest counts."""


def measured_rate(run: Run, vocab: int, *, precision: str, threads: int = 1, keep: Path | None = None) -> float:
    """FLOP/s at which a processor's step trains a run of this shape, on so many threads.

    ``keep`` is a JSON file of rates measured before, by default in the user's cache; one that is not there is
    measured and added.
    """
    sample, entries = sample_of(run, vocab)
    arithmetic = choose(sample, entries, precision=precision, threads=threads, device="cpu")
    key = digest_of([sample.shape.model_dump(), sample.batch, entries, arithmetic.told()])[:16]
    file = keep or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "onset" / "rates.json"
    known = _known(file)
    if key not in known:
        known[key] = _measure(sample, entries, arithmetic)
        try:
            write_text(file, json.dumps(known, indent=2) + "\n")
        except OSError:  # a cache that cannot be written costs a moment the next time
            return known[key]
    return known[key]


def sample_of(run: Run, vocab: int) -> tuple[Run, int]:
    """A run and a vocabulary small enough to be measured in a moment; a small run is its own but for layers."""
    shape = run.shape
    if isinstance(shape, HuggingFaceShape):
        return _sample_of_transformers(run, shape, vocab)
    scale = min(1.0, LARGEST_WIDTH / shape.width)
    if scale == 1.0:
        small = shape.model_copy(update={"layers": min(LAYERS, shape.layers)})
    else:
        small = Shape(
            layers=min(LAYERS, shape.layers), width=LARGEST_WIDTH, heads=8, kv_heads=4, tied=shape.tied,
            hidden=max(16, round(shape.hidden * scale / 16) * 16), context=shape.context,
        )  # fmt: skip
    small = small.model_copy(update={"context": min(shape.context, LARGEST_CONTEXT)})
    batch = min(run.batch, max(1, TOKENS // small.context))
    return Run(name="sample", shape=small, tokens=batch * small.context, batch=batch), min(vocab, LARGEST_VOCAB)


def _sample_of_transformers(run: Run, shape: HuggingFaceShape, vocab: int) -> tuple[Run, int]:
    """An architecture of transformers is measured as it is, on one short step: its sizes may not be cut at will."""
    if total_parameters(shape, vocab) > LARGEST_PARAMETERS:
        raise OnsetError(
            f"a model of {total_parameters(shape, vocab):,} parameters is too large to be measured here",
            where=f"run '{run.name}'",
            advice="state the rate at which the machine meant trains it: --rate FLOPS",
        )
    batch = min(run.batch, max(1, TOKENS // shape.context))
    return Run(name="sample", shape=shape, tokens=batch * shape.context, batch=batch), vocab


def _measure(sample: Run, vocab: int, arithmetic: Arithmetic) -> float:
    stepper = Stepper(first_model(sample, vocab), sample.optimizer, arithmetic, batch=sample.batch)
    ids = torch.randint(0, vocab, (sample.batch, sample.shape.context + 1), generator=torch.Generator().manual_seed(0))
    took = []
    for _ in range(1 + ROUNDS):
        began = time.perf_counter()
        stepper.step(ids[:, :-1], ids[:, 1:], 1e-4)
        took.append(time.perf_counter() - began)
    return sample.tokens_per_step * flops_per_token(sample.shape, vocab) / min(took[1:])


def _known(file: Path) -> dict[str, float]:
    try:
        found = reading.json_file(file)
    except OnsetError:
        return {}
    return {key: rate for key, rate in found.items() if isinstance(rate, float)} if isinstance(found, dict) else {}
