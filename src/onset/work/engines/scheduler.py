"""The one scheduler: it hands out what is pending and ready, hears of it, tries again, and stops when asked.

What carries the pieces out is an executor: processes of this machine, a Ray cluster, or this very process.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from onset.errors import OnsetError
from onset.work.engines.retries import SETTLE_SECONDS, Retries
from onset.work.piece import Event, Ledger, Listener, Piece, Stopped
from onset.work.resources import Need, Slot

WAIT_SECONDS = 1.0
"""The longest that a scheduler waits for a message before it looks at the ledger again."""

IDLE_SECONDS = 0.05
"""The same where nothing is in hand and a piece rests."""

GRACE_SECONDS = 120.0
"""Workers that are asked to stop may take so long; a training then writes the state from which it goes on."""


@dataclass(frozen=True)
class Message:
    """What an executor hears of a piece: 'progress', 'done', 'failed' (``error``) or 'lost' (``how``, ``advice``)."""

    kind: Literal["progress", "done", "failed", "lost"]
    key: str
    data: dict[str, Any] = field(default_factory=dict)


class NoNode(OnsetError):
    """No node of a cluster is large enough for a piece now; one may yet join."""


class Executor(Protocol):
    """Carries pieces out somewhere."""

    threads: int
    """Threads of each process."""
    workers: int
    """About how many pieces run at once."""
    pause: float
    """Seconds before a piece whose worker died is tried again."""
    patience: float
    """Seconds for which a node that is large enough is waited for."""

    def allocate(self, piece: Piece, need: Need) -> Slot | None:
        """Resources for a piece, or None while there are none.

        Raises OnsetError for a piece that never fits, and ``NoNode`` for one that may fit later.
        """
        ...

    def release(self, piece: Piece) -> None:
        """Free the resources of a piece."""
        ...

    def submit(self, piece: Piece, slot: Slot) -> None:
        """Start a piece."""
        ...

    def wait(self, seconds: float, tell: Callable[[Message], None]) -> None:
        """Tell all that is heard, waiting at most so long for the first message."""
        ...

    def stop(self) -> None:
        """Ask all pieces in hand to stop at their next safe point."""
        ...

    def close(self) -> None:
        """End all workers at once."""
        ...


@dataclass(frozen=True)
class Options:
    """How a scheduler orders and ends its work."""

    evaluations_first: bool = False
    """Whether ready evaluations are handed out before trainings, so that scores come while a study runs."""
    should_stop: Callable[[], bool] = lambda: False
    """Whether all work is to stop: asked at least once a second."""


class Scheduler:
    """One call of an engine: what is in hand, what is divided, and what was given up."""

    def __init__(self, ledger: Ledger, executor: Executor, listen: Listener, options: Options | None = None) -> None:
        self.ledger, self.executor, self.listener = ledger, executor, listen
        self.options = options or Options()
        self.retries = Retries(self._listen, executor.pause)
        self.in_hand: dict[str, Piece] = {}
        self.divided: set[str] = set()
        self.no_node_since: float | None = None

    def run(self) -> dict[str, OnsetError]:
        """Do all that is pending and can be done; returns the pieces that were given up, by key."""
        try:
            while not self.options.should_stop():
                waiting = self._hand_out()
                if not self.in_hand and not waiting:
                    self.ledger.pending(fresh=True)  # nothing is left to do by what was heard: is it so on disk?
                    if not self._hand_out() and not self.in_hand:
                        return self.retries.given_up
                self.executor.wait(WAIT_SECONDS if self.in_hand else IDLE_SECONDS, self._hear)
            self._stop()
            return self.retries.given_up
        finally:
            self.executor.close()

    def _hand_out(self) -> bool:
        """Start every ready piece that finds resources; returns whether some wait to be tried again.

        A training that finds none is waited for: no other passes it, or the largest would never start. Only
        evaluations, which are short, may.
        """
        blocked, waiting, no_node = False, False, None
        for piece in self._ready():
            if self.retries.resting(piece.key):
                waiting = True
                continue
            if piece.kind == "train" and blocked:
                continue
            try:
                slot = self.executor.allocate(piece, self.ledger.need(piece, self.executor.threads))
            except NoNode as error:
                no_node = no_node or (piece, error)
                continue
            except OnsetError as error:
                self.retries.give_up(piece, OnsetError(error.what, where=piece.key, advice=error.advice))
                continue
            if slot is None:
                blocked = blocked or piece.kind == "train"
                if len(self.in_hand) >= self.executor.workers:
                    break
                continue
            self.in_hand[piece.key] = piece
            self._listen(Event("start", piece))
            self.executor.submit(piece, slot)
        return self._wait_for_node(no_node) or waiting

    def _wait_for_node(self, missed: tuple[Piece, NoNode] | None) -> bool:
        """Whether to wait for a node for a piece that fits on none; after a while it is given up."""
        if missed is None or self.in_hand:
            self.no_node_since = None
            return missed is not None
        self.no_node_since = self.no_node_since or time.monotonic()
        if time.monotonic() - self.no_node_since > self.executor.patience:
            piece, error = missed
            self.retries.give_up(piece, OnsetError(error.what, where=piece.key, advice=error.advice))
        return True

    def _ready(self) -> list[Piece]:
        """Ready pieces in the order in which they are handed out; evaluations are divided where workers would idle."""
        pending = self.ledger.pending().pieces
        ready = [
            piece
            for piece in pending
            if piece.key not in self.in_hand and piece.key not in self.retries.given_up and self.ledger.ready(piece)
        ]
        if self.options.evaluations_first:
            ready.sort(key=lambda piece: piece.kind == "train")
        idle = self.executor.workers - len(self.in_hand)
        few = self.executor.workers > 1 and len(ready) < idle
        parts: list[Piece] = []
        for piece in ready:
            if piece.kind == "evaluate" and (few or self.ledger.divide_always or piece.key in self.divided):
                self.divided.add(piece.key)
                parts += self.ledger.divide(piece)
            else:
                parts.append(piece)
        return [piece for piece in parts if piece.key not in self.in_hand and piece.key not in self.retries.given_up]

    def _hear(self, message: Message) -> None:
        piece = self.in_hand[message.key]
        if message.kind == "progress":
            self._listen(Event("progress", piece, message.data))
            return
        del self.in_hand[message.key]
        self.executor.release(piece)
        if message.kind == "done":
            self.retries.rest(piece.key, SETTLE_SECONDS)
            self._listen(Event("done", piece))
            self._tell_whole(piece)
        elif message.kind == "lost":
            self.retries.lost(piece, message.data["how"], message.data["advice"])
        elif isinstance(message.data["error"], Stopped):
            self._listen(Event("stopped", piece))
        else:
            self.retries.failed(piece, message.data["error"])

    def _listen(self, event: Event) -> None:
        self.ledger.hear(event)
        self.listener(event)

    def _tell_whole(self, part: Piece) -> None:
        """Tell that an evaluation is done once the last of its parts is."""
        whole = part.whole
        if whole.key in self.divided and all(piece.key != whole.key for piece in self.ledger.pending().pieces):
            self.divided.discard(whole.key)
            self.listener(Event("done", whole))

    def _stop(self) -> None:
        """Ask what is in hand to stop, and wait for it."""
        self.executor.stop()
        until = time.monotonic() + GRACE_SECONDS
        while self.in_hand and time.monotonic() < until:
            self.executor.wait(WAIT_SECONDS, self._hear)
