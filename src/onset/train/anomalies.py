"""What is odd in a training and yet no reason to stop: a loss that leaps, a clock that jumps."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable

WINDOW = 100
"""Steps that a loss is compared with."""

LEAP_SPREADS, LEAP_NATS = 8.0, 0.3
"""A loss leaps that lies so many spreads (mean absolute deviation), and so many nats, above the mean of the window."""

JUMP_SECONDS = 5.0
"""The clock jumped where it and a clock that cannot jump differ by so much."""


class Watch:
    """Looks at every step's loss and at the clock; ``notice`` is told what is odd."""

    def __init__(self, notice: Callable[[str], None], losses: Iterable[float] = ()) -> None:
        """``losses`` are those of the steps before: with them a resumed run notices what an unbroken one would."""
        self.notice = notice
        self.losses: deque[float] = deque(losses, maxlen=WINDOW)
        self.leaping = False
        self.ahead = time.time() - time.monotonic()

    def see(self, step: int, loss: float) -> None:
        """Look at a step; a leap is told where it begins."""
        if len(self.losses) == WINDOW:
            mean = sum(self.losses) / WINDOW
            spread = sum(abs(one - mean) for one in self.losses) / WINDOW
            leaps = loss - mean > max(LEAP_SPREADS * spread, LEAP_NATS)
            if leaps and not self.leaping:
                self.notice(f"the loss leapt from about {mean:.3f} to {loss:.3f} at step {step}")
            self.leaping = leaps
        self.losses.append(loss)
        ahead = time.time() - time.monotonic()
        if abs(ahead - self.ahead) > JUMP_SECONDS:
            self.notice(
                f"the machine's clock jumped by {ahead - self.ahead:+.0f} s about step {step}: "
                "times in the log jump with it, speeds and the training do not"
            )
            self.ahead = ahead
