"""Carrying out one piece of work, in whatever process: train a run or evaluate a checkpoint."""

from __future__ import annotations

import time
from functools import lru_cache
from pathlib import Path

from onset.errors import OnsetError
from onset.store.rundir import RunDir
from onset.work.evaluate import open_scorer, write_items, write_losses
from onset.work.pieces import Piece, Report, Workplace

SECONDS_BETWEEN = 0.5
"""Progress of a training is told at most so often."""


def carry_out(place: Workplace, piece: Piece, threads: int, report: Report) -> None:
    """Do one piece. What it makes is written whole or not at all; done already, it is not done again."""
    if piece.kind == "train":
        _train(place, piece, threads, report)
    else:
        _evaluate(place, piece, report)


def _train(place: Workplace, piece: Piece, threads: int, report: Report) -> None:
    from onset.lm.trainer import Job, Progress, train

    run = place.study.run(piece.run)
    rundir = place.rundir(run)
    with rundir.lock() as held:
        if not held:
            raise OnsetError(
                "another process is training this run",
                where=rundir.path,
                advice="wait for it to end (onset status), or stop it, then run the same command again",
            )
        rundir.create(place.meta(run))

        told = 0.0

        def tell(progress: Progress) -> None:
            nonlocal told
            if time.monotonic() - told < SECONDS_BETWEEN and progress.step < run.steps:
                return
            told = time.monotonic()
            report(
                {
                    "step": progress.step,
                    "steps": run.steps,
                    "tokens": progress.tokens,
                    "loss": progress.loss,
                    "tokens_per_second": progress.tokens_per_second,
                }
            )

        job = Job(
            run=run,
            vocab=place.vocab(run),
            mixture=place.materials.mixture(run),
            tokenizer=place.materials.tokenizer(run.tokenizer),
            rundir=rundir,
            precision=place.study.precision,
            threads=threads,
        )
        train(job, on_progress=tell, on_notice=lambda text: report({"notice": text}))


def _evaluate(place: Workplace, piece: Piece, report: Report) -> None:
    run = place.study.run(piece.run)
    rundir = place.rundir(run)
    missing = place.missing_tasks(run, piece.step)
    no_loss = place.missing_loss(run, piece.step)
    if not missing and not no_loss:
        return
    lm, scorer = open_scorer(_whole_checkpoint(rundir, piece.step))
    if no_loss:
        report({"doing": "held-out loss"})
        write_losses(lm, _texts(place.out, place), rundir, piece.step)
    for name in missing:
        report({"doing": name})
        write_items(scorer, place.tasks[name], place.task_digests[name], rundir, piece.step)


def _whole_checkpoint(rundir: RunDir, step: int) -> Path:
    folder = rundir.checkpoint(step)
    if not folder.is_dir():
        raise OnsetError("the checkpoint is not there", where=folder, advice="run the study again: it is made anew")
    return folder


@lru_cache(maxsize=2)
def _texts(out: Path, place: Workplace) -> dict[str, dict[str, list[str]]]:
    return {text.name: place.materials.held_out(text) for text in place.study.validation}
