"""First weights, each parameter drawn from (seed, name) alone: any process can draw any rows of any of them.

A sharded training draws the rows that it holds and no others, and they equal those of one process bit for bit.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

from onset.study.spec import Shape

BLOCK = 1 << 18
"""Elements (whole rows of a matrix) that come from one generator."""


def deviation(name: str, shape: Shape) -> float:
    """Standard deviation of a matrix of the paper's decoder by its name.

    sqrt(2 / (5 width)), and 2 / (layers sqrt(width)) for those that write to the stream. The first is "small init"
    (Nguyen and Salazar 2019, arXiv 1910.05895), the second Wang's; together they are the rule of GPT-NeoX-20B and
    Pythia (Black et al. 2022, arXiv 2204.06745, section 2.1).
    """
    small = math.sqrt(2 / (5 * shape.width))
    writing = min(small, 2 / (shape.layers * math.sqrt(shape.width)))
    return writing if name.endswith((".out", ".down")) else small


def drawn(name: str, size: torch.Size, seed: int, deviation: float, rows: range | None = None) -> Tensor:
    """Rows (places along the first axis) of a tensor of that name and size, float32 on the CPU, drawn normally."""
    height, columns = size[0], size[1:].numel()
    wanted = range(height) if rows is None else rows
    each = max(1, BLOCK // columns)
    out = torch.empty(len(wanted), columns)
    for block in range(wanted.start // each, -(-wanted.stop // each) if len(wanted) else 0):
        first = block * each
        draw = torch.Generator().manual_seed(_seed(seed, name, block))
        values = torch.empty(min(each, height - first), columns).normal_(0.0, deviation, generator=draw)
        begin, end = max(first, wanted.start), min(first + len(values), wanted.stop)
        out[begin - wanted.start : end - wanted.start] = values[begin - first : end - first]
    return out.view(len(wanted), *size[1:])


def _seed(seed: int, name: str, block: int) -> int:
    digest = hashlib.sha256(f"{seed}/{name}/{block}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
