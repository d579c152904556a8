"""A model's matrices as training multiplies by them, and the sums that their gradients are added to.

Where the processor multiplies bfloat16, products are those of matrices_bfloat16.c: weights are laid out once a step,
and sums of gradients stay float32 throughout. All others are torch's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from onset.cpu.build import Kernels
from onset.cpu.flat import Flat


@dataclass(frozen=True)
class Panels:
    """One matrix, laid out for products with its transpose and with itself."""

    across: Tensor
    along: Tensor


class Matrices:
    """The weights that products are made with; one for all threads."""

    def __init__(self, master: Flat, kernels: Kernels, used: list[str], *, bfloat16: bool) -> None:
        """``used`` names the matrices; odd sizes are left to torch."""
        self.floats, self.kernels = master.views(master.values), kernels
        self.panels: dict[str, Panels] = {}
        if bfloat16 and kernels.matrices:
            even = [name for name in used if not any(size % 2 for size in self.floats[name].shape)]
            self.panels = {name: _panels(self.floats[name]) for name in even}
        plain = {name: self.floats[name] for name in used if name not in self.panels}
        self.elements = {
            name: torch.empty_like(weight, dtype=torch.bfloat16) if bfloat16 else weight
            for name, weight in plain.items()
        }
        self.dtype = torch.bfloat16 if bfloat16 else torch.float32
        self.renew()

    def renew(self) -> None:
        """Take up the master's values."""
        for name, panels in self.panels.items():
            weight = self.floats[name]
            self.kernels.matrix_pack(weight, panels.across, panels.along, *weight.shape)
        if self.dtype != torch.float32:
            for name, elements in self.elements.items():
                elements.copy_(self.floats[name])


class Products:
    """Products of one thread; ``sums`` are the gradients, by name."""

    def __init__(self, matrices: Matrices, sums: dict[str, Tensor]) -> None:
        self.matrices, self.kernels, self.sums = matrices, matrices.kernels, sums
        self.parts = {}
        if matrices.dtype != torch.float32:
            self.parts = {name: torch.zeros_like(elements) for name, elements in matrices.elements.items()}
        shapes = [sums[name].shape for name in matrices.panels]
        words = max((int(self.kernels.matrix_scratch(*shape)) for shape in shapes), default=0)
        self.scratch = torch.zeros(words, dtype=torch.int32)

    def forward(self, name: str, inputs: Tensor, out: Tensor) -> None:
        """out (rows, m) = inputs (rows, n) times the transpose of the matrix (m, n)."""
        if (panels := self.matrices.panels.get(name)) is None:
            torch.mm(inputs, self.matrices.elements[name].t(), out=out)
        else:
            rows, columns = inputs.shape
            self.kernels.matrix_product(inputs, panels.across, out, rows, columns // 2, out.shape[1])

    def back(self, name: str, gradient: Tensor, out: Tensor) -> None:
        """out (rows, n) = gradient (rows, m) times the matrix (m, n)."""
        if (panels := self.matrices.panels.get(name)) is None:
            torch.mm(gradient, self.matrices.elements[name], out=out)
        else:
            rows, columns = gradient.shape
            self.kernels.matrix_product(gradient, panels.along, out, rows, columns // 2, out.shape[1])

    def add(self, name: str, gradient: Tensor, inputs: Tensor) -> None:
        """Add gradient^T inputs to the matrix' sum; torch rounds a piece's part of it to elements, not the sum."""
        sums = self.sums[name]
        if name in self.matrices.panels:
            self.kernels.matrix_add(gradient, inputs, sums, self.scratch, len(inputs), *sums.shape)
        elif self.matrices.dtype == torch.float32:
            torch.addmm(sums, gradient.t(), inputs, out=sums)
        else:
            sums.add_(torch.mm(gradient.t(), inputs, out=self.parts[name]))


def _panels(weight: Tensor) -> Panels:
    """Room for a matrix (m, n) in panels of 16 lanes."""
    rows, columns = weight.shape
    across, along = -(-rows // 16) * 16 * columns, -(-columns // 16) * 16 * rows
    return Panels(torch.zeros(across, dtype=torch.bfloat16), torch.zeros(along, dtype=torch.bfloat16))
