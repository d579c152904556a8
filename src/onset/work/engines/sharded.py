"""A training on several devices, of one host or many: Ray Train starts a process for each, and starts them again.

Every process joins one process group and calls the same function with the same piece. When a process or its node
dies, Ray Train starts all of them anew, and the run goes on from its newest recovery state.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from onset.errors import OnsetError
from onset.work.engines.cluster import connected, mailbox, reporting, require_ray
from onset.work.engines.process import enter, environment, limit_threads
from onset.work.piece import Control, Ledger, Piece, Runner, Stopped
from onset.work.resources import Slot

RESTARTS = 3
"""So often the processes of a training are started again."""

STARTS = 10
"""So often, about once a minute, its processes are tried to be placed before they are given up for want of a node."""

GROUP_SECONDS = 1800
"""A process waits so long for the others within a step."""

ANSWER = "end of a sharded training"
"""Key under which the first process tells how it ended."""


@dataclass(frozen=True)
class Share:
    """What each process of a sharded training asks of the cluster, and where Ray Train may keep its own notes."""

    cores: int
    memory: int
    gpus: float
    storage: Path | None
    """A folder that all nodes see; None for one of this machine."""

    @property
    def resources(self) -> dict[str, float]:
        """In Ray's names."""
        asked = {"CPU": float(self.cores), "memory": float(self.memory)}
        return asked | ({"GPU": self.gpus} if self.gpus else {})


def run_sharded(
    run: Runner, ledger: Ledger, piece: Piece, slot: Slot, control: Control, *, share: Share, token: Path | None
) -> None:
    """Carry a piece out on all devices of the slot; this process passes on the news.

    Raises the OnsetError that the processes met, ``Stopped`` where they were asked to stop, and an OnsetError with the
    last cause where they died more than ``RESTARTS`` times.
    """
    import ray
    from ray.train.torch import TorchConfig
    from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig
    from ray.train.v2.api.exceptions import TrainingFailedError
    from ray.train.v2.torch.torch_trainer import TorchTrainer

    box = mailbox()
    context = ray.put((run, ledger, piece, slot, os.getcwd(), token))
    storage = Path(tempfile.mkdtemp(prefix=".train-", dir=share.storage))
    variables = {"OMP_NUM_THREADS": str(slot.threads), "TOKENIZERS_PARALLELISM": "false"}
    trainer = TorchTrainer(
        _each,
        train_loop_config={"context": [context], "mailbox": box},
        torch_config=TorchConfig(backend=None if share.gpus else "gloo", timeout_s=GROUP_SECONDS),
        scaling_config=ScalingConfig(
            num_workers=len(slot.devices), use_gpu=bool(share.gpus), resources_per_worker=share.resources
        ),
        run_config=RunConfig(
            name="training",
            storage_path=str(storage),
            failure_config=FailureConfig(max_failures=RESTARTS, controller_failure_limit=STARTS),
            worker_runtime_env={"env_vars": variables},
        ),
    )
    with _Relay(box, control) as ended:
        try:
            trainer.fit()
        except TrainingFailedError as error:
            raise OnsetError(
                f"the {len(slot.devices)} processes of this training died {RESTARTS + 1} times, or found no place",
                where=piece.key,
                advice=f"look at the nodes and their memory, and run again to go on. The last cause:\n{error}",
            ) from error
        finally:
            shutil.rmtree(storage, ignore_errors=True)
    if ended and ended[-1] is not None:
        raise ended[-1]


class _Relay:
    """Within, news from the mailbox goes to a control, and its wish to stop to the mailbox; keeps how it ended."""

    def __init__(self, box: Any, control: Control) -> None:
        self.box, self.control, self.ended = box, control, list[OnsetError | None]()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._turn, daemon=True)

    def __enter__(self) -> list[OnsetError | None]:
        self.thread.start()
        return self.ended

    def __exit__(self, *error: object) -> None:
        self.over.set()
        self.thread.join()
        self._take()

    def _turn(self) -> None:
        told = False
        while not self.over.wait(0.5):
            self._take()
            if not told and self.control.should_stop():
                self.box.stop.remote()
                told = True

    def _take(self) -> None:
        import ray

        try:
            news = ray.get(self.box.empty.remote(), timeout=10)
        except (ray.exceptions.RayError, TimeoutError):
            return
        for key, data in news:
            if key == ANSWER:
                self.ended.append(data["error"])
            else:
                self.control.report(data)


def _each(config: dict[str, Any]) -> None:
    """One process of a sharded training: it joins the group that Ray Train has made, and runs the piece."""
    import ray
    import ray.train

    box = config["mailbox"]
    if ray.get(box.has_ended.remote()):
        return  # started again after an error that has been told, since the others waited for the one that met it
    run, ledger, piece, slot, folder, token = ray.get(config["context"][0])
    if (unseen := enter(folder, token)) is not None:
        raise unseen
    limit_threads(slot.threads)
    rank = ray.train.get_context().get_world_rank()
    own = replace(slot, devices=("cuda" if slot.device != "cpu" else "cpu",))
    with reporting(box, piece.key) as control:
        error: OnsetError | None = None
        try:
            run(ledger, piece, own, control)
        except OnsetError as met:
            error = met
        if rank == 0:
            ray.get(box.end.remote(ANSWER, error))
        if error is not None and not isinstance(error, Stopped):
            raise error


def run_here(run: Runner, ledger: Ledger, piece: Piece, slot: Slot, control: Control) -> None:
    """Carry a piece out on several devices of this machine alone, by a Ray of its own."""
    require_ray()
    cuda = slot.device != "cpu"
    count = len(slot.devices)
    settings = {"num_cpus": count * slot.threads + 1, "num_gpus": count if cuda else 0}
    seen = {"CUDA_VISIBLE_DEVICES": _visible(slot.devices)} if cuda else {}
    with environment(seen), connected(None, **settings):
        share = Share(slot.threads, 1, float(cuda), None)
        run_sharded(run, ledger, piece, slot, control, share=share, token=None)


def _visible(devices: tuple[str, ...]) -> str:
    """The slot's GPUs by the names under which this process was given them."""
    numbers = [int(device.rpartition(":")[2]) for device in devices]
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = seen.split(",") if seen else [str(number) for number in range(1 + max(numbers))]
    return ",".join(names[number] for number in numbers)
