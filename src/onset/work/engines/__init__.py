"""Engines: who carries out pending pieces. One scheduler, and an executor for processes, Ray, or this process."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from onset.errors import OnsetError
from onset.work.engines.inline import InlineEngine
from onset.work.engines.local import LocalEngine
from onset.work.engines.scheduler import Options
from onset.work.piece import Ledger, Listener, Runner
from onset.work.resources import cores

__all__ = ["Engine", "InlineEngine", "LocalEngine", "Options", "choose_engine"]


class Engine(Protocol):
    """Carries out what a ledger says is pending."""

    def has_gpus(self) -> bool:
        """Whether pieces are carried out on GPUs."""
        ...

    def run(
        self, ledger: Ledger, run: Runner, listen: Listener, options: Options | None = None
    ) -> dict[str, OnsetError]:
        """Do all that is pending and can be done; returns the pieces that were given up, by key."""
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
    if processes > 1:
        from onset.work.engines.cluster import require_ray

        require_ray()
    count = workers or max(1, min(cores() // (threads or 1), runs * processes))
    return LocalEngine(count, threads or max(1, cores() // count), processes=processes, gpus=gpus)
