"""What all uses of Ray share: connecting, nodes, and the mailbox by which tasks and the command talk."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from onset.errors import OnsetError, install
from onset.work.piece import Control

POLL_SECONDS = 2.0
"""How often a task asks whether it is to stop."""


def require_ray(address: str | None = None) -> str | None:
    """The address of the cluster, given or from RAY_ADDRESS; None for a Ray of this machine alone.

    Raises OnsetError where Ray is not installed or the address is of its client, which sees no files.
    """
    found = address or os.environ.get("RAY_ADDRESS")
    if found is None:  # both are read when Ray is loaded
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # heard on this machine alone
        os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's own 15 starves beside any other work
    try:
        import ray  # noqa: F401
    except ImportError as error:
        raise OnsetError(
            "Ray is not installed, which the engine 'ray' and a training on several devices need",
            advice=install("ray"),
        ) from error
    if found is not None and found.startswith("ray://"):
        raise OnsetError(
            "a study cannot be run through Ray's client, which does not see the cluster's files",
            where=found,
            advice="give the command on a node of the cluster, with --ray-address auto or HOST:6379",
        )
    return found


@contextmanager
def connected(address: str | None, **settings: Any) -> Iterator[None]:
    """Be connected to the cluster at the address within, or to a Ray of this machine that has the ``settings``."""
    import ray

    if ray.is_initialized():  # the caller's own cluster stays as it is
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # what is started here tells nobody of its use
    own: dict[str, Any] = {"include_dashboard": False, "_node_ip_address": "127.0.0.1", **settings}
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


def nodes() -> list[dict[str, float]]:
    """The resources of each node that is alive."""
    import ray

    found: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["Resources"] for node in found if node["Alive"]]


class _Mailbox:
    """Where tasks leave their news until the command fetches it, and where they see whether they are to stop."""

    def __init__(self) -> None:
        self.news: list[tuple[str, dict[str, Any]]] = []
        self.stopping = self.ended = False

    def tell(self, key: str, data: dict[str, Any]) -> None:
        """Leave a piece of news."""
        self.news.append((key, data))

    def empty(self) -> list[tuple[str, dict[str, Any]]]:
        """Take all of it, in the order in which it came."""
        news, self.news = self.news, []
        return news

    def end(self, key: str, error: OnsetError | None) -> None:
        """Leave the news of how a sharded training ended."""
        self.ended = True
        self.tell(key, {"error": error})

    def has_ended(self) -> bool:
        """Whether a sharded training has ended, well or not."""
        return self.ended

    def stop(self) -> None:
        """Ask all tasks to stop."""
        self.stopping = True

    def stopped(self) -> bool:
        """Whether tasks are asked to stop."""
        return self.stopping


def mailbox() -> Any:
    """A mailbox on the node of this process: no other node's death can take it."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(_Mailbox).options(num_cpus=0, max_restarts=-1, scheduling_strategy=here).remote()


@contextmanager
def reporting(box: Any, key: str) -> Iterator[Control]:
    """The control of a piece that a task carries out: it reports to the mailbox and asks it whether to stop."""
    import ray

    stop, over = threading.Event(), threading.Event()
    last: list[Any] = []

    def ask() -> None:
        while not over.wait(POLL_SECONDS):
            try:
                if ray.get(box.stopped.remote(), timeout=POLL_SECONDS):
                    stop.set()
            except (ray.exceptions.RayError, TimeoutError):
                continue  # a mailbox that died begins anew

    def report(data: dict[str, Any]) -> None:
        last[:] = [box.tell.remote(key, data)]

    threading.Thread(target=ask, daemon=True).start()
    try:
        yield Control(report, stop.is_set)
    finally:
        over.set()
        if last:  # news is to arrive before the end of the task does; a mailbox that died has none to deliver
            ray.wait(last, timeout=10)
