"""Work on one model shared among the threads of a processor: each takes whole batches, and none waits for another.

The threads of one matrix product must meet at its end, thousands of times a second; where a core is slow or shared all
wait for it. Batches meet nowhere. What the batches of a lot have in common (a prefix) is made once, by the thread that
begins the lot; each thread begins a lot of its own where one is left, so that few are open at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch

Shared = TypeVar("Shared")


@dataclass(eq=False)
class Lot(Generic[Shared]):
    """Batches and what they share."""

    share: Callable[[], Shared]
    """Makes what the batches share; called once."""
    batches: Sequence[Callable[[Shared], None]]


@dataclass(eq=False)
class _Open(Generic[Shared]):
    """A lot that was begun: ``shared`` is there once ``ready``."""

    lot: Lot[Shared]
    left: Iterator[Callable[[Shared], None]] = field(init=False)
    shared: Shared | None = None
    ready: bool = False

    def __post_init__(self) -> None:
        self.left = iter(self.lot.batches)


def carry_out(lots: Sequence[Lot[Shared]], threads: int) -> None:
    """Do all batches of all lots; with one thread in order, with more each on one core.

    The first exception of a batch ends the rest and is raised.
    """
    if threads == 1 or sum(len(lot.batches) for lot in lots) < 2:
        for lot in lots:
            shared = lot.share()
            for batch in lot.batches:
                batch(shared)
        return
    lanes = _Lanes(lots)
    if len(lots) < threads:
        lanes.open_all()  # by all threads together: one of them would keep the others waiting
    with _restored(), ThreadPoolExecutor(threads, "lane", torch.set_num_threads, (1,)) as pool:
        running = [pool.submit(lanes.work) for _ in range(threads)]
        try:
            for one in running:
                one.result()
        except BaseException:
            lanes.stop()
            raise


class _Lanes(Generic[Shared]):
    """What the threads share: lots not begun, and lots under way."""

    def __init__(self, lots: Sequence[Lot[Shared]]) -> None:
        self._waiting = list(reversed(lots))
        self._begun: list[_Open[Shared]] = []
        self._turn = threading.Condition()
        self._stopped = False

    def open_all(self) -> None:
        """Make what every lot shares, here and now."""
        while self._waiting:
            one = _Open(self._waiting.pop())
            one.shared, one.ready = one.lot.share(), True
            self._begun.append(one)

    def stop(self) -> None:
        """Let no thread take another batch."""
        with self._turn:
            self._stopped = True
            self._turn.notify_all()

    def work(self) -> None:
        """One thread's share: batches until none is left."""
        own: _Open[Shared] | None = None
        try:
            while (found := self._next(own)) is not None:
                own, batch = found
                if batch is None:
                    own.shared = own.lot.share()
                    with self._turn:
                        own.ready = True
                        self._turn.notify_all()
                else:
                    batch(own.shared)  # type: ignore[arg-type]  # ready: it is there
        except BaseException:
            self.stop()
            raise

    def _next(self, own: _Open[Shared] | None) -> tuple[_Open[Shared], Callable[[Shared], None] | None] | None:
        """A batch, or a lot to begin (no batch); a thread's own lot first, then one not begun, then another's."""
        with self._turn:
            while not self._stopped:
                if own is not None and (batch := self._take(own)) is not None:
                    return own, batch
                if self._waiting:
                    begun = _Open(self._waiting.pop())
                    self._begun.append(begun)
                    return begun, None
                for other in [one for one in self._begun if one.ready]:
                    if (batch := self._take(other)) is not None:
                        return other, batch
                if not self._begun:
                    return None
                self._turn.wait()
            return None

    def _take(self, one: _Open[Shared]) -> Callable[[Shared], None] | None:
        """The next batch of a lot; one that has none left is forgotten with what it shares."""
        batch = next(one.left, None)
        if batch is None and one in self._begun:
            self._begun.remove(one)
            self._turn.notify_all()
        return batch


@contextmanager
def _restored() -> Iterator[None]:
    """Torch's number of threads as it was: setting it in one thread is felt in those that come after."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)
