"""What a study would cost, before it does: parameters, tokens, operations, memory, disk and hours."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

from onset.study import cost as sizing
from onset.study.branching import flops_owed, nearly, trunks
from onset.study.spec import Study

SHARE_OF_RATE = 0.3
"""Share of the matrix rate that training is assumed to reach when hours are estimated."""


def plan_rows(study: Study, rate: float, vocab: dict[str, int]) -> list[dict[str, Any]]:
    """One row a run. ``rate`` is the matrix rate in FLOP/s; ``vocab`` gives each tokenizer's entries.

    ``tokens`` and ``flops`` are the whole run's; ``shared_tokens`` and ``shared_flops`` are those that another run,
    ``trunk``, trains for it, and ``hours`` are of the rest. Raises OnsetError for a run that does not fit into the
    study's memory.
    """
    rows = []
    shared = trunks(study)
    limit = None if study.memory_gb is None else int(study.memory_gb * 1e9)
    for run in study.runs:
        entries = vocab[run.tokenizer]
        flops = sizing.flops(run, entries)
        trunk = shared.get(run.name)
        owed = flops_owed(run, entries, trunk)
        fit = sizing.fitted(run, entries, limit)
        rows.append(
            {
                "run": run.name,
                "group": run.group,
                "params": sizing.total_parameters(run.shape, entries),
                "tokens": run.steps * run.tokens_per_step,
                "flops": flops,
                "steps": run.steps,
                "checkpoints": len(sizing.checkpoint_steps(run)),
                "memory_bytes": fit.bytes,
                "memory_by_part": fit.parts,
                "sequences_at_once": fit.sequences,
                "disk_bytes": sum(sizing.disk(run, entries).values()),
                "trunk": None if trunk is None else trunk.run,
                "shared_tokens": 0 if trunk is None else trunk.steps * run.tokens_per_step,
                "shared_flops": flops - owed,
                "hours": owed / (rate * SHARE_OF_RATE) / 3600,
            }
        )
    return rows


def plan_notes(study: Study, rows: list[dict[str, Any]]) -> list[str]:
    """What the rows mean beyond their sums, a sentence each: what shared trunks save, and what could share one."""
    notes = []
    branches = [row for row in rows if row["trunk"]]
    if branches:
        tokens, flops = (sum(row[f"shared_{name}"] for row in branches) for name in ("tokens", "flops"))
        whole = sum(row["flops"] for row in rows)
        notes.append(
            f"shared trunks: {len(branches)} runs take over {tokens:,} tokens and {flops:.2g} FLOPs that another run "
            f"trains: {flops / whole:.0%} of the family's FLOPs are saved (time is of the rest)"
        )
    for names in nearly(study):
        notes.append(
            f"runs {', '.join(names)} would share a trunk with the same steps of warm-up: state warmup_steps in their "
            "schedules"
        )
    return notes


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
