"""What is pending of asking checkpoints tasks and measuring their losses: the part that all ledgers share.

A part that exists is complete, so pending work is the set of parts that are absent. All files are looked at once
a minute; in between the ledger hears what happens to pieces and looks at no other files than theirs, since a large
study has thousands of parts on a file system that many machines share.
"""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from onset.store.rundir import RunDir
from onset.study.spec import digest_of
from onset.tasks.task import Task
from onset.work.chunks import chunks, join
from onset.work.piece import Event, Pending, Piece
from onset.work.resources import Need

REFRESH_SECONDS = 60.0
"""How often all files are looked at."""

RECHECK_SECONDS = 4.0
"""A piece whose end was reported and whose parts are absent is looked at again after so long: a shared file system or
a store may show them late."""


@dataclass(frozen=True)
class Missing:
    """What is absent of a checkpoint's evaluation."""

    loss: bool
    tasks: tuple[str, ...]

    def __bool__(self) -> bool:
        return self.loss or bool(self.tasks)


class EvaluationLedger(ABC):
    """What is pending of asking checkpoints tasks and measuring their losses: the part that all ledgers share."""

    divide_always = False
    refresh_seconds = REFRESH_SECONDS

    def __init__(self) -> None:
        self._missing: dict[tuple[str, int], Missing] = {}
        self._undone: dict[tuple[str, int, str], set[int]] = {}
        self._recheck: dict[Piece, float] = {}
        self._looked: float | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Rendered tasks stay behind; what was seen is for the process that asks.
        state = {key: value for key, value in self.__dict__.items() if key not in ("tasks", "trunks")}
        return state | {"_missing": {}, "_undone": {}, "_recheck": {}, "_looked": None}

    @property
    @abstractmethod
    def tasks(self) -> Mapping[str, Task]:
        """The tasks by name, as they are asked."""

    @abstractmethod
    def checkpoints(self) -> Iterable[tuple[str, int]]:
        """All checkpoints to evaluate: run and step."""

    @abstractmethod
    def folder(self, run: str) -> RunDir:
        """Where a run's rows go."""

    @abstractmethod
    def loss_missing(self, run: str, step: int) -> bool:
        """Whether held-out losses of a checkpoint are absent."""

    @abstractmethod
    def need(self, piece: Piece, threads: int) -> Need:
        """The memory that a piece takes."""

    @property
    @abstractmethod
    def dtype(self) -> str:
        """The number format that models are read in: 'float32', 'bfloat16', 'float16', or 'auto' for that on disk."""

    @cached_property
    def task_digests(self) -> dict[str, str]:
        """Digest of each task and of the number format that it is asked in; rendered once a process."""
        return {name: rows_digest(task, self.dtype) for name, task in self.tasks.items()}

    @cached_property
    def chunk_counts(self) -> dict[str, int]:
        """How many chunks each task has."""
        return {name: len(chunks(task)) for name, task in self.tasks.items()}

    def pending(self, *, fresh: bool = False) -> Pending:
        """What is done and pending; ``fresh`` looks at all files now."""
        now = time.monotonic()
        if fresh or self._looked is None or now - self._looked >= self.refresh_seconds:
            self._look()
            self._looked = now
        for piece in [piece for piece, due in self._recheck.items() if now >= due]:
            del self._recheck[piece]
            self._look_at(piece)
        return self._summary()

    def ready(self, piece: Piece) -> bool:
        """Whether a piece can start."""
        return True

    def divide(self, piece: Piece) -> tuple[Piece, ...]:
        """The parts of a checkpoint's evaluation that are pending: its losses, and the chunks of its tasks."""
        missing = self._missing.get((piece.run, piece.step))
        if piece.kind != "evaluate" or piece.task or missing is None:
            return (piece,)
        parts = [replace(piece, kind="loss")] if missing.loss else []
        for name in missing.tasks:
            undone = sorted(self._chunks(piece.run, piece.step, name))
            parts += [replace(piece, task=name, chunk=number) for number in undone]
        return tuple(parts)

    def hear(self, event: Event) -> None:
        """Take note of what happened to a piece, looking at no files but its own."""
        piece = event.piece
        if event.kind not in ("done", "failed"):
            return
        if piece.task and piece.chunk is not None:
            self._undone.get((piece.run, piece.step, piece.task), set()).discard(piece.chunk)
            self._join(piece.run, piece.step, piece.task)
        self._look_at(piece)
        if event.kind == "done" and self._still_pending(piece):
            self._recheck[piece] = time.monotonic() + RECHECK_SECONDS

    def join_chunks(self) -> None:
        """Join the chunks that are all there, and remove those of parts that are whole: for the one command at work."""
        for run, step in self.checkpoints():
            if any(name.endswith(".chunks") for name in _names(self.folder(run).item_folder(step))):
                for task in self.tasks:
                    self._join(run, step, task)

    def missing(self, run: str, step: int) -> Missing:
        """What is absent of a checkpoint's evaluation, by looking now."""
        rundir = self.folder(run)
        there = _names(rundir.item_folder(step)) if self.task_digests else frozenset()
        absent = [
            name for name, digest in self.task_digests.items() if rundir.items(step, name, digest).name not in there
        ]
        return Missing(self.loss_missing(run, step), tuple(absent))

    def _look(self) -> None:
        """Look at all files."""
        self._undone.clear()
        self._missing = {(run, step): self.missing(run, step) for run, step in self.checkpoints()}

    def _look_at(self, piece: Piece) -> None:
        """Look at the files of one piece."""
        self._missing[piece.run, piece.step] = self.missing(piece.run, piece.step)

    def _still_pending(self, piece: Piece) -> bool:
        missing = self._missing[piece.run, piece.step]
        if piece.task:
            return piece.task in missing.tasks and not self._undone.get((piece.run, piece.step, piece.task))
        return missing.loss if piece.kind == "loss" else bool(missing)

    def _summary(self) -> Pending:
        pieces = [Piece("evaluate", run, step, 1.0) for (run, step), absent in self._missing.items() if absent]
        return Pending(len(self._missing) - len(pieces), tuple(pieces))

    def _chunks(self, run: str, step: int, task: str) -> set[int]:
        """The chunks of a task that are absent: looked up once, and after that heard of."""
        key = (run, step, task)
        if key not in self._undone:
            every = range(self.chunk_counts[task])
            folder = self.folder(run).chunks(step, task, self.task_digests[task])
            there = _names(folder) if len(every) > 1 else frozenset()
            self._undone[key] = {number for number in every if f"{number:04d}.parquet" not in there}
        return self._undone[key]

    def _join(self, run: str, step: int, task: str) -> None:
        digest, rundir = self.task_digests[task], self.folder(run)
        if not self._undone.get((run, step, task)) and rundir.chunks(step, task, digest).is_dir():
            join(self.tasks[task], digest, rundir, step)
            self._undone.pop((run, step, task), None)


def rows_digest(task: Task, dtype: str) -> str:
    """What item rows depend on beside the model: a task as it is asked, and the number format where not float32."""
    return task.digest() if dtype in ("float32", "auto") else digest_of([task.digest(), dtype])


def _names(folder: Path) -> frozenset[str]:
    """Names in a folder, in one call; none where it is absent."""
    try:
        return frozenset(os.listdir(folder))
    except FileNotFoundError:
        return frozenset()
