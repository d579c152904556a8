"""What a study would cost, before it does: parameters, tokens, operations, memory, disk and hours."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

from onset.study import sizing
from onset.study.spec import Study

SHARE_OF_RATE = 0.3
"""Share of the matrix rate that training is assumed to reach when hours are estimated."""


def plan_rows(study: Study, rate: float, vocab: dict[str, int]) -> list[dict[str, Any]]:
    """One row a run. ``rate`` is the matrix rate in FLOP/s; ``vocab`` gives each tokenizer's entries."""
    rows = []
    for run in study.runs:
        entries = vocab[run.tokenizer]
        flops = sizing.flops(run, entries)
        rows.append(
            {
                "run": run.name,
                "group": run.group,
                "params": sizing.total_parameters(run.shape, entries),
                "tokens": run.steps * run.tokens_per_step,
                "flops": flops,
                "steps": run.steps,
                "checkpoints": len(sizing.checkpoint_steps(run)),
                "memory_bytes": sum(sizing.memory(run, entries).values()),
                "disk_bytes": sum(sizing.disk(run, entries).values()),
                "hours": flops / (rate * SHARE_OF_RATE) / 3600,
            }
        )
    return rows


def matrix_rate(seconds: float = 0.3, size: int = 768) -> float:
    """FLOP/s of float32 matrix products on this machine, all cores, measured for a moment."""
    left = np.random.default_rng(0).standard_normal((size, size), dtype=np.float32)
    left @ left  # the first product pays for threads and pages
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        left @ left
        count += 1
    return 2 * size**3 * count / (time.perf_counter() - began)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
