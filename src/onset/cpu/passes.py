"""Forward and backward passes by hand, for processors: the one door to this room for training.

Two to three times as fast as autograd at the sizes that processors train: matrix products by torch, and all that lies
between them by kernels.c, on buffers made once. Each thread takes its own share of the sequences through the whole
model, in pieces whose activations stay in its cache. ``onset.cpu.build.why_not`` says why they are not used.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from onset.cpu.build import Kernels, kernels
from onset.cpu.flat import Flat
from onset.cpu.train import Matrices, Worker, matrix_names
from onset.errors import OnsetError
from onset.models.contract import CausalModel
from onset.models.transformer import Decoder


def _begin_thread() -> None:
    """Settings of a thread of the pool: one thread for each product, and numbers below 1.2e-38 are 0.

    Processors take a hundred times as long for such subnormal numbers; peaked attention makes them, and a compiler
    that tries a gate's bounds beforehand, in every lane.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


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
        self.matrices = Matrices(master, matrix_names(model.shape), bfloat16=bfloat16)
        busy = min(threads, batch)
        sums = [master.gradients, *(torch.zeros_like(master.gradients) for _ in range(busy - 1))]
        share = -(-batch // busy)
        self.workers = [Worker(model, master, self.matrices, built, part, share, together) for part in sums]
        self.pool = ThreadPoolExecutor(busy, initializer=_begin_thread)

    def run(self, inputs: Tensor, targets: Tensor) -> tuple[float, None]:
        """Mean loss in nats per token of ids (rows, context), and None; the master's gradients are of that mean.

        Targets below 0 do not count. Shares, pieces and sums are in a fixed order: equal input gives equal bits.
        Raises OnsetError for ids outside the vocabulary, which the kernels would take for places in memory.
        """
        assert inputs.shape == targets.shape
        assert inputs.shape[1] == self.context
        for ids in (inputs, targets):
            low, high = ids.aminmax()
            if (low < 0 and ids is inputs) or high >= self.vocab:
                raise OnsetError(
                    f"the batch holds token {int(high)} where the model knows {self.vocab}",
                    advice="make the shards with the tokenizer that the model is trained with",
                )
        self.matrices.renew()
        scale, busy = 1.0 / max(1, int((targets >= 0).sum())), len(self.workers)
        shares = zip(self.workers, inputs.tensor_split(busy), targets.tensor_split(busy), strict=True)
        running = [self.pool.submit(worker.run, ids, right, scale) for worker, ids, right in shares]
        total = sum(share.result() for share in running)
        for worker in self.workers[1:]:
            self.master.gradients.add_(worker.gradients)
        return total * scale, None


def passes(
    model: CausalModel, master: Flat, *, bfloat16: bool, threads: int, batch: int, together: int | None = None
) -> KernelPasses:
    """The passes of a model on so many threads, for batches of so many sequences.

    ``together`` tokens are taken through it at once, by default as many as usual. Raises OnsetError where the kernels
    are not at hand, and for a model other than the paper's decoder.
    """
    if not isinstance(model, Decoder):
        raise OnsetError("the kernels know the paper's decoder alone", advice="train this model with torch")
    built = kernels(bfloat16=bfloat16)
    if built is None:
        raise OnsetError("the kernels are not at hand", advice="install a C compiler, or train with torch")
    return KernelPasses(model, master, built, bfloat16=bfloat16, threads=threads, batch=batch, together=together)
