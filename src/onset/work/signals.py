"""SIGTERM, which schedulers send before a job's time is over, and Ctrl-C: they ask all work to stop in good order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from onset.work.piece import Stopped

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Whether a signal has asked for a stop: called, it answers."""

    number: int | None = None

    def __call__(self) -> bool:
        return self.number is not None

    def check(self, where: object) -> None:
        """Raise ``Stopped`` with the signal's number where one came."""
        if self.number is not None:
            raise Stopped(where, self.number)


@contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Within, the first SIGTERM or SIGINT is noted instead of obeyed; a second one ends the process as usual.

    Outside the main thread, where Python sets no handlers, none is noted.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        request.number = number
        restore()

    for number in SIGNALS:
        if before[number] != signal.SIG_IGN:
            signal.signal(number, note)
    try:
        yield request
    finally:
        restore()
