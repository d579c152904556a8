"""Processes that work through a list side by side, with the same results as one after another.

Each worker is a fresh interpreter that reads calls from its standard input and answers on its standard output, so
that a script without an ``if __name__ == "__main__"`` guard, a notebook and a service may all use it.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from types import TracebackType
from typing import IO, Any, Self, TypeVar

from onset.errors import OnsetError

Item = TypeVar("Item")
Answer = TypeVar("Answer")

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""A worker uses one core: there is a worker for each."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Workers:
    """So many processes, or none: with ``count`` below 2 the calls are made here."""

    def __init__(self, count: int) -> None:
        self.count = count if count > 1 and sys.executable else 0
        self._free: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
        self._all: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve()"
        for _ in range(self.count):
            worker = subprocess.Popen(
                [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | ONE_THREAD
            )
            self._all.append(worker)
            self._free.put(worker)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._all:
            if error is not None:
                worker.kill()
            for pipe in (worker.stdin, worker.stdout):
                if pipe is not None:
                    pipe.close()
            worker.wait()

    def map(
        self, call: Callable[[Item], Answer], items: Iterable[Item], *, done: Callable[[], None] | None = None
    ) -> list[Answer]:
        """``call`` of every item, in the items' order. Both must be picklable; the error of the first
        item that fails, in their order, is raised here.

        ``done`` is called in this process after each item, in the order in which they are done.
        """
        listed: Sequence[Item] = list(items)
        told = done or _nothing
        if not self.count or len(listed) < 2:
            return [_and_tell(call(item), told) for item in listed]
        with ThreadPoolExecutor(self.count) as threads:
            futures = [threads.submit(self._ask, call, item) for item in listed]
            try:
                for future in as_completed(futures):
                    if future.exception() is not None:  # an item before it may fail too: its error is the first
                        for earlier in futures[: futures.index(future) + 1]:
                            earlier.result()
                    _and_tell(future.result(), told)
                return [future.result() for future in futures]
            except BaseException:
                for future in futures:
                    future.cancel()
                for worker in self._all:
                    worker.kill()
                raise

    def _ask(self, call: Callable[[Item], Answer], item: Item) -> Answer:
        worker = self._free.get()
        try:
            assert worker.stdin is not None
            assert worker.stdout is not None
            pickle.dump((call, item), worker.stdin, protocol=pickle.HIGHEST_PROTOCOL)
            worker.stdin.flush()
            done, answer = pickle.load(worker.stdout)
        except (EOFError, BrokenPipeError) as error:
            raise RuntimeError(f"a worker process ended with exit code {worker.wait()}; see above for why") from error
        finally:
            self._free.put(worker)
        if not done:
            raise answer
        found: Answer = answer
        return found


def _nothing() -> None:
    pass


def _and_tell(answer: Answer, told: Callable[[], None]) -> Answer:
    told()
    return answer


def serve() -> None:
    """Answer calls until the input ends. What a call prints goes to the error stream."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
    asked: IO[bytes] = sys.stdin.buffer
    answers: IO[bytes] = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    sys.stdout = sys.stderr
    while True:
        try:
            call, item = pickle.load(asked)
        except EOFError:
            return
        pickle.dump(_answer(call, item), answers, protocol=pickle.HIGHEST_PROTOCOL)
        answers.flush()


def _answer(call: Callable[[Any], Any], item: Any) -> tuple[bool, Any]:
    """An OnsetError is handed to the parent, which raises it; any other error is a bug and ends the worker."""
    try:
        return True, call(item)
    except OnsetError as error:
        return False, error
