"""A model's parameters as views of one buffer, so that clipping and the optimiser are a few large operations."""

from __future__ import annotations

import torch
from torch import Tensor

from onset.models.contract import CausalModel

ALIGNED = 32
"""Each parameter starts at a multiple of so many elements: 64 bytes in bfloat16, a line of the cache."""


class Flat:
    """One buffer of values and one of gradients behind a model's parameters: those that decay first, then vectors.

    The two stretches differ in weight decay. Gaps between parameters stay zero.
    """

    def __init__(self, model: CausalModel) -> None:
        named = sorted(model.named_parameters(), key=lambda pair: model.role(pair[0]) == "vector")
        first = named[0][1]
        self.layout: dict[str, tuple[int, torch.Size]] = {}
        end, self.border = 0, 0
        for name, parameter in named:
            self.layout[name] = (end, parameter.shape)
            end += -(-parameter.numel() // ALIGNED) * ALIGNED
            if model.role(name) != "vector":
                self.border = end
        self.values = torch.zeros(end, dtype=first.dtype, device=first.device)
        self.gradients = torch.zeros_like(self.values)
        values, gradients = self.views(self.values), self.views(self.gradients)
        for name, parameter in named:
            values[name].copy_(parameter.detach())
            parameter.data = values[name]
            parameter.grad = gradients[name]

    def views(self, buffer: Tensor) -> dict[str, Tensor]:
        """Each parameter's place in a buffer of this layout, by the parameter's name."""
        return {name: buffer[start : start + shape.numel()].view(shape) for name, (start, shape) in self.layout.items()}

    def parts(self, buffer: Tensor) -> tuple[Tensor, Tensor]:
        """The stretches of a buffer of this layout that hold what decays and what does not."""
        return buffer[: self.border], buffer[self.border :]
