"""Engines: who carries out the pieces that are owed. Local processes here, a Ray cluster in ``ray_engine``.

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
from pathlib import Path
from typing import Any, Protocol

from onset.errors import OnsetError
from onset.work.ledger import Owing, Piece, Place, Report
from onset.work.resources import Held, Machine, Room, Seat, cores, this_machine

DEATHS = 3
"""A piece whose worker died so often is given up."""

PAUSE_SECONDS = 1.0
"""A piece whose worker died rests so long before it is tried again: what made room for it may need a moment."""

SETTLE_SECONDS = 5.0
"""A piece that was told done is not handed out again for so long: a shared file system or a store may show it late."""


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


def choose_engine(
    name: str,
    workers: int | None,
    runs: int,
    *,
    out: Path | str,
    threads: int | None = None,
    processes: int = 1,
    gpus: float | None = None,
    address: str | None = None,
) -> Engine:
    """The engine of that name ('local' or 'ray') for a study of so many runs.

    ``out`` is the study's folder or its URL in a store. By default there are as many local workers as cores, the
    threads shared out; ``processes`` and ``gpus`` are what one training
    gets; ``address`` is that of the Ray cluster. Raises OnsetError for a name that is not known or not installed.
    """
    if name == "ray":
        from onset.work.engines.ray import RayEngine

        return RayEngine(out, runs, address=address, threads=threads, processes=processes, gpus=gpus)
    if name != "local":
        raise OnsetError(f"no engine named '{name}'", advice="known: local, ray")
    if address is not None:
        raise OnsetError("--ray-address is for the engine 'ray'", advice="add --engine ray")
    count = workers or max(1, min(cores() // (threads or 1), runs * processes))
    return LocalEngine(count, threads or max(1, cores() // count), processes=processes, gpus=gpus)


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    piece: Piece | None = None


class LocalEngine:
    """Processes on this machine, each with its share of the threads and, where there are any, a place on a GPU."""

    def __init__(
        self,
        workers: int,
        threads: int,
        *,
        processes: int = 1,
        gpus: float | None = None,
        machine: Machine | None = None,
    ) -> None:
        """At most ``workers`` processes of ``threads`` each; ``processes``, ``gpus`` and ``machine`` as in ``Room``."""
        self.workers = workers
        self.threads = threads
        self.processes = processes
        self.gpus = gpus
        self.machine = machine

    def carry_out(self, place: Place, listen: Listener) -> dict[str, OnsetError]:
        """Do all that is owed and can be done; returns the pieces given up, by key."""
        machine = self.machine or this_machine(self.gpus)
        room = Room(machine, self.workers, self.threads, processes=self.processes, gpus=self.gpus)
        return _Shift(self, place, listen, room).work()


class Setbacks:
    """What went wrong with pieces: workers that died on them, how long each then rests, and which are given up."""

    def __init__(self, listen: Listener, pause: float = PAUSE_SECONDS) -> None:
        self.listen, self.pause = listen, pause
        self.given_up: dict[str, OnsetError] = {}
        self.deaths: dict[str, int] = {}
        self._rests: dict[str, float] = {}

    def resting(self, key: str) -> bool:
        """Whether a piece is not to be tried yet."""
        return time.monotonic() < self._rests.get(key, 0.0)

    def rest(self, key: str, seconds: float) -> None:
        """Leave a piece alone for so long."""
        self._rests[key] = time.monotonic() + seconds

    def give_up(self, piece: Piece, error: OnsetError) -> None:
        """The piece is not tried again in this call."""
        self.given_up[piece.key] = error
        self.listen(Event("failed", piece, {"error": error}))

    def lost(self, piece: Piece, how: str, advice: str) -> None:
        """A worker died with the piece in hand: it is owed again, unless it has cost several workers already."""
        count = self.deaths[piece.key] = self.deaths.get(piece.key, 0) + 1
        if count >= DEATHS:
            what = f"the worker died {DEATHS} times ({how})"
            self.give_up(piece, OnsetError(what, where=piece.key, advice=advice))
            return
        self.rest(piece.key, self.pause * 2 ** (count - 1))
        self.listen(Event("progress", piece, {"notice": f"a worker was lost ({how}): '{piece.key}' is tried again"}))

    def failed(self, piece: Piece, error: OnsetError) -> None:
        """The piece ended with an error: given up, unless only the one who died on it still holds its run."""
        if isinstance(error, Held) and piece.key in self.deaths:
            self.lost(piece, "its run is still held", error.advice or "")
        else:
            self.give_up(piece, error)


class _Shift:
    """One call of the local engine: its workers, what is in hand and what was given up."""

    def __init__(self, engine: LocalEngine, place: Place, listen: Listener, room: Room) -> None:
        self.engine = engine
        self.place = place
        self.listen = listen
        self.room = room
        self.setbacks = Setbacks(listen)
        self.workers: list[_Worker] = []

    def work(self) -> dict[str, OnsetError]:
        try:
            while True:
                waiting = self._hand_out()
                busy = [worker.pipe for worker in self.workers if worker.piece]
                if not busy and not waiting:
                    return self.setbacks.given_up
                self._hear(wait(busy, timeout=1.0)) if busy else time.sleep(0.05)
        finally:
            self._dismiss()

    def _hand_out(self) -> bool:
        """Seat every ready piece that fits, the longest first; returns whether some wait to be tried again.

        A training that finds no seat is waited for: no other passes it, or the largest would never start. Only
        evaluations, which are short, may.
        """
        trainings, waiting = True, False
        for piece in self._ready(self.place.owing()):
            if self.setbacks.resting(piece.key):
                waiting = True
                continue
            if piece.kind == "train" and not trainings:
                continue
            alone = piece.kind != "train"
            try:
                seat = self.room.take(piece.key, self.place.need(piece, self.engine.threads), alone=alone)
            except OnsetError as error:
                self.setbacks.give_up(piece, OnsetError(error.what, where=piece.key, advice=error.advice))
                continue
            if seat is None:
                trainings = trainings and alone
                if len(self.room.taken) >= self.engine.workers:
                    break
                continue
            self._hand_over(piece, seat)
        return waiting

    def _hand_over(self, piece: Piece, seat: Seat) -> None:
        """Give a piece to a free worker, started where there is none."""
        worker = next((one for one in self.workers if one.piece is None), None)
        if worker is None:
            worker = _start(self.place, self.engine.threads)
            self.workers.append(worker)
        worker.piece = piece
        self.listen(Event("start", piece))
        try:
            worker.pipe.send((piece, seat))
        except OSError:  # it died while idle
            self._lost(worker)

    def _ready(self, owing: Owing) -> list[Piece]:
        return [
            piece
            for piece in owing.pieces
            if piece.key not in self.room.taken and piece.key not in self.setbacks.given_up and self.place.ready(piece)
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
        if kind in {"done", "failed"}:
            worker.piece = None
            self.room.leave(piece.key)
        if kind == "failed":
            self.setbacks.failed(piece, data["error"])
            return
        if kind == "done":
            self.setbacks.rest(piece.key, SETTLE_SECONDS)
        self.listen(Event(kind, piece, data))

    def _lost(self, worker: _Worker) -> None:
        worker.process.join(timeout=5)
        self.workers.remove(worker)
        if worker.piece is None:
            return
        self.room.leave(worker.piece.key)
        advice = "often it was out of memory: use fewer --workers or a smaller batch, then run again"
        self.setbacks.lost(worker.piece, f"exit code {worker.process.exitcode}", advice)

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
    threading.Thread(target=end_with_parent, args=(parent,), daemon=True).start()
    limit_threads(threads)
    while True:
        try:
            piece, seat = pipe.recv()
        except EOFError:
            return
        error = do(place, piece, seat, lambda data: pipe.send(("progress", data)))
        try:
            pipe.send(("done", {}) if error is None else ("failed", {"error": error}))
        except OSError:  # the parent is gone: what was made is on disk, and there is nobody to tell
            return


def do(place: Place, piece: Piece, seat: Seat, report: Report) -> OnsetError | None:
    """Carry a piece out in this process; what went wrong is returned, a bug told as one."""
    try:
        place.carry_out(piece, seat, report)
    except OnsetError as error:
        return error
    except Exception as error:  # noqa: BLE001 - a bug in one piece must be told, not lose the others
        return OnsetError(
            f"{type(error).__name__}: {error}",
            where=piece.key,
            advice="this is a fault of onset: please report it with the lines below\n" + traceback.format_exc(),
        )
    return None


def limit_threads(threads: int) -> None:
    """So many threads for torch in this process."""
    import torch

    torch.set_num_threads(threads)


def end_with_parent(parent: int) -> None:
    """A parent that was killed cannot say goodbye; its workers must not go on alone."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)
