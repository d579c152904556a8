"""The plain values of work: pieces, what is pending, and what workers report. They travel between processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from onset.errors import OnsetError
from onset.work.resources import Need, Slot

Kind = Literal["train", "overlap", "evaluate", "loss"]


@dataclass(frozen=True)
class Piece:
    """One thing to do: train a run, look for held-out text in its data, or evaluate a checkpoint or a part of that."""

    kind: Kind
    """'train' a run; 'overlap': how much of the held-out text is in its training text; 'evaluate' a checkpoint: its
    held-out losses and its tasks, or one chunk of a task; 'loss': its held-out losses only."""
    run: str
    """The run's name."""
    step: int = 0
    """The checkpoint to evaluate; 0 for a training."""
    cost: float = 0.0
    """Floating-point operations, by which the longest training is started first."""
    task: str = ""
    """The one task of a divided evaluation; empty for all."""
    chunk: int | None = None
    """The one chunk of that task's items."""

    @property
    def key(self) -> str:
        """Unique within a ledger."""
        whole = f"{self.kind} {self.run} {self.step}"
        return f"{whole} {self.task} {self.chunk}" if self.task else whole

    @property
    def whole(self) -> Piece:
        """The evaluation that this piece is a part of; itself where it is none."""
        return self if self.kind in ("train", "overlap") else Piece("evaluate", self.run, self.step, self.cost)

    def __str__(self) -> str:
        """For messages: 'train w16', 'evaluate w16 step 5, mmlu chunk 3'."""
        if self.kind in ("train", "overlap"):
            return f"{self.kind} {self.run}"
        part = f", {self.task} chunk {self.chunk}" if self.task else ""
        return f"{self.kind} {self.run} step {self.step}{part}"


@dataclass(frozen=True)
class Pending:
    """How far a study is: the number of pieces done, and the pieces that are pending."""

    done: int
    pieces: tuple[Piece, ...]
    failed: dict[str, str] = field(default_factory=dict)
    """Runs that were given up, with the reason."""

    def __str__(self) -> str:
        """What is pending, in words: '2 trainings, 6 evaluations'."""
        kinds = [piece.kind if piece.kind in ("train", "overlap") else "evaluate" for piece in self.pieces]
        names = {"train": "training", "evaluate": "evaluation", "overlap": "text overlap"}
        counts = {name: kinds.count(kind) for kind, name in names.items()}
        told = [f"{count} {name}{'s' * (count != 1)}" for name, count in counts.items() if count]
        return ", ".join(told) or "nothing"


@dataclass(frozen=True)
class Event:
    """Something that happened to a piece: 'start', 'progress', 'done', 'failed' or 'stopped'."""

    kind: Literal["start", "progress", "done", "failed", "stopped"]
    piece: Piece
    data: dict[str, Any] = field(default_factory=dict)


Listener = Callable[[Event], None]

Report = Callable[[dict[str, Any]], None]
"""Tells progress: of a training ``step, steps, tokens, loss, tokens_per_second``, and ``checkpoint`` (a step) for each
that is on disk; of an evaluation ``doing``; of either a ``notice``."""


def _never() -> bool:
    return False


def _silent(data: dict[str, Any]) -> None:
    return None


@dataclass(frozen=True)
class Control:
    """What a piece has of the one who handed it out: whom to report to, and whether it is asked to stop."""

    report: Report = _silent
    should_stop: Callable[[], bool] = _never

    def check(self) -> None:
        """Raise ``Stopped`` where the piece is asked to stop: called where nothing is lost by stopping."""
        if self.should_stop():
            raise Stopped()


class Stopped(OnsetError):
    """Work that was asked to stop has stopped; what was done is on disk."""

    def __init__(self, where: object = None, number: int | None = None) -> None:
        """``number`` is that of the signal: a shell expects 128 more of a command that a signal ended."""
        self.number = number
        self.exit_code = 1 if number is None else 128 + number
        super().__init__(
            "stopped before the end" if number is None else f"stopped by signal {number}",
            where=where,
            advice="run the same command again: it goes on from what is on disk",
        )

    def __reduce__(self) -> tuple[object, ...]:
        return (Stopped, (self.where, self.number))


class Ledger(Protocol):
    """What is done and pending, as engines see it. It travels to other processes, so it can be pickled."""

    divide_always: bool
    """Whether evaluations are divided among workers even while there is other work for all of them."""

    def pending(self, *, fresh: bool = False) -> Pending:
        """What is done and pending; ``fresh`` looks at all files now."""
        ...

    def ready(self, piece: Piece) -> bool:
        """Whether a piece can start."""
        ...

    def need(self, piece: Piece, threads: int) -> Need:
        """The memory that a piece takes."""
        ...

    def divide(self, piece: Piece) -> tuple[Piece, ...]:
        """The parts of an evaluation that are pending, for several workers; the piece itself where it is one."""
        ...

    def hear(self, event: Event) -> None:
        """Take note of what happened to a piece, looking at no files but its own."""
        ...


Runner = Callable[[Any, Piece, Slot, Control], None]
"""Does one piece of a ledger in this process: a function of a module, so that it travels by its name."""
