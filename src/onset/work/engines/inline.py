"""The executor for one worker: this very process. No second interpreter is started and nothing is rendered twice."""

from __future__ import annotations

from collections.abc import Callable

from onset.errors import OnsetError
from onset.work.engines.scheduler import Message, Options, Scheduler
from onset.work.piece import Control, Ledger, Listener, Piece, Runner
from onset.work.resources import Need, Slot, cores


class InlineEngine:
    """Carries out pieces one after another in this process.

    It has the threads that torch takes by itself: all cores, or as many as OMP_NUM_THREADS says, which counts on a
    machine that is shared (threads that wait for each other there burn what they wait for).
    """

    def has_gpus(self) -> bool:
        """Whether pieces are carried out on GPUs."""
        return False

    def run(
        self, ledger: Ledger, run: Runner, listen: Listener, options: Options | None = None
    ) -> dict[str, OnsetError]:
        """Do all that is pending and can be done; returns the pieces that were given up, by key."""
        options = options or Options()
        return Scheduler(ledger, _InlineExecutor(ledger, run, options.should_stop), listen, options).run()


class _InlineExecutor:
    workers, pause, patience = 1, 0.0, 0.0

    def __init__(self, ledger: Ledger, run: Runner, should_stop: Callable[[], bool]) -> None:
        self.ledger, self.run, self.should_stop = ledger, run, should_stop
        self.threads = cores()
        self.next: tuple[Piece, Slot] | None = None

    def allocate(self, piece: Piece, need: Need) -> Slot | None:
        return Slot(self.threads) if self.next is None else None

    def release(self, piece: Piece) -> None:
        return None

    def submit(self, piece: Piece, slot: Slot) -> None:
        self.next = (piece, slot)

    def wait(self, seconds: float, tell: Callable[[Message], None]) -> None:
        if self.next is None:
            return
        (piece, slot), self.next = self.next, None
        control = Control(lambda data: tell(Message("progress", piece.key, data)), self.should_stop)
        try:
            self.run(self.ledger, piece, slot, control)
        except OnsetError as error:  # a bug is not caught: there is no other piece at work that it could end
            tell(Message("failed", piece.key, {"error": error}))
        else:
            tell(Message("done", piece.key))

    def stop(self) -> None:
        return None

    def close(self) -> None:
        return None
