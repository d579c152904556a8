"""Carrying out one piece of work, in whatever process: train a run or evaluate a checkpoint."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from typing import TYPE_CHECKING

from onset.data.overlaps import of_study
from onset.store.rundir import RunDir
from onset.study.branching import branches
from onset.study.plan import memory_limit
from onset.work.jobs.evaluate import open_scorer, write_items, write_losses
from onset.work.ledger import Piece, Report, Workplace
from onset.work.resources import Held, Seat

if TYPE_CHECKING:
    from onset.score.heldout import Unigram
    from onset.study.spec import Run
    from onset.train.handoff import Branch
    from onset.train.parallel import Mesh
    from onset.train.trainer import Progress

SECONDS_BETWEEN = 0.5
"""Progress of a training is told at most so often."""


OUTCOME = ("trunk", "skipped", "arithmetic")
"""What run.json takes over from a run that has ended."""

HELD_SECONDS = 8.0
"""So long a run's lock is waited for: what a killed command left behind notices it within seconds, and ends."""


def carry_out(place: Workplace, piece: Piece, seat: Seat, report: Report) -> None:
    """Do one piece. What it makes is written whole or not at all; done already, it is not done again."""
    if piece.kind == "train" and len(seat.devices) > 1:
        from onset.work.engines.torchrun import train_in_team

        train_in_team(place, piece, seat, report)
    elif piece.kind == "train":
        train_piece(place, piece, seat, report)
    else:
        _evaluate(place, piece, seat, report)


@contextmanager
def _held(rundir: RunDir) -> Iterator[None]:
    """Hold a run for this process, waiting a moment for one that is ending. Raises Held where it does not end."""
    until = time.monotonic() + HELD_SECONDS
    while True:
        with rundir.lock() as held:
            if held:
                yield
                return
        if time.monotonic() > until:
            raise Held(rundir.path)
        time.sleep(0.2)


def train_piece(place: Workplace, piece: Piece, seat: Seat, report: Report, mesh: Mesh | None = None) -> None:
    """Train the piece's run in this process, or this process's part of it where ``mesh`` names several.

    The process that leads holds the run's lock. SIGTERM and SIGINT are obeyed once a recovery state is written.
    """
    from onset.train.stopping import stopped_by_signals
    from onset.train.trainer import Job, train

    run = place.study.run(piece.run)
    rundir = place.rundir(run)
    leads = mesh is None or mesh.leads
    with _held(rundir) if leads else nullcontext(), stopped_by_signals() as asked:
        if leads:
            rundir.create(place.meta(run))
            rundir.done_path.unlink(missing_ok=True)  # a piece is owed: where the run was done, a checkpoint is lost
        job = Job(
            run=run,
            vocab=place.vocab(run),
            mixture=place.materials.mixture(run),
            tokenizer=place.materials.tokenizer(run.tokenizer),
            rundir=rundir,
            precision=place.study.precision,
            threads=seat.threads,
            device=seat.device,
            memory=seat.memory if seat.memory is not None else memory_limit(place.study),
            logs=place.logs,
            branches=_branches(place, run),
            state_seconds=60 * place.study.state_minutes,
            deterministic=place.study.deterministic,
        )
        told = _teller(run, report)
        train(job, mesh, on_progress=told, on_notice=lambda text: report({"notice": text}), should_stop=asked)
        if leads:
            _record(rundir)


def _teller(run: Run, report: Report) -> Callable[[Progress], None]:
    """Reports a training's progress, not too often."""
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

    return tell


def _branches(place: Workplace, run: Run) -> tuple[Branch, ...]:
    """What the runs that branch from this one get of it."""
    from onset.train.handoff import Branch

    found = []
    for other, step in branches(place.study, run):
        declared = frozenset(one for one in place.steps(other) if one <= step)
        meta = place.meta(other) | {"trunk": {"run": place.rundir(run).name, "steps": step}}
        found.append(Branch(place.rundir(other), step, declared, meta))
    return tuple(found)


def _record(rundir: RunDir) -> None:
    """Let run.json tell how the run came to its end: its trunk, batches left out, its arithmetic."""
    if not rundir.done:
        return
    told = json.loads(rundir.done_path.read_text(encoding="utf-8"))
    meta = rundir.meta()
    wanted = {name: value for name, value in meta.items() if name not in OUTCOME}
    wanted |= {name: told[name] for name in OUTCOME if name in told}
    if wanted != meta:
        rundir.rewrite(wanted)


def _evaluate(place: Workplace, piece: Piece, seat: Seat, report: Report) -> None:
    from onset.train.checkpoint import fault, set_aside

    run = place.study.run(piece.run)
    rundir = place.rundir(run)
    missing = place.missing_tasks(run, piece.step)
    no_loss = place.missing_loss(run, piece.step)
    if not missing and not no_loss:
        return
    folder = rundir.checkpoint(piece.step)
    if (why := fault(folder)) is not None:
        # Not scored, and not a dead end: with the folder gone, its training is owed again.
        report({"notice": f"checkpoint {piece.step} of {rundir.name} is damaged ({why}): it is made again"})
        set_aside(folder)
        return
    lm, scorer = open_scorer(folder, seat.device)
    if no_loss:
        report({"doing": "held-out loss"})
        found = of_study(place.materials, run.mix, run.tokenizer, _texts(place))
        unigram = _unigram(place, run.mix, run.tokenizer)
        write_losses(lm, _texts(place), rundir, piece.step, unigram, columns=found)
    for name in missing:
        report({"doing": name})
        write_items(scorer, place.tasks[name], place.task_digests[name], rundir, piece.step)


@lru_cache(maxsize=2)
def _texts(place: Workplace) -> dict[str, dict[str, list[str]]]:
    return {text.name: place.materials.held_out(text) for text in place.study.validation}


@lru_cache(maxsize=4)
def _unigram(place: Workplace, mix: str, tokenizer: str) -> Unigram:
    """How frequent tokens are in the training text of a mix."""
    from onset.score.heldout import Unigram

    shards = [place.materials.shard(source, tokenizer) for source in place.study.mixes[mix].sources]
    return Unigram.of_ids((shard.ids for shard in shards), place.materials.vocab(tokenizer))
