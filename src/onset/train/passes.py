"""Forward and backward passes: a batch in, its mean loss out, and the gradients in the flat buffer.

``TorchPasses`` is autograd, for any device; ``onset.cpu.passes`` is the same by hand for processors.
"""

from __future__ import annotations

from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from onset.cpu import passes as cpu
from onset.cpu.flat import Flat
from onset.models.contract import CausalModel
from onset.study.cost import TORCH_PIECE_TOKENS
from onset.train.loss import ChunkedLoss, chunk_loss
from onset.train.precision import Arithmetic

COMPILER = "inductor"
"""Backend of torch.compile."""


class Passes(Protocol):
    """Fills the master's gradients from a batch."""

    def run(self, inputs: Tensor, targets: Tensor) -> tuple[float, float | None]:
        """Mean loss in nats per token of ids (rows, context), and the model's auxiliary loss, or None without one.

        Targets below 0 do not count. The master's gradients are of the sum of both losses.
        """
        ...


class TorchPasses:
    """Passes by autograd; with bfloat16 on a copy of the model that is renewed before each."""

    def __init__(
        self,
        model: CausalModel,
        master: Flat,
        *,
        bfloat16: bool,
        compiled: bool,
        together: int | None = None,
        recompute: int = 0,
    ) -> None:
        """``together`` and ``recompute`` are those of ``Arithmetic``."""
        self.master = self.copy = master
        self.together = together or TORCH_PIECE_TOKENS
        self.worker = model
        if bfloat16:
            self.worker = model.blank().to(master.values.device, torch.bfloat16)
            self.copy = Flat(self.worker)
        if compiled:
            torch.compiler.reset()  # torch gives up a function compiled for more than eight shapes in one process
        read = partial(self.worker.read, recompute=recompute)
        self.read = torch.compile(read, fullgraph=True, dynamic=False, backend=COMPILER) if compiled else read
        self.chunk = torch.compile(chunk_loss, fullgraph=True, backend=COMPILER) if compiled else chunk_loss

    def run(self, inputs: Tensor, targets: Tensor) -> tuple[float, float | None]:
        """See ``Passes``."""
        if self.copy is not self.master:
            self.copy.values.copy_(self.master.values)
        self.master.gradients.zero_()
        together = max(1, self.together // inputs.shape[1])
        total = torch.zeros((), device=inputs.device)
        beside: Tensor | None = None
        share = 1 / max(1, int((targets >= 0).sum()))
        for ids, right in zip(inputs.split(together), targets.split(together), strict=True):
            states, auxiliary = self.read(ids)
            loss = ChunkedLoss.apply(
                states.flatten(0, 1), self.worker.output_matrix, right.flatten(), share, self.chunk
            )
            if self.copy is not self.master:
                self.copy.gradients.zero_()
            part = None if auxiliary is None else auxiliary * (len(ids) / len(inputs))
            (loss if part is None else loss + part).backward()
            if self.copy is not self.master:
                self.master.gradients.add_(self.copy.gradients)
            total += loss.detach()
            if part is not None:
                beside = part.detach() if beside is None else beside + part.detach()
        return float(total), None if beside is None else float(beside)


def passes(model: CausalModel, master: Flat, arithmetic: Arithmetic, batch: int) -> Passes:
    """The passes that an arithmetic says, for batches of so many sequences."""
    if arithmetic.engine == "kernels":
        return cpu.passes(
            model, master, bfloat16=arithmetic.bfloat16, threads=arithmetic.threads, batch=batch,
            together=arithmetic.together,
        )  # fmt: skip
    return TorchPasses(
        model, master, bfloat16=arithmetic.bfloat16, compiled=arithmetic.engine == "compiled",
        together=arithmetic.together, recompute=arithmetic.recompute,
    )  # fmt: skip
