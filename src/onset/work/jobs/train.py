"""Training one run: in this process, or this process's part of it where several train it together."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onset import reading
from onset.store.lock import lock_run
from onset.store.rundir import RunDir
from onset.study import cost
from onset.study.branching import branches
from onset.study.choices import chosen
from onset.study.plan import memory_limit
from onset.study.spec import Run, Study
from onset.work.ledger import StudyLedger
from onset.work.piece import Control, Piece, Report, Stopped
from onset.work.resources import Slot

if TYPE_CHECKING:
    from onset.train.handoff import Branch
    from onset.train.parallel import Mesh
    from onset.train.trainer import Progress

SECONDS_BETWEEN = 0.5
"""Progress of a training is reported at most so often."""

OUTCOME = ("trunk", "skipped", "arithmetic")
"""What run.json takes over from a run that has ended."""

LOCK_SECONDS = 8.0
"""So long a run's lock is waited for: what a killed command left behind notices it within seconds, and ends."""


def train_run(ledger: StudyLedger, piece: Piece, slot: Slot, control: Control) -> None:
    """Train the piece's run. Where a process group stands, every process of it calls this with the same piece.

    Raises ``Stopped`` once the recovery state is written where ``control`` asks to stop.
    """
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        from onset.train.parallel import joined

        with joined(slot.device.split(":")[0]) as mesh:
            _train(ledger, piece, slot, control, mesh)
    else:
        _train(ledger, piece, slot, control, None)


def _train(ledger: StudyLedger, piece: Piece, slot: Slot, control: Control, mesh: Mesh | None) -> None:
    from onset.train.trainer import Job, train

    run = ledger.study.run(piece.run)
    rundir = ledger.rundir(run)
    leads = mesh is None or mesh.leads
    with lock_run(rundir.path, LOCK_SECONDS) if leads else nullcontext():
        if leads:
            rundir.create(describe_run(ledger, run))
            rundir.done_path.unlink(missing_ok=True)  # pending: where the run was done, a checkpoint is lost
        start = _start(ledger, run, control) if leads else None
        if mesh is not None:
            start = mesh.told(start)
        if start is None and run.start is not None:
            return  # its checkpoint was set aside: it is made again first
        job = Job(
            run=run,
            vocab=ledger.vocab(run),
            mixture=ledger.materials.mixture(run),
            tokenizer=ledger.materials.tokenizer(run.tokenizer),
            rundir=rundir,
            precision=ledger.study.precision,
            threads=slot.threads,
            device=slot.device,
            memory=slot.memory if slot.memory is not None else memory_limit(ledger.study),
            logs=ledger.logs,
            branches=_branches(ledger, run),
            state_seconds=60 * ledger.study.state_minutes,
            deterministic=ledger.study.deterministic,
            start=start,
        )
        if leads and job.mixture.left_out:
            control.report({"notice": f"{rundir.name}: {job.mixture.left_out} conversations are longer than "
                                      f"{run.shape.context} tokens and are left out"})  # fmt: skip
        finished = train(
            job,
            mesh,
            on_checkpoint=lambda step, model: control.report({"checkpoint": step}),
            on_progress=_progress(run, control.report),
            on_notice=lambda text: control.report({"notice": text}),
            should_stop=control.should_stop,
        )
        if not finished:
            raise Stopped(rundir.path)
        if leads:
            _record(rundir)


def _start(ledger: StudyLedger, run: Run, control: Control) -> Path | None:
    """The folder of the checkpoint that a run starts from; None without one, and where it was damaged and set aside."""
    if run.start is None:
        return None
    from onset.train.checkpoint import fault, set_aside

    folder = ledger.folder(run.start.run).checkpoint(int(run.start.at))
    if (why := fault(folder)) is not None:
        control.report({"notice": f"checkpoint {run.start.at} of {run.start.run} is damaged ({why}): made again"})
        set_aside(folder)
        return None
    return folder


def _progress(run: Run, report: Report) -> Callable[[Progress], None]:
    """Reports a training's progress, not too often."""
    last = 0.0

    def tell(progress: Progress) -> None:
        nonlocal last
        if time.monotonic() - last < SECONDS_BETWEEN and progress.step < run.steps:
            return
        last = time.monotonic()
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


def _branches(ledger: StudyLedger, run: Run) -> tuple[Branch, ...]:
    """What the runs that branch from this one get of it."""
    from onset.train.handoff import Branch

    found = []
    for other, step in branches(ledger.study, run):
        declared = frozenset(one for one in ledger.steps(other) if one <= step)
        meta = describe_run(ledger, other) | {"trunk": {"run": ledger.rundir(run).name, "steps": step}}
        found.append(Branch(ledger.rundir(other), step, declared, meta))
    return tuple(found)


def _record(rundir: RunDir) -> None:
    """Let run.json tell how the run came to its end: its trunk, batches left out, its arithmetic."""
    if not rundir.done:
        return
    ended = reading.json_object(rundir.done_path, advice="delete it and run again: the run's end is written anew")
    meta = rundir.meta()
    wanted = {name: value for name, value in meta.items() if name not in OUTCOME}
    wanted |= {name: ended[name] for name in OUTCOME if name in ended}
    if wanted != meta:
        rundir.rewrite(wanted)


def describe_run(ledger: StudyLedger, run: Run) -> dict[str, Any]:
    """The run's run.json."""
    vocab = ledger.vocab(run)
    parts = cost.parameters(run.shape, vocab)
    return {
        "run": run.name,
        "digest": ledger.study.digest(run),
        "study": ledger.study.name,
        "family": family(ledger.study, run),
        "group": run.group,
        "stage": run.stage_name,
        **_started(ledger, run),
        "architecture": cost.architecture(run.shape),
        "params": sum(parts.values()),
        "params_active": cost.active_parameters(run.shape, vocab),
        "params_by_part": parts,
        "vocab": vocab,
        "flops_per_token": cost.flops_per_token(run.shape, vocab),
        "tokens_per_step": run.tokens_per_step,
        "steps": run.steps,
        "checkpoints": list(ledger.steps(run)),
        "chosen": chosen(run),
        "spec": run.model_dump(mode="json"),
    }


def _started(ledger: StudyLedger, run: Run) -> dict[str, Any]:
    """Where a tuning starts: the folder of the run, the step, its tokens, and the tunings that belong together."""
    if run.start is None:
        return {}
    base, at = ledger.study.base(run), int(run.start.at)
    name = ledger.rundir(base).name
    series = f"{run.start.series}-{name.rpartition('-')[2]}" if run.start.series else ledger.rundir(run).name
    tokens = at * base.tokens_per_step
    return {"start": {"run": name, "step": at, "tokens": tokens, "series": series}}


def family(study: Study, run: Run) -> str:
    """Name of the runs that share corpus, tokenizer and architecture; a tuning is of the family that it starts from."""
    run, parts = study.base(run), [study.name]
    tuned = {one.mix for one in study.runs if one.start} - {study.base(one).mix for one in study.runs}
    if len(study.mixes) - len(tuned) > 1:
        parts.append(run.mix)
    if len(study.tokenizers) > 1:
        parts.append(run.tokenizer)
    if len({cost.architecture(one.shape) for one in study.runs}) > 1:
        parts.append(cost.architecture(run.shape))
    return "-".join(parts)
