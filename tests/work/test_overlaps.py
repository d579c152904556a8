"""Overlap of validation texts with a study's shards: found by itself, once, and told on the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onset.data import contamination
from onset.data.tokenize import Materials
from onset.errors import OnsetError
from onset.store.parts import LOSSES, write_part
from onset.store.rundir import RunDir
from onset.study.files import dump
from onset.study.spec import Mix, Source, Study, TokenizerSpec, Validation
from onset.tables.study import _overlap_notes
from onset.work.jobs.study import run_piece
from onset.work.ledger import StudyLedger
from onset.work.piece import Control, Event, Piece
from onset.work.resources import Machine, Need, Packer, Slot

WORDS = ("hill", "lamp", "king", "road", "tree", "moon", "ship", "door", "fire", "rain", "wolf", "coat")


def story(seed: int, count: int = 120) -> str:
    return " ".join(WORDS[(seed * at * at + 7 * at + seed) % len(WORDS)] + str(at * seed % 97) for at in range(count))


@pytest.fixture
def materials(small: Study, tmp_path: Path) -> Materials:
    """A study on eight stories whose validation text is one of them, a half of another and two that are new."""
    stories = [story(seed) for seed in range(2, 10)]
    held_out = [stories[0], stories[3][: len(stories[3]) // 2] + story(50, 90), story(51), story(52)]
    for name, texts in (("train", stories), ("valid", held_out)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    sources = {
        name: Source(name=name, path=str(tmp_path / f"{name}.jsonl"), language="en") for name in ("train", "valid")
    }
    study = small.model_copy(
        update={
            "world": None, "tasks": (), "mixes": {"main": Mix(sources=(sources["train"],))},
            "tokenizers": {"main": TokenizerSpec(vocab=300)},
            "validation": (Validation(name="stories", sources=(sources["valid"],)),),
        }
    )  # fmt: skip
    made = Materials(study, tmp_path / "study")
    made.prepare()
    return made


def test_a_study_knows_how_much_of_its_validation_text_it_was_trained_on(
    materials: Materials, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lost otherwise: a loss on training text, taken for one on held-out text."""
    ledger = StudyLedger(materials.study, materials.out)
    before = ledger.pending(fresh=True).pieces
    assert [piece.kind for piece in before[:2]] == ["overlap", "train"], "once, though two runs share their text"
    assert sum(piece.kind == "overlap" for piece in before) == 1
    run_piece(ledger, before[0], Slot(), Control())
    ledger.hear(Event("done", before[0]))
    assert "overlap" not in {piece.kind for piece in ledger.pending().pieces}
    texts = {text.name: materials.held_out(text) for text in materials.study.validation}
    monkeypatch.setattr(contamination, "overlap", lambda *_: pytest.fail("it was kept, and is not looked for again"))
    found = contamination.of_study(materials, "main", "main", texts)
    assert found["stories", "en"]["overlap_documents"] == pytest.approx(0.25, abs=0.26)
    assert 0.25 < found["stories", "en"]["overlap_ngrams"] < 0.5


def test_losses_wait_for_the_overlap_and_answers_do_not(materials: Materials) -> None:
    """Losses would stand without their overlap, or tasks would wait for days of reading a large corpus."""
    ledger = StudyLedger(materials.study, materials.out)
    run = materials.study.runs[0]
    step = ledger.steps(run)[0]
    ledger.rundir(run).checkpoint(step).mkdir(parents=True)
    ledger.pending(fresh=True)
    whole, loss = Piece("evaluate", run.name, step), Piece("loss", run.name, step)
    chunk = Piece("evaluate", run.name, step, task="t", chunk=0)
    assert [ledger.ready(piece) for piece in (whole, loss, chunk)] == [False, False, True]
    file = contamination.file_of(materials, run.mix, run.tokenizer)
    file.write_text("{}")
    ledger.hear(Event("done", Piece("overlap", run.name)))
    assert [ledger.ready(piece) for piece in (whole, loss, chunk)] == [True, True, True]


def test_reading_the_corpus_takes_no_gpu(materials: Materials) -> None:
    ledger = StudyLedger(materials.study, materials.out)
    need = ledger.need(Piece("overlap", materials.study.runs[0].name), 1)
    packer = Packer(Machine(4, 10**10, (10**10,)), workers=3, threads=1, gpus=1)
    assert packer.allocate("a", Need(each=10**9)) == Slot(1, ("cuda:0",))
    assert packer.allocate("overlap", need) == Slot(1, ("cpu",))
    assert packer.allocate("b", Need(each=10**9)) is None, "the one GPU has its one piece"


def test_onset_loss_looks_into_the_shards_of_a_study_that_has_run(materials: Materials) -> None:
    """Lost otherwise: another study's text, tokenised anew into its folder, for a question about a text."""
    with pytest.raises(OnsetError, match="no study here"):
        contamination.opened(materials.out)
    (materials.out / "study.toml").write_text(dump(materials.study), encoding="utf-8")
    known = contamination.of_text(materials.out, (story(2), story(60)))
    assert known["overlap_documents"] == 0.5
    assert known["overlap_ngrams"] == pytest.approx(0.5, abs=0.1)
    materials.shard_folder(materials.study.mixes["main"].sources[0], "main").rename(materials.out / "away")
    with pytest.raises(OnsetError, match="not there yet"):
        contamination.opened(materials.out)


def test_the_page_tells_the_overlap_of_each_text(tmp_path: Path) -> None:
    """Lost otherwise: the figure is in a table that nobody opens."""
    runs = [RunDir(tmp_path / "runs" / name) for name in ("a", "b", "old")]
    for share, run in zip((0.25, 0.5, None), runs, strict=True):
        row = {"run": run.name, "step": 1, "text": "t", "language": "en", "nats_per_token": 1.0, "bits_per_byte": 1.0,
               "tokens": 1, "bytes": 1, "overlap_ngrams": share, "overlap_documents": share and 0.1}  # fmt: skip
        write_part(run.loss(1), [row], LOSSES)
    (note,) = _overlap_notes(runs)
    assert "of 't' (en), 25.0 to 50.0 % of pieces" in note
    assert "10.0 % of documents" in note
    assert _overlap_notes(runs[2:]) == []
