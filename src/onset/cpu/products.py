"""Products with a model's matrices, laid out once as oneDNN wants them.

A matrix in its usual layout is rearranged within every product. Laid out beforehand, products of the sizes that
small models have run near the processor's rate (measured on one core of an EPYC 9004: 100 to 110 GFLOP/s of 115,
against 60 to 95). The laid-out matrix is a copy: it does not follow later changes of the model, and knows no gradients.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MOST_BYTES = 1 << 31
"""Weights of a model that are laid out a second time, at most: larger ones take products long enough without it."""
ROWS = 1024
"""Rows that the layout is chosen for."""
WORDS = 1024
"""Words of a block of the vocabulary."""


def packs(model: nn.Module) -> bool:
    """Whether the matrices of a model are to be laid out."""
    sizes = [parameter.nbytes for parameter in model.parameters()]
    return sum(sizes) <= MOST_BYTES and all(map(_can_be_packed, model.parameters()))


class Matrix:
    """x to x w' + b, for w (out, in) and x (..., in)."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None, *, packed: bool) -> None:
        """``packed`` lays the matrix out, on a processor in float32 where torch has oneDNN."""
        self._weight = weight.detach()
        self._bias = None if bias is None else bias.detach()
        self._packed = None
        if packed and _can_be_packed(weight):
            with torch.inference_mode():
                self._packed = torch.ops.mkldnn._reorder_linear_weight(self._weight, ROWS)

    def __call__(self, x: Tensor) -> Tensor:
        """The product."""
        if self._packed is None:
            return F.linear(x, self._weight, self._bias)
        made: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._packed, self._bias, "none", [], "")
        return made


class Words:
    """The matrix (vocabulary, width) that makes logits, in blocks of the vocabulary."""

    def __init__(self, matrix: Tensor, *, packed: bool) -> None:
        """See ``Matrix``."""
        self.blocks = [
            (start, Matrix(matrix[start : start + WORDS], packed=packed)) for start in range(0, len(matrix), WORDS)
        ]
        """First word and matrix of each block."""

    def __call__(self, states: Tensor) -> Tensor:
        """All logits (n, vocabulary) of states (n, width)."""
        return torch.cat([block(states) for _, block in self.blocks], dim=-1)


def pack(model: nn.Module, leave: nn.Module | None) -> None:
    """Let the linear layers of a model multiply by matrices laid out once, but for one that is left as it is."""
    for module in model.modules():
        if type(module) is nn.Linear and module is not leave:
            module.forward = Matrix(module.weight, module.bias, packed=True)  # type: ignore[assignment]


def _can_be_packed(weight: Tensor) -> bool:
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    )
