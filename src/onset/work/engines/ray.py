"""The executor for a cluster: every piece is a Ray task with its cores, memory and GPUs.

What is done and pending is read from the study's folder, which every node must see, or from the store that keeps it:
Ray carries no results, only the news of them. So a task, a worker or a node that dies costs the piece in hand and
nothing else; it is tried again elsewhere, and after several deaths reported as failed. If the machine that gave the
command dies, the same command, given again, goes on.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from onset.errors import OnsetError
from onset.store.object_store import is_url, study_folder
from onset.study.cost import usable
from onset.work.engines.cluster import connected, mailbox, nodes, reporting, require_ray
from onset.work.engines.process import attempt, enter, limit_threads
from onset.work.engines.scheduler import Message, NoNode, Options, Scheduler
from onset.work.engines.sharded import Share, run_sharded
from onset.work.piece import Ledger, Listener, Piece, Runner
from onset.work.resources import PROCESS_BYTES, Need, Slot

TURN_SECONDS = 0.5
"""How often the executor looks for news."""

PATIENCE_SECONDS = 60.0
"""So long a node on which a piece would fit is waited for, with nothing in hand: nodes restart, clusters grow."""

PAUSE_SECONDS = 2.0
"""The first rest of a piece whose worker died; what it left behind on its node needs a moment to end."""


@dataclass(frozen=True)
class _Ask:
    """What a piece asks: so many processes, each with cores, bytes of memory and GPUs."""

    processes: int
    cores: int
    memory: int
    gpus: float

    def fits(self, free: list[dict[str, float]]) -> bool:
        """Whether all of its processes find a place on the nodes together."""
        return sum(self._places(node) for node in free) >= self.processes

    def _places(self, node: dict[str, float]) -> int:
        places = [int(node.get("CPU", 0) // self.cores), int(node.get("memory", float(2**62)) // self.memory)]
        if self.gpus:
            places.append(int(node.get("GPU", 0) / self.gpus + 1e-9))
        return max(0, min(places))


class RayEngine:
    """Tasks on a Ray cluster, or on this machine's Ray where no address is given and none is running."""

    def __init__(
        self,
        out: Path | str,
        runs: int,
        *,
        address: str | None = None,
        threads: int | None = None,
        processes: int = 1,
        gpus: float | None = None,
    ) -> None:
        """``threads`` of each process; ``processes`` on CPUs or ``gpus`` (a share of one, or several) a training.

        ``out`` is the study's folder, which all nodes must see, or its URL in a store that all reach.
        By default the cluster's cores are shared out over the runs, and a training gets one GPU where there are any.
        Raises OnsetError where Ray is not installed or the address is of its client, which sees no files.
        """
        self.address = require_ray(address)
        self.out, self.runs = None if is_url(out) else study_folder(out).resolve(), runs
        self.threads, self.processes, self.gpus = threads, processes, gpus

    def has_gpus(self) -> bool:
        """Whether pieces are carried out on GPUs: as asked, else where any node has one."""
        if self.gpus is not None:
            return self.gpus > 0
        with connected(self.address):
            return any(node.get("GPU", 0) for node in nodes())

    def run(
        self, ledger: Ledger, run: Runner, listen: Listener, options: Options | None = None
    ) -> dict[str, OnsetError]:
        """Do all that is pending and can be done; returns the pieces that were given up, by key."""
        with connected(self.address), _token(self.out) as token:
            return Scheduler(ledger, _RayExecutor(self, ledger, run, token), listen, options).run()


