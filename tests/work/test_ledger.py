"""Without these a study would ask its file system thousands of times a second, or miss what has become ready."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from onset.store.rundir import RunDir
from onset.study.spec import Study
from onset.work import evaluations as ledgers
from onset.work.ledger import StudyLedger
from onset.work.piece import Event, Piece


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Within, the paths below a study's runs that are looked up, one entry a call."""
    calls: list[str] = []

    def counting(real):  # type: ignore[no-untyped-def]
        def call(path, *arguments, **others):  # type: ignore[no-untyped-def]
            if "runs" in str(path):
                calls.append(str(path))
            return real(path, *arguments, **others)

        return call

    with monkeypatch.context() as patch:
        for name in ("stat", "listdir", "scandir"):
            patch.setattr(os, name, counting(getattr(os, name)))
        yield calls


def score(ledger: StudyLedger, run: str, step: int) -> None:
    """Put empty files where a checkpoint's rows belong."""
    rundir = ledger.folder(run)
    files = [rundir.loss(step), rundir.documents(step)]
    files += [rundir.items(step, name, digest) for name, digest in ledger.task_digests.items()]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def train(rundir: RunDir, *steps: int, done: bool = False) -> None:
    for step in steps:
        rundir.checkpoint(step).mkdir(parents=True)
    if done:
        rundir.done_path.touch()


@pytest.fixture
def ledger(small: Study, tmp_path: Path) -> StudyLedger:
    """A study whose overlap of texts is known."""
    made = StudyLedger(small, tmp_path)
    file = made.overlap(small.runs[0].name)
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    return made


def test_a_study_is_looked_at_once_a_minute_and_in_between_only_where_something_happened(
    ledger: StudyLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = ledger.steps(ledger.study.runs[0])
    train(ledger.folder("w16"), *steps, done=True)
    pending = ledger.pending()
    assert [piece.key for piece in pending.pieces][:1] == ["train w24 0"]
    with counted(monkeypatch) as calls:
        for _ in range(100):
            assert ledger.pending() == pending
            assert ledger.ready(Piece("evaluate", "w16", steps[0]))
    assert calls == []

    score(ledger, "w16", steps[0])
    with counted(monkeypatch) as calls:
        ledger.hear(Event("done", Piece("evaluate", "w16", steps[0])))
        assert len(ledger.pending().pieces) == len(pending.pieces) - 1
    assert calls
    assert all("w16" in path for path in calls), "another run was looked at"
    assert len(calls) < 20

    score(ledger, "w16", steps[1])  # somebody else did it
    assert len(ledger.pending().pieces) == len(pending.pieces) - 1
    monkeypatch.setattr(ledger, "refresh_seconds", 0.0)
    assert len(ledger.pending().pieces) == len(pending.pieces) - 2


def test_a_checkpoint_is_ready_to_be_scored_when_its_training_tells_of_it(ledger: StudyLedger) -> None:
    """Lost otherwise: scores that come a minute late, or only when a run has ended."""
    step = ledger.steps(ledger.study.runs[0])[0]
    piece, training = Piece("evaluate", "w16", step), Piece("train", "w16")
    ledger.pending()
    assert not ledger.ready(piece)
    ledger.hear(Event("progress", training, {"checkpoint": step}))
    assert ledger.ready(piece)


def test_a_piece_whose_parts_are_not_there_is_looked_at_again_and_stays_pending(
    ledger: StudyLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shared file system may show a part seconds after it was written; what is lost is made again."""
    step = ledger.steps(ledger.study.runs[0])[0]
    train(ledger.folder("w16"), *ledger.steps(ledger.study.runs[0]), done=True)
    piece = Piece("evaluate", "w16", step)
    before = len(ledger.pending().pieces)
    monkeypatch.setattr(ledgers, "RECHECK_SECONDS", 0.0)
    ledger.hear(Event("done", piece))
    score(ledger, "w16", step)
    assert len(ledger.pending().pieces) == before - 1


def test_a_checkpoint_that_was_set_aside_is_trained_again_before_it_is_scored(ledger: StudyLedger) -> None:
    steps = ledger.steps(ledger.study.runs[0])
    train(ledger.folder("w16"), *steps, done=True)
    assert "train w16 0" not in [piece.key for piece in ledger.pending().pieces]
    piece = Piece("evaluate", "w16", steps[0])
    ledger.folder("w16").checkpoint(steps[0]).rmdir()
    ledger.hear(Event("done", piece))  # its worker found it damaged
    assert "train w16 0" in [piece.key for piece in ledger.pending().pieces]
    assert not ledger.ready(piece)


def test_an_evaluation_is_divided_into_its_losses_and_the_chunks_that_are_absent(
    ledger: StudyLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = ledger.steps(ledger.study.runs[0])[0]
    train(ledger.folder("w16"), step)
    monkeypatch.setattr(StudyLedger, "chunk_counts", {"world_scripts_en": 3, "world_facts_zh": 1})
    digest = ledger.task_digests["world_scripts_en"]
    chunks = ledger.folder("w16").chunks(step, "world_scripts_en", digest)
    chunks.mkdir(parents=True)
    (chunks / "0001.parquet").touch()
    ledger.pending()
    parts = [part.key for part in ledger.divide(Piece("evaluate", "w16", step))]
    of = f"evaluate w16 {step}"
    assert parts == [
        f"loss w16 {step}",
        f"{of} world_scripts_en 0",
        f"{of} world_scripts_en 2",
        f"{of} world_facts_zh 0",
    ]


def test_a_ledger_travels_without_the_prompts_of_its_tasks(ledger: StudyLedger) -> None:
    import pickle

    _ = ledger.task_digests, ledger.pending()
    assert len(pickle.dumps(ledger)) < 20_000
