"""Recovery states: what a resume needs, written every few minutes, at declared checkpoints and when asked to stop.

::

    resume/<step>/  state.json, checksums.json, and state.safetensors of one process or *.distcp of several

One process writes its state before it goes on. Several write through ``torch.distributed.checkpoint``, each its own
rows, while the next steps run. Either kind is taken up by any number of processes.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save
from torch.distributed.tensor import DTensor

from onset import reading
from onset.errors import OnsetError
from onset.store.rundir import RunDir
from onset.study.cost import STATES_KEPT
from onset.train import checkpoint
from onset.train.parallel import Mesh, local_rows


class Saver:
    """Writes a run's recovery states; at most one is on its way at a time."""

    def __init__(self, mesh: Mesh, seconds: float) -> None:
        """``seconds`` are how long at most passes between states."""
        self.mesh, self.seconds = mesh, seconds
        self.written = time.monotonic()
        self._running: tuple[Future[Any], RunDir, int, Path, Mapping[str, Any]] | None = None

    def due(self) -> bool:
        """Whether it is time for another one; the process that leads looks at the clock."""
        return self.mesh.leads and time.monotonic() - self.written > self.seconds

    def write(self, rundir: RunDir, step: int, tensors: dict[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Write the state of a step; called by every process of the mesh."""
        self.finish()
        if self.mesh.size == 1:
            checkpoint.write_state(rundir, step, tensors, facts, STATES_KEPT)
        else:
            beside = checkpoint.beside(checkpoint.state_folder(rundir, step))
            if self.mesh.leads:
                beside.mkdir(parents=True)
            beside = self.mesh.told(beside)
            writer = FileSystemWriter(beside)
            running = async_save(tensors, storage_writer=writer, process_group=self.mesh.files)
            assert isinstance(running, Future)
            self._running = (running, rundir, step, beside, facts)
        self.written = time.monotonic()

    def poll(self) -> None:
        """Put a state in its place where its writing has ended in the meantime."""
        if self._running is not None and self._running[0].done():
            self.finish()

    def finish(self) -> None:
        """Wait for the state on its way, if any, and put it in its place."""
        if self._running is None:
            return
        running, rundir, step, beside, facts = self._running
        self._running = None
        try:
            running.result()
            if self.mesh.leads:
                checkpoint.settle_state(rundir, step, beside, facts, STATES_KEPT)
        except (OSError, CheckpointException) as error:
            shutil.rmtree(beside, ignore_errors=True)
            raise OnsetError(
                f"cannot write: {error}",
                where=checkpoint.state_folder(rundir, step),
                advice="free some space or choose another folder with --out, then run the same command again",
            ) from error


@torch.no_grad()
def fill(folder: Path, tensors: dict[str, Tensor], mesh: Mesh) -> None:
    """Put the state of a folder that ``checkpoint.fault`` found whole into tensors of its names and shapes."""
    if not (folder / checkpoint.STATE).exists():
        load(
            tensors,
            storage_reader=FileSystemReader(folder),
            process_group=mesh.files,
            no_dist=mesh.size == 1,
        )
        return
    with safe_open(folder / checkpoint.STATE, "pt") as stored:
        for name, tensor in tensors.items():
            if isinstance(tensor, DTensor):
                rows = local_rows(tensor)
                tensor.to_local().copy_(stored.get_slice(name)[rows.start : rows.stop])
            else:
                tensor.copy_(stored.get_tensor(name))


def facts_of(folder: Path) -> dict[str, Any]:
    """What a state says of itself."""
    return reading.json_object(folder / "state.json", advice="delete this state: the run goes on from an older one")
