"""The engine for a cluster: every piece that is owed becomes a Ray task with its cores, memory and GPUs.

What is done and owed is read from the study's folder, which every node must see, or from the store that keeps it:
Ray carries no results, only the news of them. So a task, a worker or a node that dies costs the piece in hand and
nothing else; it is tried again elsewhere, and after several deaths told as failed. If the machine that gave the
command dies, the same command, given again, goes on.
"""

from __future__ import annotations

import logging
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onset.errors import OnsetError
from onset.store.object_store import is_url, study_folder
from onset.work.engines.local import SETTLE_SECONDS, Event, Listener, Setbacks, do, limit_threads
from onset.work.ledger import Piece, Place
from onset.work.resources import PROCESS_BYTES, Need, Seat

TURN_SECONDS = 0.5
"""How often the engine looks for news."""

PATIENCE_SECONDS = 60.0
"""So long it waits, with nothing in hand, for a node on which a piece would fit: nodes restart, clusters grow."""

SETBACK_SECONDS = 2.0
"""The first rest of a piece whose worker died; what it left behind on its node needs a moment to end."""


@dataclass(frozen=True)
class _Ask:
    """What one piece asks of a node."""

    cores: int
    memory: int
    gpus: float

    def fits(self, node: dict[str, float]) -> bool:
        return (
            node.get("CPU", 0) >= self.cores
            and node.get("memory", float("inf")) >= self.memory
            and node.get("GPU", 0) >= self.gpus
        )


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
        """``threads`` and ``processes`` on CPUs, ``gpus`` (a share of one, or several) for each training.

        ``out`` is the study's folder, which all nodes must see, or its URL in a store that all reach.
        By default the cluster's cores are shared out over the runs, and a training gets one GPU where there are any.
        Raises OnsetError where Ray is not installed or the address is of its client, which sees no files.
        """
        found = address or os.environ.get("RAY_ADDRESS")
        if found is None:  # a Ray of this machine alone; both are read when Ray is loaded
            os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # heard on this machine alone
            os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's own 15 starves beside any other work
        try:
            import ray  # noqa: F401
        except ImportError as error:
            raise OnsetError(
                "the engine 'ray' needs Ray, which is not installed", advice="pip install 'onset-lm[ray]'"
            ) from error
        if address is not None and address.startswith("ray://"):
            raise OnsetError(
                "a study cannot be run through Ray's client, which does not see the cluster's files",
                where=address,
                advice="give the command on a node of the cluster, with --ray-address auto or HOST:6379",
            )
        self.out, self.runs = None if is_url(out) else study_folder(out).resolve(), runs
        self.address, self.threads, self.processes, self.gpus = found, threads, processes, gpus

    def carry_out(self, place: Place, listen: Listener) -> dict[str, OnsetError]:
        """Do all that is owed and can be done; returns the pieces given up, by key."""
        with _cluster(self.address), _token(self.out) as token:
            return _Shift(self, place, listen, token).work()


