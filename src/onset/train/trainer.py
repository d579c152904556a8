"""A run, trained: batches to steps to checkpoints, resumed exactly where it was left.

On a processor a resume equals a run that never stopped, bitwise with the same machine and thread count: batches are a
function of seed and step, and the recovery state holds weights and optimiser. On GPUs it does so within rounding, and
bitwise with deterministic algorithms. Every process of a training runs this same loop; the first one alone writes the
log and the checkpoints. Nothing is evaluated here; ``on_checkpoint`` is where held-out losses are measured.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch

from onset.cpu.build import untuned, why_not
from onset.data.mixture import Mixture
from onset.data.tokenizer import Tokenizer
from onset.errors import OnsetError
from onset.models.build import first_model
from onset.models.contract import CausalModel
from onset.store.parts import write_text
from onset.store.rundir import RunDir
from onset.study.cost import checkpoint_steps
from onset.study.spec import Run
from onset.train import checkpoint
from onset.train.anomalies import Watch
from onset.train.feed import Feed, inputs_and_targets
from onset.train.handoff import Branch, Trunk
from onset.train.log import Log, Speed
from onset.train.parallel import Mesh, ShardedStepper
from onset.train.precision import Arithmetic, choose
from onset.train.resume import Past, facts, resume, whole_already
from onset.train.schedule import rate
from onset.train.settings import determinism, threads
from onset.train.states import Saver
from onset.train.step import Outcome, Stepper, Steps
from onset.train.trackers import mirrors


@dataclass(frozen=True)
class Job:
    """All that a training needs. The run's directory exists and the process that leads holds its lock."""

    run: Run
    vocab: int
    mixture: Mixture
    tokenizer: Tokenizer
    rundir: RunDir
    precision: str = "auto"
    """'auto', 'float32' or 'bfloat16'."""
    threads: int = 1
    device: str = "cpu"
    """Where one process trains; several train where their mesh says."""
    memory: int | None = None
    """Bytes that the training may hold on each device."""
    logs: tuple[str, ...] = ()
    """Where the log is shown too: 'tensorboard', 'wandb', 'wandb-offline'."""
    branches: tuple[Branch, ...] = ()
    """Runs that take over this one's first steps instead of training them."""
    state_seconds: float = 600.0
    """Recovery states are written at least so often."""
    deterministic: bool = False
    """Whether torch may use deterministic algorithms only."""
    start: Path | None = None
    """Folder of the checkpoint whose weights it begins with; None where they are drawn."""


@dataclass(frozen=True)
class Progress:
    """Where a run stands after a step."""

    step: int
    steps: int
    tokens: int
    loss: float
    rate: float
    grad_norm: float
    tokens_per_second: float
    auxiliary: float | None = None
    """What is minimised beside the loss, where the model has such."""


