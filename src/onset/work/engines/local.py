"""The executor for one machine: processes, each with its share of the threads and, where there are any, a GPU.

A worker that dies costs only the piece in hand. Workers are kept from piece to piece.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from onset.errors import OnsetError
from onset.work.engines.process import attempt, end_with_parent, environment, limit_threads
from onset.work.engines.scheduler import Message, Options, Scheduler
from onset.work.engines.sharded import run_here
from onset.work.piece import Control, Ledger, Listener, Piece, Runner
from onset.work.resources import Machine, Need, Packer, Slot, this_machine

PAUSE_SECONDS = 1.0
"""A piece whose worker died rests so long before it is tried again: what made room for it may need a moment."""

END_SECONDS = 5.0
"""Workers that have nothing in hand may take so long to end."""


class LocalEngine:
    """Processes on this machine."""

    def __init__(
        self,
        workers: int,
        threads: int,
        *,
        processes: int = 1,
        gpus: float | None = None,
        machine: Machine | None = None,
    ) -> None:
        """At most ``workers`` processes of ``threads`` each; ``processes``, ``gpus``, ``machine`` as in ``Packer``."""
        self.workers, self.threads = workers, threads
        self.processes, self.gpus, self.machine = processes, gpus, machine

    def has_gpus(self) -> bool:
        """Whether pieces are carried out on GPUs."""
        return self.gpus != 0 and bool((self.machine or this_machine(self.gpus)).gpus)

    def run(
        self, ledger: Ledger, run: Runner, listen: Listener, options: Options | None = None
    ) -> dict[str, OnsetError]:
        """Do all that is pending and can be done; returns the pieces that were given up, by key."""
        machine = self.machine or this_machine(self.gpus)
        packer = Packer(machine, self.workers, self.threads, processes=self.processes, gpus=self.gpus)
        return Scheduler(ledger, _LocalExecutor(ledger, run, packer), listen, options).run()


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    piece: Piece | None = None


class _LocalExecutor:
    pause, patience = PAUSE_SECONDS, 0.0

    def __init__(self, ledger: Ledger, run: Runner, packer: Packer) -> None:
        self.ledger, self.run, self.packer = ledger, run, packer
        self.threads, self.workers = packer.threads, packer.workers
        self.pool: list[_Worker] = []

    def allocate(self, piece: Piece, need: Need) -> Slot | None:
        return self.packer.allocate(piece.key, need, single=piece.kind != "train")

    def release(self, piece: Piece) -> None:
        self.packer.release(piece.key)

    def submit(self, piece: Piece, slot: Slot) -> None:
        """Give a piece to a free worker, started where there is none."""
        worker = next((one for one in self.pool if one.piece is None), None)
        if worker is None:
            worker = _start(self.ledger, self.run, self.threads)
            self.pool.append(worker)
        worker.piece = piece
        with suppress(OSError):  # it died while idle, which the end of its pipe tells
            worker.pipe.send((piece, slot))

    def wait(self, seconds: float, tell: Callable[[Message], None]) -> None:
        busy = {worker.pipe: worker for worker in self.pool if worker.piece}
        if not busy:
            time.sleep(seconds)
            return
        for pipe in wait(list(busy), timeout=seconds):
            worker = busy[pipe]  # type: ignore[index]
            try:
                while worker.pipe.poll():
                    self._take(worker, worker.pipe.recv(), tell)
            except (EOFError, OSError):
                self._lost(worker, tell)

    def _take(self, worker: _Worker, said: tuple[str, dict[str, object]], tell: Callable[[Message], None]) -> None:
        kind, data = said
        assert worker.piece is not None
        key = worker.piece.key
        if kind != "progress":
            worker.piece = None
        tell(Message(kind, key, data))  # type: ignore[arg-type]

    def _lost(self, worker: _Worker, tell: Callable[[Message], None]) -> None:
        worker.process.join(timeout=END_SECONDS)
        self.pool.remove(worker)
        if worker.piece is not None:
            advice = "often it was out of memory: use fewer --workers or a smaller batch, then run again"
            how = f"exit code {worker.process.exitcode}"
            tell(Message("lost", worker.piece.key, {"how": how, "advice": advice}))

    def stop(self) -> None:
        for worker in self.pool:
            if worker.piece is not None and worker.process.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(worker.process.pid, signal.SIGTERM)

    def close(self) -> None:
        """An idle worker ends when its pipe is closed; one that is busy is killed."""
        for worker in self.pool:
            if worker.piece is not None:
                worker.process.kill()
            worker.pipe.close()
        for worker in self.pool:
            worker.process.join(timeout=END_SECONDS)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join(timeout=END_SECONDS)


def _start(ledger: Ledger, run: Runner, threads: int) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, ledger, run, threads, os.getpid()), daemon=True)
    # Arithmetic libraries read their thread count when they are loaded, before any of our code runs.
    with environment({"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}):
        process.start()
    theirs.close()
    return _Worker(process, ours)


def _serve(pipe: Connection, ledger: Ledger, run: Runner, threads: int, parent: int) -> None:
    """A worker's life: take a piece, do it, say so; end with the parent.

    SIGTERM asks the piece in hand to stop. Ctrl-C reaches the whole group of processes: the parent decides.
    """
    stop = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    threading.Thread(target=end_with_parent, args=(parent,), daemon=True).start()
    limit_threads(threads)
    control = Control(lambda data: pipe.send(("progress", data)), stop.is_set)
    while True:
        try:
            piece, slot = pipe.recv()
        except EOFError:
            return
        how = partial(run_here, run) if piece.kind == "train" and len(slot.devices) > 1 else run
        error = attempt(how, ledger, piece, slot, control)
        try:
            pipe.send(("done", {}) if error is None else ("failed", {"error": error}))
        except OSError:  # the parent is gone: what was made is on disk, and there is nobody to tell
            return