class _Shift:
    """One call of the engine: the tasks in hand, by their references, and what was given up."""

    def __init__(self, engine: RayEngine, place: Place, listen: Listener, token: Path | None) -> None:
        import ray

        nodes = _nodes()
        self.threads = engine.threads or _shared_out(nodes, engine.runs * engine.processes)
        self.processes = engine.processes
        some = any(node.get("GPU", 0) for node in nodes)
        self.gpus = float(some) if engine.gpus is None else engine.gpus
        self.place, self.listen = place, listen
        self.setbacks = Setbacks(listen, SETBACK_SECONDS)
        self.mailbox = _mailbox()
        self.asked: Any = None
        self.context = ray.put((place, os.getcwd(), token))
        self.in_hand: dict[Any, tuple[Piece, _Ask]] = {}
        self.waited_since: float | None = None

    def work(self) -> dict[str, OnsetError]:
        import ray

        try:
            while True:
                waiting = self._hand_out()
                if not self.in_hand and not waiting:
                    return self.setbacks.given_up
                if self.in_hand:
                    over, _ = ray.wait(list(self.in_hand), num_returns=1, timeout=TURN_SECONDS)
                else:
                    over = []
                    time.sleep(TURN_SECONDS)
                self._hear(5.0 if over else 0.1)
                for task in over:
                    self._end(task)
        finally:
            for task in self.in_hand:
                ray.cancel(task, force=True)

    def _hand_out(self) -> bool:
        """Hand out what fits on the cluster now, the longest first; returns whether something is waited for.

        Ray itself would queue all of it, but in no order of ours, and a queue cannot be told that a run was mended.
        """
        nodes = _nodes()
        free = {name: sum(node.get(name, 0) for node in nodes) for name in ("CPU", "GPU")}
        for _, ask in self.in_hand.values():
            free["CPU"] -= ask.cores
            free["GPU"] -= ask.gpus
        waiting, misfit = False, None
        taken = {piece.key for piece, _ in self.in_hand.values()}
        for piece in self.place.owing().pieces:
            if piece.key in taken or piece.key in self.setbacks.given_up or not self.place.ready(piece):
                continue
            if self.setbacks.resting(piece.key):
                waiting = True
                continue
            ask = self._ask(piece)
            if not any(ask.fits(node) for node in nodes):
                misfit = misfit or (piece, ask)
            elif ask.cores <= free["CPU"] and ask.gpus <= free["GPU"] + 1e-9:
                self._start(piece, ask)
                free["CPU"] -= ask.cores
                free["GPU"] -= ask.gpus
        return self._wait_for(misfit) or waiting

    def _wait_for(self, misfit: tuple[Piece, _Ask] | None) -> bool:
        """Whether to wait for a node for a piece that fits on none; after a while it is given up."""
        if misfit is None or self.in_hand:
            self.waited_since = None
            return misfit is not None
        self.waited_since = self.waited_since or time.monotonic()
        if time.monotonic() - self.waited_since > PATIENCE_SECONDS:
            piece, ask = misfit
            what = f"no node of the cluster has {ask.cores} cores, {ask.memory / 1e9:.1f} GB and {ask.gpus:g} GPUs"
            self.setbacks.give_up(piece, OnsetError(what, where=piece.key, advice="lower --threads or --gpus"))
        return True

    def _ask(self, piece: Piece) -> _Ask:
        alone = piece.kind != "train"
        gpus = min(self.gpus, 1.0) if alone else self.gpus
        need: Need = self.place.need(piece, self.threads)
        if gpus:
            return _Ask(self.threads, PROCESS_BYTES, gpus)
        processes = 1 if alone else self.processes
        return _Ask(self.threads * processes, processes * (need.on(processes) + PROCESS_BYTES), 0.0)

    def _start(self, piece: Piece, ask: _Ask) -> None:
        import ray

        count = max(1, int(ask.gpus)) if ask.gpus else 1 if piece.kind != "train" else self.processes
        devices = tuple(f"cuda:{index}" for index in range(count)) if ask.gpus else ("cpu",) * count
        seat = Seat(self.threads, devices)
        # Arithmetic libraries read their thread count when they are loaded, before any of our code runs.
        environment = {"OMP_NUM_THREADS": str(self.threads), "TOKENIZERS_PARALLELISM": "false"}
        task = ray.remote(_carry_out).options(
            name=piece.key,
            num_cpus=ask.cores,
            num_gpus=ask.gpus,
            memory=ask.memory,
            max_retries=0,  # whether a piece is still owed is for the study's folder to say
            runtime_env={"env_vars": environment},
        )
        self.listen(Event("start", piece))
        self.in_hand[task.remote(self.context, piece, seat, self.mailbox)] = (piece, ask)

    def _hear(self, seconds: float) -> None:
        """Pass on what the tasks have told, if it comes within so long; a mailbox that began anew has lost progress."""
        import ray

        pieces = {piece.key: piece for piece, _ in self.in_hand.values()}
        self.asked = self.asked or self.mailbox.empty.remote()
        if not ray.wait([self.asked], timeout=seconds)[0]:
            return
        asked, self.asked = self.asked, None
        try:
            news = ray.get(asked)
        except ray.exceptions.RayActorError:
            return
        for key, data in news:
            if key in pieces:
                self.listen(Event("progress", pieces[key], data))

    def _end(self, task: Any) -> None:
        """A task is over: its piece is done, failed, or lost with its worker or node."""
        import ray

        piece, _ = self.in_hand.pop(task)
        try:
            error = ray.get(task)
        except ray.exceptions.RayTaskError as fault:
            error = OnsetError(f"{fault.cause}", where=piece.key, advice=f"please report this fault of onset\n{fault}")
        except ray.exceptions.RayError as death:
            advice = "look at the nodes (ray status) and their memory, then run the same command again"
            self.setbacks.lost(piece, type(death).__name__, advice)
            return
        if error is not None:
            self.setbacks.failed(piece, error)
            return
        self.setbacks.rest(piece.key, SETTLE_SECONDS)
        self.listen(Event("done", piece))


