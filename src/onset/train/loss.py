"""Cross-entropy that never holds all logits: a stretch of rows at a time, its gradients made on the spot.

The gradient of the logits is known as soon as they are (softmax less the target), so that nothing of a stretch need be
kept for the backward pass but its share of two gradients: that of the states, and that of the output matrix, which is
summed in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from onset.study.cost import TORCH_LOGITS

Chunk = Callable[[Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor]]


def chunk_loss(states: Tensor, matrix: Tensor, targets: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Sum of losses of some rows, in nats, and the gradient of ``share`` times it by their logits (rows, vocab).

    Rows whose target is below 0 do not count.
    """
    logits = (states @ matrix.t()).float()
    counts = (targets >= 0)[:, None]
    right = targets[:, None].clamp(min=0)
    logs = logits.logsumexp(-1, keepdim=True)
    loss = ((logs - logits.gather(1, right)) * counts).sum()
    gradient = (logits - logs).exp()
    gradient = gradient.scatter_add(1, right, torch.full_like(logs, -1.0)) * (counts * share)
    return loss, gradient.to(states.dtype)


class ChunkedLoss(torch.autograd.Function):
    """``share`` times the summed cross-entropy of states (rows, width) against targets (rows), in nats.

    Targets below 0 do not count.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, matrix: Tensor, targets: Tensor, share: float, chunk: Chunk) -> Tensor:
        """See the class."""
        rows = max(1, TORCH_LOGITS // len(matrix))
        total = torch.zeros((), device=states.device)
        d_states = torch.empty_like(states)
        d_matrix = torch.zeros_like(matrix, dtype=torch.float32)
        for begin in range(0, len(states), rows):
            part = slice(begin, begin + rows)
            loss, gradient = chunk(states[part], matrix, targets[part], share)
            total += loss
            d_states[part] = gradient @ matrix
            d_matrix += gradient.t() @ states[part]
        ctx.save_for_backward(d_states, d_matrix.to(matrix.dtype))
        return total * share

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """See the class."""
        d_states, d_matrix = ctx.saved_tensors
        return d_states * upstream[0], d_matrix * upstream[0], None, None, None