def train(
    job: Job,
    mesh: Mesh | None = None,
    *,
    on_checkpoint: Callable[[int, CausalModel], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_notice: Callable[[str], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> bool:
    """Train a run to its end, or go on with it; returns False where ``should_stop`` ended it early, its state saved.

    ``mesh`` names the processes that train it together: each calls this with the same job. ``on_checkpoint(step,
    model)`` is called once a checkpoint is on disk, and again for the newest one after a resume; it must leave the
    model as it is. ``on_notice`` is told what was found damaged and what is odd. These and ``on_progress`` are called
    in the process that leads; ``should_stop`` is asked in all, and any can end it. Raises OnsetError when the loss is
    not finite (the reason is then in the run's FAILED; the run may allow some batches to be left out), and when the
    disk cannot be written.
    """
    mesh = mesh or Mesh(device=job.device)
    hooks = _Hooks(
        on_checkpoint or (lambda step, model: None),
        on_progress or (lambda here: None),
        (mesh.leads and on_notice) or (lambda text: None),
        should_stop or (lambda: False),
    )
    if job.mixture.context != job.run.shape.context or job.mixture.rows != job.run.batch:
        raise OnsetError(f"the mixture's batches are not of run '{job.run.name}'s shape", where=job.rundir.path)
    if mesh.told(mesh.leads and whole_already(job.run, job.rundir, hooks.notice)):
        return True
    arithmetic = mesh.told(
        choose(
            job.run, job.vocab, precision=job.precision, threads=job.threads, device=mesh.device, memory=job.memory,
            processes=mesh.size, per_host=mesh.per_host,
        )
    )  # fmt: skip
    _tell_slow(job, arithmetic, mesh, hooks.notice)
    # The kernels' passes bring their own threads.
    with threads(1 if arithmetic.engine == "kernels" else job.threads), determinism(job.deterministic):
        stepper = _stepper(job, arithmetic, mesh)
        first = resume(job.run, job.rundir, job.tokenizer, mesh, stepper, hooks.notice)
        log = Log(job.rundir.log_path, first.step) if mesh.leads else None
        try:
            if log is not None and job.logs:
                log.mirrors = mirrors(job.logs, job.rundir.path, job.rundir.meta(), log.lines())
            with closing(_Training(job, mesh, stepper, first, log, hooks)) as training:
                finished = training.carry_on()
        finally:
            if log is not None:
                log.close()
    if finished and mesh.leads:
        told = {"steps": job.run.steps, "time": time.time(), "arithmetic": arithmetic.told()} | first.told()
        write_text(job.rundir.done_path, json.dumps(told) + "\n")
        checkpoint.drop_states(job.rundir)
    return finished


def _tell_slow(job: Job, arithmetic: Arithmetic, mesh: Mesh, notice: Callable[[str], None]) -> None:
    """Tell why a processor trains without the kernels, or with slower ones than it could."""
    if mesh.size == 1 and mesh.device == "cpu" and arithmetic.engine == "torch":
        why = why_not(bfloat16=arithmetic.bfloat16)
        if why is not None:  # else the kernels are of another architecture
            notice(f"{why}: training takes torch, about three times as long")
    if arithmetic.engine == "kernels" and (why := untuned(bfloat16=arithmetic.bfloat16)) is not None:
        notice(why)


def _stepper(job: Job, arithmetic: Arithmetic, mesh: Mesh) -> Steps:
    """What does the steps: of one process, or this process's share."""
    if mesh.size > 1:
        return ShardedStepper(job.run, job.vocab, arithmetic, mesh, job.start)
    model = first_model(job.run, job.vocab, job.start).to(mesh.device)
    peak = job.run.schedule.peak_rate
    return Stepper(model, job.run.optimizer, arithmetic, batch=job.run.batch, peak=peak)


@dataclass(frozen=True)
class _Hooks:
    checkpoint: Callable[[int, CausalModel], None]
    progress: Callable[[Progress], None]
    notice: Callable[[str], None]
    stop: Callable[[], bool]


class _Training:
    """The steps after ``past``, with their log lines, checkpoints and recovery states."""

    def __init__(self, job: Job, mesh: Mesh, stepper: Steps, past: Past, log: Log | None, hooks: _Hooks) -> None:
        self.job, self.mesh, self.stepper, self.past, self.log, self.hooks = job, mesh, stepper, past, log, hooks
        self.declared = frozenset(checkpoint_steps(job.run))
        self.trunk = Trunk(job.rundir, job.tokenizer, job.branches)
        self.saver = Saver(mesh, job.state_seconds)
        self.saved = past.step
        self.feed = Feed(job.mixture, mesh.rows(job.run.batch), job.run.steps, mesh.device)
        self.speed = Speed(job.run.tokens_per_step)
        losses = (line["loss"] for line in log.before if line["loss"] is not None) if log is not None else ()
        self.watch = Watch(hooks.notice, losses)

    def carry_on(self) -> bool:
        """Go to the end; False where it was asked to stop, its state saved."""
        if self.past.step in self.declared:
            self._show(self.past.step, self.stepper.whole())
        for step in range(self.past.step, self.job.run.steps):
            stop, due = self.mesh.any(self.hooks.stop(), self.saver.due())
            if stop or due:
                self._save(step)
            if stop:
                self.saver.finish()
                return False
            self._step(step)
            self.saver.poll()
        self.saver.finish()
        return True

    def close(self) -> None:
        """End what runs beside the steps."""
        self.feed.close()

    def _step(self, step: int) -> None:
        """One step, and what is declared after it."""
        job, run = self.job, self.job.run
        inputs, targets = inputs_and_targets(self.feed.batch(step))
        learning_rate = rate(run.schedule, step, run.steps)
        outcome = self.stepper.step(inputs, targets, learning_rate)
        done = step + 1
        if outcome.finite:
            self.watch.see(done, outcome.loss)
        else:
            _skip(job, self.mesh, done, outcome, self.past, self.hooks.notice)
        if self.log is not None:
            tokens = done * run.tokens_per_step
            speed = self.speed.tick()
            here = Progress(
                done, run.steps, tokens, outcome.loss, learning_rate, outcome.norm, speed, outcome.auxiliary
            )
            self.log.add(_line(here, skipped=not outcome.finite))
            self.hooks.progress(here)
        if done in self.declared or self.trunk.due(done):
            self._declare(done)

    def _declare(self, done: int) -> None:
        """Write what is declared at a step: for the branches, the checkpoint, the state."""
        if self.log is not None:
            self.log.flush()
        model = self.stepper.whole()
        # Before our own state: a kill in between loses none.
        self.trunk.hand_on(done, model, self.stepper, self.saver, facts(self.stepper, self.past))
        if done in self.declared:
            checkpoint.write(self.job.rundir, done, model, self.job.tokenizer)
            self._save(done)
            self._show(done, model)
        self.speed.restart()

    def _save(self, step: int) -> None:
        """Write a recovery state, unless that of this step is there."""
        if step == self.saved:
            return
        if self.log is not None:
            self.log.flush()
        self.saver.write(self.job.rundir, step, self.stepper.state(), facts(self.stepper, self.past))
        self.saved = step
        self.speed.restart()

    def _show(self, step: int, model: CausalModel | None) -> None:
        """Let the hook see the model at a checkpoint, with all of the run's threads at its service."""
        if model is not None:
            with threads(self.job.threads), torch.no_grad():
                self.hooks.checkpoint(step, model)


def _line(here: Progress, *, skipped: bool) -> dict[str, object]:
    """A step's line; one that was skipped has no loss."""
    return {
        "step": here.step,
        "tokens": here.tokens,
        "loss": None if skipped else here.loss,
        "rate": here.rate,
        "grad_norm": None if skipped else here.grad_norm,
        **({"skipped": True} if skipped else {}),
        **({} if skipped or here.auxiliary is None else {"auxiliary": here.auxiliary}),
        "tokens_per_second": round(here.tokens_per_second, 1),
        "time": round(time.time(), 3),
    }


def _skip(job: Job, mesh: Mesh, step: int, outcome: Outcome, past: Past, notice: Callable[[str], None]) -> None:
    """Leave a broken batch out where the run allows it (it changed no weight), else record why and give up."""
    what = "the loss" if not math.isfinite(outcome.loss) else "the gradient"
    value = outcome.loss if not math.isfinite(outcome.loss) else outcome.norm
    text = f"{what} became {value} at step {step} of {job.run.steps}"
    if len(past.skipped) < job.run.skip:
        past.skipped.append(step)
        notice(f"{job.rundir.name}: {text}: its batch is left out, {len(past.skipped)} of at most {job.run.skip}")
        return
    if past.skipped:
        text += f", after {len(past.skipped)} batches that were left out"
    if mesh.leads:
        write_text(job.rundir.failed_path, f"{text}\n")
    raise OnsetError(
        f"run '{job.run.name}' was given up: {text}",
        where=job.rundir.path,
        advice="lower the run's peak_rate, lengthen its warmup, or look at the batch of that step",
    )