def _carry_out(context: tuple[Place, str, Path | None], piece: Piece, seat: Seat, mailbox: Any) -> OnsetError | None:
    """One piece, in a worker of the cluster; returns what went wrong."""
    import ray

    place, folder, token = context
    try:
        os.chdir(folder)  # paths of a study's files may be relative to where the command was given
    except OSError:
        if token is not None:  # else nothing is shared, and a file that is not here is told by who reads it
            return _unseen(Path(folder))
    if token is not None and not token.exists():
        return _unseen(token.parent)
    limit_threads(seat.threads)
    last: list[Any] = []

    def report(data: dict[str, Any]) -> None:
        last[:] = [mailbox.tell.remote(piece.key, data)]

    error = do(place, piece, seat, report)
    # News is to arrive before the end of the task does; a mailbox that died has none to deliver.
    ray.wait(last, timeout=10) if last else None
    return error


def _unseen(folder: Path) -> OnsetError:
    return OnsetError(
        f"the node {socket.gethostname()} does not see this folder",
        where=folder,
        advice="a cluster needs the study, and where it is started, on a file system that all its nodes share",
    )


class _Mailbox:
    """Where tasks leave their news until the engine fetches it."""

    def __init__(self) -> None:
        self.news: list[tuple[str, dict[str, Any]]] = []

    def tell(self, key: str, data: dict[str, Any]) -> None:
        """Leave a piece of news."""
        self.news.append((key, data))

    def empty(self) -> list[tuple[str, dict[str, Any]]]:
        """Take all of it, in the order in which it came."""
        news, self.news = self.news, []
        return news


def _mailbox() -> Any:
    """A mailbox on the node of this process: no other node's death can take it."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(_Mailbox).options(num_cpus=0, max_restarts=-1, scheduling_strategy=here).remote()


@contextmanager
def _cluster(address: str | None) -> Iterator[None]:
    """Be connected to the cluster at the address within, or to one of this machine alone."""
    import ray

    if ray.is_initialized():  # the caller's own cluster stays as it is
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # what is started here tells nobody of its use
    own: dict[str, Any] = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    try:
        ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **({} if address else own))
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise OnsetError(
            f"no Ray cluster answers: {str(error).splitlines()[0]}",
            where=address,
            advice="start one (ray start --head), or leave --ray-address out to use this machine alone",
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


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


def _nodes() -> list[dict[str, float]]:
    """The resources of each node that is alive."""
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["Resources"] for node in nodes if node["Alive"]]


def _shared_out(nodes: list[dict[str, float]], pieces: int) -> int:
    """Cores for each piece where the cluster's are shared out, and no more than the smallest node has."""
    cores = [int(node.get("CPU", 0)) for node in nodes if node.get("CPU", 0) >= 1]
    total = sum(cores)
    return max(1, min(total // max(1, min(total, pieces)), *cores)) if cores else 1
