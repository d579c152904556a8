"""Seats: the cores, memory and devices that a piece of work has to itself, and how pieces are packed on a machine.

Everything here is arithmetic on numbers of bytes and cores: no process is started and no device is touched, except
by ``this_machine``, which looks at what there is.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

from onset.errors import OnsetError
from onset.study.cost import DEVICE_PROCESS_BYTES as GPU_BYTES
from onset.study.cost import DEVICE_SHARE, Fit, Training, usable

PROCESS_BYTES = 400_000_000
"""Memory of a process before it holds any model: the interpreter and torch (measured about 330 MB on Linux)."""

PER_GPU = 8
"""At most so many pieces on one GPU: they take turns on it, and beyond a few nothing is gained."""


@dataclass(frozen=True)
class Seat:
    """What a piece has while it is done: threads, and one device, or several among which a training is shared out."""

    threads: int = 1
    devices: tuple[str, ...] = ("cpu",)
    memory: int | None = None
    """Bytes that a training may hold on each device; None for as many as it likes."""

    @property
    def device(self) -> str:
        """The first device, the only one for whatever is not shared out."""
        return self.devices[0]


@dataclass(frozen=True)
class Need:
    """Bytes that a piece holds: on each of n devices ``shared / n + each``. Nought where it cannot be told.

    A training is asked instead how it fits: ``cpu`` and ``gpu`` are what it is on the two kinds of device.
    """

    shared: int = 0
    each: int = 0
    cpu: Training | None = None
    gpu: Training | None = None

    def on(self, devices: int) -> int:
        """Bytes of main memory in each of so many processes. Raises OnsetError where a training does not fit."""
        if self.cpu is not None:
            return self.cpu.fit(devices).bytes
        return math.ceil(self.shared / devices) + self.each

    def on_gpus(self, devices: int, card: int) -> int:
        """Bytes that it takes of each of so many GPUs with ``card`` bytes, its process included.

        Raises OnsetError where a training does not fit.
        """
        if (fit := self.fit(devices, card)) is not None:
            return math.ceil(fit.bytes / DEVICE_SHARE) + GPU_BYTES
        return math.ceil(self.shared / devices) + self.each + GPU_BYTES

    def fit(self, devices: int, card: int) -> Fit | None:
        """How a training is done on so many GPUs; None where it is no training."""
        return None if self.gpu is None else self.gpu.fit(devices, usable(card))


@dataclass(frozen=True)
class Machine:
    """Cores, bytes of memory, bytes of each GPU, and what of the memory is free now (None: all of it)."""

    cores: int
    memory: int
    gpus: tuple[int, ...] = ()
    free: int | None = None


class Held(OnsetError):
    """Another process has the run in hand; a moment later it may be free."""

    def __init__(self, where: object) -> None:
        super().__init__(
            "another process is training this run",
            where=where,
            advice="wait for it to end (onset status), or stop it, then run the same command again",
        )

    def __reduce__(self) -> tuple[object, ...]:
        return (Held, (self.where,))


class Room:
    """The seats of a machine: who has taken what, and whether another piece still fits."""

    def __init__(
        self, machine: Machine, workers: int, threads: int, *, processes: int = 1, gpus: float | None = None
    ) -> None:
        """``processes`` share one training on the CPU; ``gpus`` is what a training gets: a share of one, or several.

        ``gpus`` None means as its memory asks, where there are GPUs; 0 leaves them alone.
        """
        self.machine, self.workers, self.threads, self.processes = machine, workers, threads, processes
        self.gpus = gpus
        self.taken: dict[str, tuple[Seat, Need]] = {}
        if gpus and gpus > len(machine.gpus):
            raise OnsetError(
                f"a run was given {gpus:g} GPUs and this machine has {len(machine.gpus)}", advice="lower --gpus"
            )

    def take(self, key: str, need: Need, *, alone: bool = False) -> Seat | None:
        """A seat for a piece, or None while there is none; ``alone`` for a piece that cannot be shared out.

        Raises OnsetError for a piece that would not fit on the machine with nothing else on it.
        """
        on_gpu = bool(self.machine.gpus) and self.gpus != 0
        seat = self._gpu_seat(need, alone) if on_gpu else self._cpu_seat(need, alone)
        if seat is not None:
            self.taken[key] = (seat, need)
        return seat

    def leave(self, key: str) -> None:
        """The piece is over; its seat is free."""
        self.taken.pop(key, None)

    def _cpu_seat(self, need: Need, alone: bool) -> Seat | None:
        seat = Seat(self.threads, ("cpu",) * (1 if alone else self.processes))
        asked = _cpu_bytes(seat, need)
        if asked > self.machine.memory:
            raise OnsetError(
                f"it needs about {asked / 1e9:.1f} GB of memory and this machine has {self.machine.memory / 1e9:.1f}",
                advice="use fewer threads, a smaller batch or model, or a larger machine",
            )
        busy = sum(len(other.devices) for other, _ in self.taken.values())
        free = self.machine.memory if self.machine.free is None else self.machine.free
        free -= sum(_cpu_bytes(*one) for one in self.taken.values())
        # With nothing else in hand a training may have more processes than there are workers: it was asked for.
        return seat if not self.taken or (busy + len(seat.devices) <= self.workers and asked <= free) else None

    def _gpu_seat(self, need: Need, alone: bool) -> Seat | None:
        count = self._devices(need, alone)
        if len(self.taken) >= max(self.workers, 1):
            return None
        smallest = min(self.machine.gpus)
        asked = need.on_gpus(count, smallest)
        loads = self._loads()
        fits = [
            index
            for index, size in enumerate(self.machine.gpus)
            if loads[index][0] < self._together() and loads[index][1] + asked <= size
        ]
        if len(fits) < count:
            return None
        chosen = sorted(sorted(fits, key=lambda index: loads[index])[:count])
        fit = need.fit(count, smallest)
        devices = tuple(f"cuda:{index}" for index in chosen)
        return Seat(self.threads, devices, None if fit is None else fit.bytes)

    def _devices(self, need: Need, alone: bool) -> int:
        """How many GPUs a piece is shared out over: as given, else the fewest on which it fits."""
        smallest, most = min(self.machine.gpus), 1 if alone else len(self.machine.gpus)
        least = 1 if alone or self.gpus is None else max(1, math.ceil(self.gpus))
        why = ""
        for count in range(least, most + 1):
            try:
                asked = need.on_gpus(count, smallest)
            except OnsetError as error:
                why = error.what
                continue
            if asked <= smallest:
                return count
            why = f"it needs about {asked / 1e9:.1f} GB on each of {count} GPUs of {smallest / 1e9:.1f} GB"
        raise OnsetError(why, advice="use more or larger GPUs, a smaller batch or model, or --gpus 0 for the CPU")

    def _together(self) -> int:
        """How many pieces one GPU takes."""
        return PER_GPU if self.gpus is None else max(1, int(1 / self.gpus + 1e-9)) if self.gpus < 1 else 1

    def _loads(self) -> list[tuple[int, int]]:
        """Pieces and bytes on each GPU."""
        loads = [(0, 0)] * len(self.machine.gpus)
        for seat, need in self.taken.values():
            for device in seat.devices:
                index = int(device.rpartition(":")[2])
                pieces, held = loads[index]
                asked = need.on_gpus(len(seat.devices), min(self.machine.gpus))
                loads[index] = (pieces + 1, held + asked)
        return loads


def _cpu_bytes(seat: Seat, need: Need) -> int:
    """Main memory of a seat: with the CPU as its device every process holds its part there."""
    return len(seat.devices) * (need.on(len(seat.devices)) + PROCESS_BYTES)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def this_machine(gpus: float | None = None) -> Machine:
    """What this process may use; ``gpus`` 0 does not look for any."""
    memory, free = _memory()
    return Machine(cores(), memory, () if gpus == 0 else _gpu_bytes(), free)


def _memory() -> tuple[int, int]:
    """Bytes of main memory that there are for us and that are free, within the limit of a container."""
    import psutil

    found = psutil.virtual_memory()
    total, free = int(found.total), int(found.available)
    try:
        bound = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        if bound.isdigit():
            used = int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
            total, free = min(total, int(bound)), min(free, int(bound) - used)
    except OSError:
        pass  # no such limit here
    return total, max(free, 0)


def _gpu_bytes() -> tuple[int, ...]:
    """Bytes of each GPU that torch sees here; where there is no driver, torch is not even loaded."""
    if not any(Path(place).exists() for place in ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")):
        return ()
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return tuple(int(torch.cuda.get_device_properties(index).total_memory) for index in range(count))
