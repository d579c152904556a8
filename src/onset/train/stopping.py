"""Ending a training in good order: a signal asks for it, a recovery state is written, then the signal takes effect."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""SIGTERM is what schedulers send before a job's time is over, SIGINT what Ctrl-C does."""


@contextmanager
def stopped_by_signals() -> Iterator[Callable[[], bool]]:
    """Within, SIGTERM and SIGINT are noted instead of obeyed; yields whether one came.

    At the end the handlers are as before, and a signal that came is sent again. SIGINT is left alone where it is
    ignored, and so are both outside the main thread, where Python sets no handlers.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    before = {one: signal.getsignal(one) for one in SIGNALS if signal.getsignal(one) != signal.SIG_IGN}
    for one in before:
        signal.signal(one, note)
    try:
        yield lambda: bool(came)
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
        if came:
            signal.raise_signal(came[0])
