"""How a run computes: its number format and whether it is compiled, decided from sizes and the machine alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from onset.study.spec import Run


@dataclass(frozen=True)
class Arithmetic:
    """What decides a run's rounding: two trainings with equal arithmetic on one machine are bitwise equal."""

    bfloat16: bool
    """Whether the passes run in bfloat16 (weights and optimiser stay float32)."""
    compiled: bool
    """Whether the passes are compiled."""
    threads: int
    device: str
    torch: str
    """Version of torch."""


def choose(run: Run, vocab: int, *, precision: str, threads: int, device: str) -> Arithmetic:
    """The arithmetic of a run: the same for the same run on the same machine, so that a resume goes on exactly."""
    bfloat16 = precision == "bfloat16"
    return Arithmetic(bfloat16, False, threads, device, torch.__version__)
