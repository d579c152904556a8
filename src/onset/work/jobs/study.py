"""Carrying out one piece of a study, in whatever process: train a run, or evaluate a checkpoint or a part of it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onset.data.contamination import of_study
from onset.study.architectures import own_class
from onset.study.shapes import HuggingFaceShape
from onset.work.jobs.evaluate import open_scorer, write_chunk, write_items, write_losses
from onset.work.jobs.train import train_run
from onset.work.ledger import StudyLedger
from onset.work.piece import Control, Piece
from onset.work.resources import Slot

if TYPE_CHECKING:
    from onset.score.causal import CausalLM
    from onset.score.heldout import Unigram
    from onset.score.scorer import Scorer


def run_piece(ledger: StudyLedger, piece: Piece, slot: Slot, control: Control) -> None:
    """Do one piece. What it makes is written whole or not at all; done already, it is not done again."""
    if piece.kind == "train":
        _release_model()
        train_run(ledger, piece, slot, control)
    elif piece.kind == "overlap":
        run = ledger.study.base(ledger.study.run(piece.run))
        control.report({"doing": "held-out text in the training text"})
        of_study(ledger.materials, run.mix, run.tokenizer, _texts(ledger))
    else:
        _evaluate(ledger, piece, slot, control)


def _evaluate(ledger: StudyLedger, piece: Piece, slot: Slot, control: Control) -> None:
    """Ask a checkpoint what is absent, or the part of it that the piece names."""
    run = ledger.study.run(piece.run)
    rundir = ledger.rundir(run)
    missing = ledger.missing(piece.run, piece.step)
    if not missing:
        return
    found = _opened(ledger, rundir.checkpoint(piece.step), slot.devices, piece, control)
    if found is None:
        return
    lm, scorer = found
    if piece.task:
        assert piece.chunk is not None
        if piece.task in missing.tasks:
            control.report({"doing": f"{piece.task} {piece.chunk + 1}/{ledger.chunk_counts[piece.task]}"})
            task, digest = ledger.tasks[piece.task], ledger.task_digests[piece.task]
            write_chunk(scorer, task, digest, rundir, piece.step, piece.chunk)
        return
    if missing.loss:
        control.report({"doing": "held-out loss"})
        base = ledger.study.base(run)
        columns = of_study(ledger.materials, base.mix, base.tokenizer, _texts(ledger))
        unigram = _unigram(ledger, base.mix, base.tokenizer)
        about = {"dtype": ledger.dtype}
        write_losses(lm, _texts(ledger), rundir, piece.step, unigram, about=about, columns=columns)
    for name in missing.tasks if piece.kind == "evaluate" else ():
        control.report({"doing": name})
        say = lambda number, count: control.check()  # noqa: E731 - between chunks nothing is lost by stopping
        write_items(scorer, ledger.tasks[name], ledger.task_digests[name], rundir, piece.step, say)


_last: dict[tuple[Path, tuple[str, ...], str], tuple[CausalLM, Scorer]] = {}


def _opened(
    ledger: StudyLedger, folder: Path, devices: tuple[str, ...], piece: Piece, control: Control
) -> tuple[CausalLM, Scorer] | None:
    """A checkpoint and its scorer; None where it was damaged and set aside.

    The last one is kept for a worker that is given one part of an evaluation after another.
    """
    from onset.train.checkpoint import fault, set_aside

    key = (folder, devices, ledger.dtype)
    whole = piece.kind == "evaluate" and not piece.task
    if whole or key not in _last:
        _release_model()  # first: two models may not fit
        if (why := fault(folder)) is not None:
            # Not scored, and not a dead end: with the folder gone, its training is pending again.
            name = folder.parent.parent.name
            control.report({"notice": f"checkpoint {piece.step} of {name} is damaged ({why}): it is made again"})
            set_aside(folder)
            return None
        shape = ledger.study.run(piece.run).shape
        if isinstance(shape, HuggingFaceShape) and shape.own_file is not None:
            own_class(shape)  # code that the study itself names is run without being asked for
        _last[key] = open_scorer(folder, devices, ledger.dtype)
    return _last[key]


def _release_model() -> None:
    _last.clear()


@lru_cache(maxsize=2)
def _texts(ledger: StudyLedger) -> dict[str, dict[str, list[str]]]:
    return {text.name: ledger.materials.held_out(text) for text in ledger.study.validation}


@lru_cache(maxsize=4)
def _unigram(ledger: StudyLedger, mix: str, tokenizer: str) -> Unigram:
    """How frequent tokens are in the training text of a mix."""
    from onset.score.heldout import Unigram

    shards = [ledger.materials.shard(source, tokenizer) for source in ledger.study.mixes[mix].sources]
    vocab = ledger.materials.vocab(tokenizer)
    return Unigram.of_counts(sum((shard.counts(vocab) for shard in shards), np.zeros(vocab, dtype=np.int64)))
