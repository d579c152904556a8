"""Resources: the cores, memory and devices of a piece of work, and how pieces are packed on a machine.

Everything here is arithmetic on numbers of bytes and cores: no process is started and no device is touched, except
by ``this_machine``, which looks at what there is.
"""

from __future__ import annotations

import math
import os
import sys
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
class Slot:
    """What a piece has while it runs: threads, and one device, or several over which a training is sharded."""

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
    device: bool = True
    """Whether it computes on a GPU where there is one."""
    host: int = 0
    """Bytes of main memory that a piece on GPUs takes beside those of its process: to load weights or gather them."""
    unknown: bool = False
    """Whether its bytes cannot be told beforehand: on a GPU it is then alone."""

    def on(self, devices: int) -> int:
        """Bytes of main memory in each of so many processes. Raises OnsetError where a training does not fit."""
        if self.cpu is not None:
            return self.cpu.fit(devices).bytes
        return math.ceil(self.shared / devices) + self.each

    def on_gpus(self, devices: int, card: int) -> int:
        """Bytes that it takes of each of so many GPUs with ``card`` bytes, its process included.

        Raises OnsetError where a training does not fit.
        """
        if self.unknown:
            return card
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


class Packer:
    """Packs pieces on a machine: which slots are allocated, and whether another piece still fits."""

    def __init__(
        self, machine: Machine, workers: int, threads: int, *, processes: int = 1, gpus: float | None = None
    ) -> None:
        """``processes`` share one training on the CPU; ``gpus`` is what a training gets: a share of one, or several.

        ``gpus`` None means as its memory asks, where there are GPUs; 0 leaves them alone.
        """
        self.machine, self.workers, self.threads, self.processes = machine, workers, threads, processes
        self.gpus = gpus
        self.allocated: dict[str, tuple[Slot, Need]] = {}
        if gpus and gpus > len(machine.gpus):
            raise OnsetError(
                f"a run was given {gpus:g} GPUs and this machine has {len(machine.gpus)}", advice="lower --gpus"
            )

    def allocate(self, key: str, need: Need, *, single: bool = False) -> Slot | None:
        """A slot for a piece, or None while there is none; ``single`` for a piece that runs in one process, on one
        device where it fits on one.

        Raises OnsetError for a piece that would not fit on the machine with nothing else on it.
        """
        if not (self.machine.gpus and self.gpus != 0):
            slot = self._cpu_slot(need, single)
        else:
            slot = self._gpu_slot(need, single) if need.device else self._host_slot(need)
        if slot is not None:
            self.allocated[key] = (slot, need)
        return slot

    def release(self, key: str) -> None:
        """The piece has ended; its slot is free."""
        self.allocated.pop(key, None)

    def _cpu_slot(self, need: Need, single: bool) -> Slot | None:
        slot = Slot(self.threads, ("cpu",) * (1 if single else self.processes))
        asked = _cpu_bytes(slot, need)
        if asked > self.machine.memory:
            raise OnsetError(
                f"it needs about {asked / 1e9:.1f} GB of memory and this machine has {self.machine.memory / 1e9:.1f}",
                advice="use fewer threads, a smaller batch or model, or a larger machine",
            )
        busy = sum(len(other.devices) for other, _ in self.allocated.values())
        free = self.machine.memory if self.machine.free is None else self.machine.free
        free -= sum(_cpu_bytes(*one) for one in self.allocated.values())
        # With nothing else in hand a training may have more processes than there are workers: it was asked for.
        return slot if not self.allocated or (busy + len(slot.devices) <= self.workers and asked <= free) else None

    def _gpu_slot(self, need: Need, single: bool) -> Slot | None:
        count = self._devices(need, single)
        if len(self.allocated) >= max(self.workers, 1):
            return None
        smallest = min(self.machine.gpus)
        asked = need.on_gpus(count, smallest)
        loads = self._loads()
        fits = [
            index
            for index, size in enumerate(self.machine.gpus)
            if loads[index][0] < self._pieces_per_gpu() and loads[index][1] + asked <= size
        ]
        if len(fits) < count or (self.allocated and not self._fits_host(need)):
            return None
        chosen = sorted(sorted(fits, key=lambda index: loads[index])[:count])
        fit = need.fit(count, smallest)
        devices = tuple(f"cuda:{index}" for index in chosen)
        return Slot(self.threads, devices, None if fit is None else fit.bytes)

    def _host_slot(self, need: Need) -> Slot | None:
        """A slot beside the GPUs."""
        full = len(self.allocated) >= max(self.workers, 1) or (self.allocated and not self._fits_host(need))
        return None if full else Slot(self.threads)

    def _fits_host(self, need: Need) -> bool:
        """Whether main memory holds what a piece on GPUs takes of it, beside the others."""
        held = sum(other.host + PROCESS_BYTES * len(slot.devices) for slot, other in self.allocated.values())
        return held + need.host + PROCESS_BYTES <= self.machine.memory

    def _devices(self, need: Need, single: bool) -> int:
        """How many GPUs a piece is shared out over: as given, else the fewest on which it fits."""
        smallest, most = min(self.machine.gpus), len(self.machine.gpus)
        least = 1 if single or self.gpus is None else max(1, math.ceil(self.gpus))
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

    def _pieces_per_gpu(self) -> int:
        """How many pieces one GPU takes."""
        return PER_GPU if self.gpus is None else max(1, int(1 / self.gpus + 1e-9)) if self.gpus < 1 else 1

    def _loads(self) -> list[tuple[int, int]]:
        """Pieces and bytes on each GPU."""
        loads = [(0, 0)] * len(self.machine.gpus)
        for slot, need in self.allocated.values():
            for device in slot.devices if need.device else ():
                index = int(device.rpartition(":")[2])
                pieces, held = loads[index]
                asked = need.on_gpus(len(slot.devices), min(self.machine.gpus))
                loads[index] = (pieces + 1, held + asked)
        return loads


def _cpu_bytes(slot: Slot, need: Need) -> int:
    """Main memory of a slot: with the CPU as its device every process holds its part there."""
    return len(slot.devices) * (need.on(len(slot.devices)) + PROCESS_BYTES)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def this_machine(gpus: float | None = None) -> Machine:
    """What this process may use; ``gpus`` 0 does not look for any."""
    memory, free = _memory()
    return Machine(cores(), memory, () if gpus == 0 else _gpu_bytes(), free)


def resolve_device(name: str) -> str:
    """The device of that name; 'auto' is a GPU where there is one (CUDA, then Apple's), else the processor."""
    if name != "auto":
        return _checked_device(name)
    if _gpu_bytes():
        return "cuda"
    if sys.platform == "darwin":
        import torch

        if torch.backends.mps.is_available():
            return "mps"
    return "cpu"


def _checked_device(name: str) -> str:
    """A device that was named, where this machine has it."""
    kind, colon, number = name.partition(":")
    advice = "give auto, cpu, cuda, cuda:1 or mps"
    if kind not in ("cpu", "cuda", "mps") or (colon and not (kind == "cuda" and number.isascii() and number.isdigit())):
        raise OnsetError(f"there is no device '{name}'", where="--device", advice=advice)
    if kind == "cuda" and not (gpus := len(_gpu_bytes())) > int(number or 0):
        has = f"only {gpus} of them" if gpus else "none"
        raise OnsetError(f"this asks for '{name}', and this machine has {has}", where="--device", advice=advice)
    if kind == "mps":
        import torch

        if not torch.backends.mps.is_available():
            raise OnsetError("this machine has no 'mps'", where="--device", advice=advice)
    return name


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
