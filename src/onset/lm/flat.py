"""A model's parameters as views of one buffer, so that clipping and the optimiser are a few large operations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

ALIGNED = 32
"""Each parameter starts at a multiple of so many elements: 64 bytes in bfloat16, a line of the cache."""


class Flat:
    """One buffer of values and one of gradients behind a module's parameters: matrices first, then gains.

    ``matrices`` and ``gains`` are the two stretches, which differ in weight decay. Gaps between parameters stay zero.
    """

    def __init__(self, module: nn.Module) -> None:
        named = sorted(module.named_parameters(), key=lambda pair: pair[1].dim() < 2)
        first = named[0][1]
        self.layout: list[tuple[str, list[int]]] = [(name, list(parameter.shape)) for name, parameter in named]
        starts, end, self.border = [], 0, 0
        for _, parameter in named:
            starts.append(end)
            end += -(-parameter.numel() // ALIGNED) * ALIGNED
            if parameter.dim() >= 2:
                self.border = end
        self.values = torch.zeros(end, dtype=first.dtype, device=first.device)
        self.gradients = torch.zeros_like(self.values)
        for (_, parameter), start in zip(named, starts, strict=True):
            place = slice(start, start + parameter.numel())
            self.values[place] = parameter.detach().reshape(-1)
            parameter.data = self.values[place].view(parameter.shape)
            parameter.grad = self.gradients[place].view(parameter.shape)

    def parts(self, buffer: Tensor) -> tuple[Tensor, Tensor]:
        """The stretches of a buffer of this layout that hold matrices and gains."""
        return buffer[: self.border], buffer[self.border :]
