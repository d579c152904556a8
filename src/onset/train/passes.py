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
from onset.models.transformer import Decoder
from onset.study.cost import TORCH_PIECE_TOKENS
from onset.train.loss import ChunkedLoss, chunk_loss
from onset.train.precision import Arithmetic

COMPILER = "inductor"
"""Backend of torch.compile."""


class Passes(Protocol):
    """Fills the master's gradients from a batch."""

    def run(self, inputs: Tensor, targets: Tensor) -> float:
        """Mean loss in nats per token of ids (rows, context); the master's gradients are of that mean."""
        ...


class TorchPasses:
    """Passes by autograd; with bfloat16 on a copy of the model that is renewed before each."""

    def __init__(
        self,
        model: Decoder,
        master: Flat,
        *,
        bfloat16: bool,
        compiled: bool,
        together: int | None = None,
        recompute: bool = False,
    ) -> None:
        """``together`` and ``recompute`` are those of ``Arithmetic``."""
        self.master = self.copy = master
        self.together = together or TORCH_PIECE_TOKENS
        self.worker = model
        if bfloat16:
            self.worker = Decoder(model.shape, model.vocab, seed=None).to(model.embedding.device, torch.bfloat16)
            self.copy = Flat(self.worker)
        if compiled:
            torch.compiler.reset()  # torch gives up a function compiled for more than eight shapes in one process
        hidden = partial(self.worker.hidden, recompute=recompute)
        self.hidden = torch.compile(hidden, fullgraph=True, dynamic=False, backend=COMPILER) if compiled else hidden
        self.chunk = torch.compile(chunk_loss, fullgraph=True, backend=COMPILER) if compiled else chunk_loss

    def run(self, inputs: Tensor, targets: Tensor) -> float:
        """See ``Passes``."""
        if self.copy is not self.master:
            self.copy.values.copy_(self.master.values)
        self.master.gradients.zero_()
        together = max(1, self.together // inputs.shape[1])
        total = torch.zeros((), device=inputs.device)
        for ids, right in zip(inputs.split(together), targets.split(together), strict=True):
            states = self.hidden(ids).flatten(0, 1)
            share = 1 / targets.numel()
            loss = ChunkedLoss.apply(states, self.worker.output_matrix, right.flatten(), share, self.chunk)
            if self.copy is not self.master:
                self.copy.gradients.zero_()
            loss.backward()
            if self.copy is not self.master:
                self.master.gradients.add_(self.copy.gradients)
            total += loss.detach()
        return float(total)


def passes(model: Decoder, master: Flat, arithmetic: Arithmetic, batch: int) -> Passes:
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
