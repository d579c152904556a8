"""Batches on the device that trains, the next one fetched while the present one is computed on a GPU.

A batch is a function of its step, so nothing of this is part of a run's state.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from onset.data.mixture import Mixture


class Feed:
    """This process's rows of a run's batches."""

    def __init__(self, mixture: Mixture, rows: range, steps: int, device: str, *, ahead: bool | None = None) -> None:
        """``ahead`` says whether to fetch the next batch early: by default on GPUs, whose work leaves the CPU free."""
        self.mixture, self.rows, self.steps, self.device = mixture, rows, steps, device
        self.cuda = torch.device(device).type == "cuda"
        self._pool = ThreadPoolExecutor(1, "batches") if (self.cuda if ahead is None else ahead) else None
        self._next: tuple[int, Future[Tensor]] | None = None

    def batch(self, step: int) -> Tensor:
        """Ids (rows, context + 1) of a step, those that are not to be learnt as ``~id``."""
        if self._pool is None:
            return self._read(step).to(self.device)
        waiting, self._next = self._next, None
        ids = waiting[1].result() if waiting is not None and waiting[0] == step else self._read(step)
        if step + 1 < self.steps:
            self._next = (step + 1, self._pool.submit(self._read, step + 1))
        return ids.to(self.device, non_blocking=self.cuda)

    def close(self) -> None:
        """End the thread that fetches."""
        if self._pool is not None:
            self._pool.shutdown()

    def _read(self, step: int) -> Tensor:
        ids = torch.from_numpy(self.mixture.batch(step, self.rows))
        return ids.pin_memory() if self.cuda else ids


def inputs_and_targets(batch: Tensor) -> tuple[Tensor, Tensor]:
    """Ids to read and to learn, (rows, context) each, of a batch (rows, context + 1); targets below 0 do not count."""
    read = batch[:, :-1]
    return read.where(read >= 0, ~read), batch[:, 1:]