class _RayExecutor:
    pause, patience = PAUSE_SECONDS, PATIENCE_SECONDS

    def __init__(self, engine: RayEngine, ledger: Ledger, run: Runner, token: Path | None) -> None:
        import ray

        found = nodes()
        self.threads = engine.threads or _shared_out(found, engine.runs * engine.processes)
        self.processes = engine.processes
        some = any(node.get("GPU", 0) for node in found)
        self.gpus = float(some) if engine.gpus is None else engine.gpus
        self.storage = engine.out
        self.mailbox = mailbox()
        self.asked: Any = None
        self.context = ray.put((ledger, run, os.getcwd(), token))
        self.asks: dict[str, _Ask] = {}
        self.tasks: dict[Any, Piece] = {}
        self.workers = 1
        self._count_workers(found)

    def allocate(self, piece: Piece, need: Need) -> Slot | None:
        """Ray itself would queue all of it, but in no order of ours, and a queue cannot be told that a run changed."""
        ask, found = self._ask(piece, need), nodes()
        self._count_workers(found)
        if not ask.fits(found):
            raise NoNode(
                f"no node of the cluster has {ask.cores} cores, {ask.memory / 1e9:.1f} GB and {ask.gpus:g} GPUs"
                + (f" for each of {ask.processes} processes" if ask.processes > 1 else ""),
                advice="lower --threads or --gpus",
            )
        free = {name: sum(node.get(name, 0) for node in found) for name in ("CPU", "GPU")}
        for other in self.asks.values():
            free["CPU"] -= other.processes * other.cores
            free["GPU"] -= other.processes * other.gpus
        if ask.processes * ask.cores > free["CPU"] or ask.processes * ask.gpus > free["GPU"] + 1e-9:
            return None
        self.asks[piece.key] = ask
        if ask.gpus:
            count = ask.processes
            return Slot(self.threads, tuple(f"cuda:{index}" for index in range(count)))
        return Slot(self.threads, ("cpu",) * ask.processes)

    def release(self, piece: Piece) -> None:
        self.asks.pop(piece.key, None)

    def submit(self, piece: Piece, slot: Slot) -> None:
        import ray

        ask = self.asks[piece.key]
        # Arithmetic libraries read their thread count when they are loaded, before any of our code runs.
        environment = {"OMP_NUM_THREADS": str(self.threads), "TOKENIZERS_PARALLELISM": "false"}
        settings: dict[str, Any] = {"num_cpus": ask.cores, "num_gpus": ask.gpus, "memory": ask.memory}
        if ask.processes > 1:  # Ray Train places the processes; the task that asks it to takes nothing itself
            settings = {"num_cpus": 0}
        remote = ray.remote(_carry_out).options(
            name=piece.key,
            max_retries=0,  # whether a piece is still pending is for the study's folder to say
            runtime_env={"env_vars": environment},
            **settings,
        )
        share = None if ask.processes == 1 else Share(ask.cores, ask.memory, ask.gpus, self.storage)
        self.tasks[remote.remote(self.context, piece, slot, ask.gpus, self.mailbox, share)] = piece

    def wait(self, seconds: float, tell: Callable[[Message], None]) -> None:
        import ray

        over: list[Any] = []
        if self.tasks:
            over, _ = ray.wait(list(self.tasks), num_returns=1, timeout=min(seconds, TURN_SECONDS))
        else:
            time.sleep(max(seconds, TURN_SECONDS))
        self._hear(5.0 if over else 0.1, tell)
        for task in over:
            tell(self._end(task))

    def stop(self) -> None:
        self.mailbox.stop.remote()

    def close(self) -> None:
        import ray

        for task in self.tasks:
            ray.cancel(task, force=True)

    def _count_workers(self, found: list[dict[str, float]]) -> None:
        cores = sum(node.get("CPU", 0) for node in found)
        self.workers = max(1, int(cores // self.threads))

    def _ask(self, piece: Piece, need: Need) -> _Ask:
        alone = piece.kind != "train"
        gpus = 0.0 if not need.device else min(self.gpus, 1.0) if alone else self.gpus
        if gpus:
            processes = max(1, int(gpus))
            # What the weights take in main memory while they are loaded or gathered, by the first process at most.
            return _Ask(processes, self.threads, PROCESS_BYTES + need.host, min(gpus, 1.0))
        processes = 1 if alone else self.processes
        return _Ask(processes, self.threads, need.on(processes) + PROCESS_BYTES, 0.0)

    def _hear(self, seconds: float, tell: Callable[[Message], None]) -> None:
        """Pass on what the tasks have told, if it comes within so long; a mailbox that began anew has lost progress."""
        import ray

        known = {piece.key for piece in self.tasks.values()}
        self.asked = self.asked or self.mailbox.empty.remote()
        if not ray.wait([self.asked], timeout=seconds)[0]:
            return
        asked, self.asked = self.asked, None
        try:
            news = ray.get(asked)
        except ray.exceptions.RayActorError:
            return
        for key, data in news:
            if key in known:
                tell(Message("progress", key, data))

    def _end(self, task: Any) -> Message:
        """A task is over: its piece is done, failed, or lost with its worker or node."""
        import ray

        piece = self.tasks.pop(task)
        try:
            error = ray.get(task)
        except ray.exceptions.RayTaskError as fault:
            error = OnsetError(f"{fault.cause}", where=piece.key, advice=f"please report this fault of onset\n{fault}")
        except ray.exceptions.RayError as death:
            advice = "look at the nodes (ray status) and their memory, then run the same command again"
            return Message("lost", piece.key, {"how": type(death).__name__, "advice": advice})
        return Message("done", piece.key) if error is None else Message("failed", piece.key, {"error": error})


def _carry_out(
    context: tuple[Ledger, Runner, str, Path | None],
    piece: Piece,
    slot: Slot,
    gpus: float,
    box: Any,
    share: Share | None,
) -> OnsetError | None:
    """One piece, in a worker of the cluster; returns what went wrong."""
    ledger, run, folder, token = context
    if (unseen := enter(folder, token)) is not None:
        return unseen
    limit_threads(slot.threads)
    if 0 < gpus < 1:
        slot = part_of_gpu(slot, gpus)
    if share is not None:
        run = partial(run_sharded, run, share=share, token=token)
    with reporting(box, piece.key) as control:
        return attempt(run, ledger, piece, slot, control)


def part_of_gpu(slot: Slot, gpus: float) -> Slot:
    """The slot with that part of its GPU's memory, of which others have the rest."""
    import torch

    card = int(torch.cuda.get_device_properties(slot.device).total_memory)
    return replace(slot, memory=usable(int(card * gpus)))


@contextmanager
def _token(out: Path | None) -> Iterator[Path | None]:
    """A file in the study's folder by which a node knows that it sees the same folder."""
    if out is None:
        yield None
        return
    token = out / f".seen-{uuid.uuid4().hex[:8]}"
    token.touch()
    try:
        yield token
    finally:
        token.unlink(missing_ok=True)


def _shared_out(found: list[dict[str, float]], pieces: int) -> int:
    """Cores for each piece where the cluster's are shared out, and no more than the smallest node has."""
    cores = [int(node.get("CPU", 0)) for node in found if node.get("CPU", 0) >= 1]
    total = sum(cores)
    return max(1, min(total // max(1, min(total, pieces)), *cores)) if cores else 1
