"""Without these a tuning would wait for ever, train its base again unasked, or stand at a loss of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from rich.console import Console

import onset
from onset.errors import OnsetError
from onset.store.parts import read_part
from onset.study.files import dump, parse
from onset.study.spec import Study
from onset.work.engines.inline import InlineEngine
from onset.work.ledger import StudyLedger
from onset.work.piece import Piece
from onset.work.study import run_study

MORE = """
[[runs]]
name = "t"
tokens = 4_096
batch = 4
mix = "chat"
start = { run = "w16", at = "every" }
"""
CHAT = '[mixes.chat]\nsources = [{ name = "c", path = "world", language = "en", kind = "chat", template = "bare" }]\n'


@pytest.fixture(scope="module")
def study(small: Study) -> Study:
    """A run of three checkpoints, each of them tuned for eight steps, asked about one task."""
    first = dump(small.model_copy(update={"runs": small.runs[:1], "tasks": small.tasks[:1]}))
    return parse(first.replace("[tokenizers", CHAT + "\n[tokenizers", 1) + MORE)


@pytest.fixture(scope="module")
def done(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tuned")
    outcome = run_study(study, out, engine=InlineEngine(), console=Console(quiet=True))
    assert outcome.problems == ()
    assert outcome.pending == 0
    return out


def test_a_tuned_checkpoint_stands_at_the_loss_and_tokens_of_its_start(study: Study, done: Path) -> None:
    rows = onset.read(done)
    rows = rows[rows["metric"] == "accuracy"]
    steps = set(study.runs[0].checkpoint_steps)
    assert rows["run"].nunique() == 2
    assert {int(step) for step in rows["step"]} == steps
    assert (rows.groupby("step")[["loss", "tokens"]].nunique() == 1).all(axis=None)
    assert rows["extra"].str.contains('"stage": "tuned"').sum() == len(steps)
    # Its own loss is measured too, and is another one: it was trained on conversations.
    ledger = StudyLedger(study, done)
    own, base = (read_part(ledger.folder(name).loss(step)) for name, step in (("t-23", 8), ("w16", 23)))
    assert not own["nats_per_token"].equals(base["nats_per_token"])


def test_findings_are_of_the_base_and_the_shift_is_told_beside_them(done: Path) -> None:
    analysis = onset.analyze(onset.read(done))
    assert {one.n_runs for one in analysis.findings} == {1}
    assert {one.stage for one in analysis.stage_effects} == {"tuned"}
    assert len(analysis.to_frame("stage_effects")) == len(analysis.findings)


def test_a_start_whose_checkpoint_is_gone_is_one_error_before_anything_runs(
    study: Study, done: Path, tmp_path: Path
) -> None:
    out = tmp_path / "gone"
    shutil.copytree(done, out)
    ledger = StudyLedger(study, out)
    shutil.rmtree(ledger.folder("w16").checkpoint(5))
    assert ledger.pending(fresh=True).pieces == ()  # what needed it is done
    shutil.rmtree(ledger.folder("t-5").path)
    with pytest.raises(OnsetError, match="starts from step 5 of run 'w16', and that checkpoint is gone"):
        run_study(study, out, engine=InlineEngine(), console=Console(quiet=True))
    ledger = StudyLedger(study, out)
    kinds = [piece.key for piece in ledger.pending(fresh=True).pieces if piece.kind == "train"]
    assert kinds == ["train w16 0", "train t-5 0"]
    assert not ledger.ready(Piece("train", "t-5"))


def test_a_tuning_of_a_run_that_was_given_up_is_given_up(study: Study, tmp_path: Path) -> None:
    ledger = StudyLedger(study, tmp_path)
    folder = ledger.folder("w16")
    folder.path.mkdir(parents=True)
    folder.failed_path.write_text("the loss became nan\n", encoding="utf-8")
    pending = ledger.pending(fresh=True)
    assert [piece for piece in pending.pieces if piece.kind == "train"] == []
    assert "which it starts from, was given up: the loss became nan" in pending.failed["t-5"]
