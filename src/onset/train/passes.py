"""Forward and backward passes: a batch in, its mean loss out, and the gradients in the flat buffer.

``TorchPasses`` is autograd, for any device. ``KernelPasses`` is the same by hand for CPUs, two to three times as
fast at the sizes that CPUs train: matrix products by our own code or torch, and all that lies between them by
kernels.c, on buffers made once. Each thread takes its own share of the sequences through the whole model, in
pieces whose activations stay in its cache.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from onset.cpu.build import Kernels, kernels
from onset.cpu.flat import Flat
from onset.cpu.matrices import Matrices
from onset.cpu.train import Worker, matrix_names
from onset.errors import OnsetError
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


class KernelPasses:
    """Passes by hand on ``threads`` threads of a CPU."""

    def __init__(
        self,
        model: Decoder,
        master: Flat,
        built: Kernels,
        *,
        bfloat16: bool,
        threads: int,
        batch: int,
        together: int | None = None,
    ) -> None:
        self.master = master
        self.vocab, self.context = model.vocab, model.shape.context
        self.matrices = Matrices(master, built, matrix_names(model.shape), bfloat16=bfloat16)
        busy = min(threads, batch)
        sums = [master.gradients, *(torch.zeros_like(master.gradients) for _ in range(busy - 1))]
        share = -(-batch // busy)
        self.workers = [Worker(model, master, self.matrices, part, share, together) for part in sums]
        self.pool = ThreadPoolExecutor(busy, initializer=torch.set_num_threads, initargs=(1,))

    def run(self, inputs: Tensor, targets: Tensor) -> float:
        """See ``Passes``. Shares, pieces and sums are in a fixed order: equal input gives equal bits.

        Raises OnsetError for ids outside the vocabulary, which the kernels would take for places in memory.
        """
        assert inputs.shape == targets.shape
        assert inputs.shape[1] == self.context
        for ids in (inputs, targets):
            low, high = ids.aminmax()
            if low < 0 or high >= self.vocab:
                raise OnsetError(
                    f"the batch holds token {int(high)} where the model knows {self.vocab}",
                    advice="make the shards with the tokenizer that the model is trained with",
                )
        self.matrices.renew()
        scale, busy = 1.0 / targets.numel(), len(self.workers)
        shares = zip(self.workers, inputs.tensor_split(busy), targets.tensor_split(busy), strict=True)
        running = [self.pool.submit(worker.run, ids, right, scale) for worker, ids, right in shares]
        total = sum(share.result() for share in running)
        for worker in self.workers[1:]:
            self.master.gradients.add_(worker.gradients)
        return total * scale


def passes(model: Decoder, master: Flat, arithmetic: Arithmetic, batch: int) -> Passes:
    """The passes that an arithmetic says, for batches of so many sequences."""
    if arithmetic.engine == "kernels":
        built = kernels(bfloat16=arithmetic.bfloat16)
        assert built is not None, "the arithmetic was chosen with the kernels at hand"
        return KernelPasses(
            model, master, built, bfloat16=arithmetic.bfloat16, threads=arithmetic.threads, batch=batch,
            together=arithmetic.together,
        )  # fmt: skip
    return TorchPasses(
        model, master, bfloat16=arithmetic.bfloat16, compiled=arithmetic.engine == "compiled",
        together=arithmetic.together, recompute=arithmetic.recompute,
    )  # fmt: skip
