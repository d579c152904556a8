"""Engines: who carries out the pieces that are owed. Local processes here; the interface leaves room for others.

An engine asks the place of work again and again what is owed and ready, hands each piece to a free worker, and tells a
listener what happens. A worker that dies costs only the piece in hand. A piece that fails with an OnsetError is
given up and told at the end; the others go on.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from onset.errors import OnsetError
from onset.work.pieces import Owing, Piece, Place

DEATHS = 3
"""A piece whose worker died so often is given up."""


@dataclass(frozen=True)
class Event:
    """Something that happened to a piece: 'start', 'progress', 'done' or 'failed'."""

    kind: str
    piece: Piece
    data: dict[str, Any] = field(default_factory=dict)


Listener = Callable[[Event], None]


class Engine(Protocol):
    """Carries out what a place of work owes."""

    def carry_out(self, place: Place, listen: Listener) -> dict[str, OnsetError]:
        """Do all that is owed and can be done; returns the pieces given up, by key."""
        ...


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    piece: Piece | None = None


class LocalEngine:
    """Processes on this machine, each with its share of the threads."""

    def __init__(self, workers: int, threads: int) -> None:
        self.workers = workers
        self.threads = threads

    def carry_out(self, place: Place, listen: Listener) -> dict[str, OnsetError]:
        """Do all that is owed and can be done; returns the pieces given up, by key."""
        return _Shift(self, place, listen).work()


class _Shift:
    """One call of the local engine: its workers, what is in hand and what was given up."""

    def __init__(self, engine: LocalEngine, place: Place, listen: Listener) -> None:
        self.engine = engine
        self.place = place
        self.listen = listen
        self.given_up: dict[str, OnsetError] = {}
        self.deaths: dict[str, int] = {}
        self.workers: list[_Worker] = []

    def work(self) -> dict[str, OnsetError]:
        try:
            while True:
                self._hand_out()
                if not any(worker.piece for worker in self.workers):
                    return self.given_up
                self._hear(wait([worker.pipe for worker in self.workers if worker.piece], timeout=1.0))
        finally:
            self._dismiss()

    def _hand_out(self) -> None:
        """Give every free worker the next ready piece; workers are started as they are needed."""
        busy = sum(worker.piece is not None for worker in self.workers)
        free = self.engine.workers - busy
        if free <= 0:
            return
        for piece in self._ready(self.place.owing())[:free]:
            worker = next((one for one in self.workers if one.piece is None), None)
            if worker is None:
                worker = _start(self.place, self.engine.threads)
                self.workers.append(worker)
            worker.piece = piece
            try:
                worker.pipe.send(piece)
            except OSError:  # it died while idle: the piece goes back, a new worker takes it
                self._lost(worker)
                continue
            self.listen(Event("start", piece))

    def _ready(self, owing: Owing) -> list[Piece]:
        in_hand = {worker.piece.key for worker in self.workers if worker.piece}
        return [
            piece
            for piece in owing.pieces
            if piece.key not in in_hand and piece.key not in self.given_up and self.place.ready(piece)
        ]

    def _hear(self, spoken: list[Any]) -> None:
        for worker in [one for one in self.workers if one.pipe in spoken]:
            try:
                while worker.pipe.poll():
                    self._take(worker, *worker.pipe.recv())
            except (EOFError, OSError):
                self._lost(worker)

    def _take(self, worker: _Worker, kind: str, data: dict[str, Any]) -> None:
        assert worker.piece is not None
        piece = worker.piece
        if kind == "failed":
            self.given_up[piece.key] = data["error"]
        if kind in {"done", "failed"}:
            worker.piece = None
        self.listen(Event(kind, piece, data))

    def _lost(self, worker: _Worker) -> None:
        """A worker died: its piece is owed again, unless it has cost several workers already."""
        worker.process.join(timeout=5)
        code = worker.process.exitcode
        self.workers.remove(worker)
        piece = worker.piece
        if piece is None:
            return
        self.deaths[piece.key] = self.deaths.get(piece.key, 0) + 1
        if self.deaths[piece.key] >= DEATHS:
            error = OnsetError(
                f"the worker died {DEATHS} times (last exit code {code})",
                where=piece.key,
                advice="often it was out of memory: use fewer --workers or a smaller batch, then run again",
            )
            self.given_up[piece.key] = error
            self.listen(Event("failed", piece, {"error": error}))

    def _dismiss(self) -> None:
        for worker in self.workers:
            worker.process.terminate()
        for worker in self.workers:
            worker.process.join(timeout=5)
            if worker.process.is_alive():
                worker.process.kill()
            worker.pipe.close()


def _start(place: Place, threads: int) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, place, threads, os.getpid()), daemon=True)
    # Arithmetic libraries read their thread count when they are loaded, before any of our code runs.
    with _environment({"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}):
        process.start()
    theirs.close()
    return _Worker(process, ours)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _serve(pipe: Connection, place: Place, threads: int, parent: int) -> None:
    """A worker's life: take a piece, do it, say so; end with the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent decides
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
    _limit_threads(threads)
    while True:
        try:
            piece: Piece = pipe.recv()
        except EOFError:
            return
        try:
            place.carry_out(piece, threads, lambda data: pipe.send(("progress", data)))
            pipe.send(("done", {}))
        except OnsetError as error:
            pipe.send(("failed", {"error": error}))
        except Exception as error:  # noqa: BLE001 - a bug in one piece must be told, not lose the others
            told = OnsetError(
                f"{type(error).__name__}: {error}",
                where=piece.key,
                advice="this is a fault of onset: please report it with the lines below\n" + traceback.format_exc(),
            )
            pipe.send(("failed", {"error": told}))


def _limit_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _end_with_parent(parent: int) -> None:
    """A parent that was killed cannot say goodbye; its workers must not go on alone."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)
