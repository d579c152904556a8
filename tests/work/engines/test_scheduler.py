"""Without these pieces would be handed out in the wrong order, twice, too late, or never."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from onset.errors import OnsetError
from onset.store.lock import Locked
from onset.work.engines.retries import DEATHS
from onset.work.engines.scheduler import Message, NoNode, Options, Scheduler
from onset.work.piece import Event, Pending, Piece, Stopped
from onset.work.resources import Need, Slot


class Book:
    """A ledger on paper: pieces are done once they are heard to be."""

    divide_always = False

    def __init__(self, *pieces: Piece, chunks: int = 1, blocked: Iterable[str] = ()) -> None:
        self.pieces, self.chunks, self.blocked = list(pieces), chunks, set(blocked)
        self.parts: dict[str, set[int]] = {}
        self.looks = 0

    def pending(self, *, fresh: bool = False) -> Pending:
        self.looks += fresh
        return Pending(0, tuple(self.pieces))

    def ready(self, piece: Piece) -> bool:
        return piece.key not in self.blocked

    def need(self, piece: Piece, threads: int) -> Need:
        return Need()

    def divide(self, piece: Piece) -> tuple[Piece, ...]:
        left = self.parts.setdefault(piece.key, set(range(self.chunks)))
        return tuple(Piece("evaluate", piece.run, piece.step, 1.0, "task", number) for number in sorted(left))

    def hear(self, event: Event) -> None:
        if event.kind != "done":
            return
        whole = event.piece.whole
        if event.piece.task:
            assert event.piece.chunk is not None
            self.parts[whole.key].discard(event.piece.chunk)
            if self.parts[whole.key]:
                return
        self.pieces = [piece for piece in self.pieces if piece.key != whole.key]
        self.blocked.clear()


class Hands:
    """An executor that does as it is told: one message a turn, from a script by key; else the piece is done."""

    threads, pause, patience = 1, 0.0, 0.0

    def __init__(self, workers: int, script: dict[str, list[Message]] | None = None) -> None:
        self.workers, self.script = workers, script or {}
        self.begun: list[str] = []
        self.at_work: list[Piece] = []
        self.most = 0
        self.closed = self.asked_to_stop = False
        self.refuse: dict[str, OnsetError] = {}

    def allocate(self, piece: Piece, need: Need) -> Slot | None:
        if piece.key in self.refuse:
            raise self.refuse[piece.key]
        return Slot() if len(self.at_work) < self.workers else None

    def release(self, piece: Piece) -> None:
        self.at_work.remove(piece)

    def submit(self, piece: Piece, slot: Slot) -> None:
        self.begun.append(piece.key)
        self.at_work.append(piece)
        self.most = max(self.most, len(self.at_work))

    def wait(self, seconds: float, tell: Callable[[Message], None]) -> None:
        if self.at_work:
            key = self.at_work[0].key
            told = self.script.get(key)
            tell(told.pop(0) if told else Message("done", key))

    def stop(self) -> None:
        self.asked_to_stop = True
        for piece in self.at_work:
            self.script[piece.key] = [Message("failed", piece.key, {"error": Stopped(piece.run)})]

    def close(self) -> None:
        self.closed = True


def evaluation(step: int) -> Piece:
    return Piece("evaluate", "a", step)


def test_trainings_come_first_unless_scores_are_to_come_while_a_study_runs() -> None:
    pieces = (Piece("train", "a"), Piece("train", "b"), evaluation(1))
    hands = Hands(1)
    Scheduler(Book(*pieces), hands, lambda event: None).run()
    assert hands.begun == ["train a 0", "train b 0", "evaluate a 1"]
    hands = Hands(1)
    Scheduler(Book(*pieces), hands, lambda event: None, Options(evaluations_first=True)).run()
    assert hands.begun == ["evaluate a 1", "train a 0", "train b 0"]
    assert hands.closed


def test_an_evaluation_is_divided_among_workers_that_would_idle_and_told_done_once() -> None:
    """Lost otherwise: the last checkpoint of a study is asked by one worker while the others wait."""
    told: list[Event] = []
    hands = Hands(4)
    assert Scheduler(Book(evaluation(1), chunks=6), hands, told.append).run() == {}
    assert hands.begun == [f"evaluate a 1 task {number}" for number in range(6)]
    assert hands.most == 4
    done = [event.piece.key for event in told if event.kind == "done" and not event.piece.task]
    assert done == ["evaluate a 1"]
    many = Hands(2)
    Scheduler(Book(*map(evaluation, range(3)), chunks=6), many, lambda event: None).run()
    assert many.begun[:2] == ["evaluate a 0", "evaluate a 1"], "with enough to do, a model is loaded once"


def test_a_piece_is_tried_again_after_deaths_and_given_up_after_several() -> None:
    lost = {"how": "exit code -9", "advice": "none"}
    key = "train a 0"
    hands = Hands(1, {key: [Message("lost", key, lost) for _ in range(DEATHS - 1)]})
    assert Scheduler(Book(Piece("train", "a")), hands, lambda event: None).run() == {}
    assert hands.begun == [key] * DEATHS
    hands = Hands(1, {key: [Message("lost", key, lost) for _ in range(DEATHS)]})
    given_up = Scheduler(Book(Piece("train", "a")), hands, lambda event: None).run()
    assert f"died {DEATHS} times" in str(given_up[key])


def test_a_run_that_a_dead_worker_still_locks_is_tried_again() -> None:
    key = "train a 0"
    lost = Message("lost", key, {"how": "exit code -9", "advice": "none"})
    hands = Hands(1, {key: [lost, Message("failed", key, {"error": Locked("locked")})]})
    assert Scheduler(Book(Piece("train", "a")), hands, lambda event: None).run() == {}
    hands = Hands(1, {key: [Message("failed", key, {"error": Locked("locked")})]})
    assert list(Scheduler(Book(Piece("train", "a")), hands, lambda event: None).run()) == [key]


def test_what_never_fits_is_given_up_and_the_rest_is_done() -> None:
    hands = Hands(2)
    hands.refuse = {"train a 0": OnsetError("too large"), "train b 0": NoNode("no node has 64 cores")}
    book = Book(Piece("train", "a"), Piece("train", "b"), Piece("train", "c"))
    given_up = Scheduler(book, hands, lambda event: None).run()
    assert {key: error.what for key, error in given_up.items()} == {
        "train a 0": "too large",
        "train b 0": "no node has 64 cores",
    }
    assert hands.begun == ["train c 0"]


def test_before_it_ends_the_scheduler_looks_at_all_files_once() -> None:
    """Lost otherwise: pieces that another machine made ready after it was last looked."""
    book = Book(Piece("train", "a"), evaluation(1), blocked=["evaluate a 1"])
    hands = Hands(1)
    Scheduler(book, hands, lambda event: None).run()
    assert hands.begun == ["train a 0", "evaluate a 1"]
    assert book.looks == 1


@pytest.mark.parametrize("at_once", [True, False])
def test_asked_to_stop_it_hands_out_nothing_more_and_waits_for_what_is_in_hand(at_once: bool) -> None:
    told: list[Event] = []
    hands = Hands(1)
    options = Options(should_stop=lambda: at_once or bool(hands.begun))
    assert Scheduler(Book(Piece("train", "a"), Piece("train", "b")), hands, told.append, options).run() == {}
    assert hands.begun == ([] if at_once else ["train a 0"])
    assert [event.kind for event in told] == ([] if at_once else ["start", "done"])
    assert hands.closed
