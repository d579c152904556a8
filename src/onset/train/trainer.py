"""A run, trained: batches to steps to checkpoints, resumed exactly where it was left.

A resume equals a run that never stopped, bitwise on the same machine and thread count: batches are a function of
seed and step, and the resume state holds weights and optimiser. Nothing is evaluated here; ``on_checkpoint`` is
where held-out losses are measured.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from onset.data.shards import Mixture
from onset.data.tokenizer import Tokenizer
from onset.errors import OnsetError
from onset.models.transformer import Decoder
from onset.store.parts import write_text
from onset.store.rundir import RunDir
from onset.study.cost import STATES_KEPT, checkpoint_steps
from onset.study.spec import Run
from onset.train import checkpoint
from onset.train.anomalies import Watch
from onset.train.handoff import Branch, Trunk
from onset.train.log import Log
from onset.train.precision import Arithmetic, choose
from onset.train.schedule import rate
from onset.train.step import Outcome, Stepper
from onset.train.trackers import mirrors


@dataclass(frozen=True)
class Job:
    """All that a training needs. The run's directory exists and this process holds its lock."""

    run: Run
    vocab: int
    mixture: Mixture
    tokenizer: Tokenizer
    rundir: RunDir
    precision: str = "auto"
    """'auto', 'float32' or 'bfloat16'."""
    threads: int = 1
    device: str = "cpu"
    memory: int | None = None
    """Bytes that the training may hold."""
    logs: tuple[str, ...] = ()
    """Where the log is shown too: 'tensorboard', 'wandb', 'wandb-offline'."""
    branches: tuple[Branch, ...] = ()
    """Runs that take over this one's first steps instead of training them."""
    stepper: Callable[[Arithmetic], Stepper] | None = None
    """What does the steps where it is not this process alone: see ``distributed``."""


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


def train(
    job: Job,
    *,
    on_checkpoint: Callable[[int, Decoder], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_notice: Callable[[str], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> bool:
    """Train a run to its end, or go on with it; returns False where ``should_stop`` ended it early.

    ``on_checkpoint(step, model)`` is called once a checkpoint is on disk, and again for the newest one after a
    resume; it must leave the model as it is. ``on_notice`` is told what was found damaged and what is odd. Raises
    OnsetError when the loss is not finite (the reason is then in the run's FAILED; the run may allow some batches to
    be left out), and when the disk cannot be written.
    """
    hooks = _Hooks(
        on_checkpoint or (lambda step, model: None),
        on_progress or (lambda here: None),
        on_notice or (lambda text: None),
        should_stop or (lambda: False),
    )
    if job.mixture.context != job.run.shape.context or job.mixture.rows != job.run.batch:
        raise OnsetError(f"the mixture's batches are not of run '{job.run.name}'s shape", where=job.rundir.path)
    checkpoint.sweep(job.rundir)
    _set_damaged_aside(job, hooks.notice)
    if job.rundir.done and set(checkpoint_steps(job.run)) <= set(job.rundir.steps()):
        return True
    job.rundir.done_path.unlink(missing_ok=True)
    job.rundir.failed_path.unlink(missing_ok=True)
    arithmetic = choose(
        job.run, job.vocab, precision=job.precision, threads=job.threads, device=job.device, memory=job.memory
    )
    with _threads(1 if arithmetic.engine == "kernels" else job.threads):  # the kernels' passes bring their own threads
        stepper = (job.stepper or partial(_alone, job))(arithmetic)
        arithmetic = stepper.arithmetic
        first = _resume(job, stepper, hooks.notice)
        log = Log(job.rundir.log_path, first.step)
        try:
            if job.logs:
                log.mirrors = mirrors(job.logs, job.rundir.path, job.rundir.meta(), log.lines())
            finished = _steps(job, stepper, first, log, hooks)
        finally:
            log.close()
    if finished:
        write_text(
            job.rundir.done_path,
            json.dumps({"steps": job.run.steps, "time": time.time(), "arithmetic": arithmetic.told()} | first.told())
            + "\n",
        )
        checkpoint.drop_states(job.rundir)
    return finished


def _alone(job: Job, arithmetic: Arithmetic) -> Stepper:
    """The stepper of a run that one process does."""
    model = Decoder(job.run.shape, job.vocab, job.run.seed, job.run.initialisation).to(job.device)
    return Stepper(model, job.run.optimizer, arithmetic, batch=job.run.batch)


@dataclass(frozen=True)
class _Hooks:
    checkpoint: Callable[[int, Decoder], None]
    progress: Callable[[Progress], None]
    notice: Callable[[str], None]
    stop: Callable[[], bool]


@dataclass
class _Past:
    """What a run brings along from before this process."""

    step: int = 0
    trunk: dict[str, Any] | None = None
    """The run that trained its first steps, and how many."""
    skipped: list[int] = field(default_factory=list)
    """Steps whose batch was left out; grows as the run goes on."""

    def told(self) -> dict[str, Any]:
        """What of it the records tell."""
        return {name: value for name, value in (("trunk", self.trunk), ("skipped", self.skipped)) if value}


def _steps(job: Job, stepper: Stepper, past: _Past, log: Log, hooks: _Hooks) -> bool:
    """The steps after ``past``, with their log lines and checkpoints; False where it was asked to stop."""
    run, declared = job.run, frozenset(checkpoint_steps(job.run))
    trunk = Trunk(job.rundir, job.tokenizer, job.branches)
    if past.step in declared:
        _show(job, stepper, past.step, hooks)
    speed = Speed(run.tokens_per_step)
    watch = Watch(hooks.notice, (line["loss"] for line in log.before if line["loss"] is not None))
    for step in range(past.step, run.steps):
        if hooks.stop():
            return False
        batch = torch.from_numpy(job.mixture.batch(step)).to(job.device)
        learning_rate = rate(run.schedule, step, run.steps)
        outcome = stepper.step(batch[:, :-1], batch[:, 1:], learning_rate)
        done = step + 1
        if outcome.finite:
            watch.see(done, outcome.loss)
        else:
            _skip(job, done, outcome, past, hooks.notice)
        here = Progress(
            done, run.steps, done * run.tokens_per_step, outcome.loss, learning_rate, outcome.norm, speed.tick()
        )
        log.add(_line(here, skipped=not outcome.finite))
        hooks.progress(here)
        if done in declared or trunk.due(done):
            log.flush()
            trunk.hand_on(done, stepper, _facts(stepper, past))  # before our own state: a kill in between loses none
        if done in declared:
            checkpoint.write(job.rundir, done, stepper.model, job.tokenizer)
            checkpoint.write_state(job.rundir, done, stepper.state(), _facts(stepper, past), STATES_KEPT)
            _show(job, stepper, done, hooks)
            speed.restart()
    return True


def _show(job: Job, stepper: Stepper, step: int, hooks: _Hooks) -> None:
    """Let the hook see the model at a checkpoint, with all of the run's threads at its service."""
    with _threads(job.threads), torch.no_grad():
        hooks.checkpoint(step, stepper.model)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Torch on so many threads within."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _set_damaged_aside(job: Job, notice: Callable[[str], None]) -> None:
    """Move damaged checkpoints out of the way, each with a notice."""
    for step in job.rundir.steps():
        folder = job.rundir.checkpoint(step)
        if (why := checkpoint.fault(folder)) is not None:
            aside = checkpoint.set_aside(folder)
            notice(f"checkpoint {step} of {job.rundir.name} is damaged ({why}): moved to {aside.name}, made again")


def _resume(job: Job, stepper: Stepper, notice: Callable[[str], None]) -> _Past:
    """Take up the newest usable resume state; with none, the run starts from the beginning.

    Usable: whole, of this model and this arithmetic, and with every declared checkpoint before it on disk (that of
    its own step is written again from it).
    """
    there = set(job.rundir.steps())
    declared = checkpoint_steps(job.run)
    for step in reversed(checkpoint.states(job.rundir)):
        folder = checkpoint.state_folder(job.rundir, step)
        if (why := checkpoint.fault(folder)) is not None:
            notice(f"the resume state at step {step} of {job.rundir.name} is damaged ({why}): an earlier one is used")
            checkpoint.remove(folder)
            continue
        if any(earlier < step and earlier not in there for earlier in declared):
            continue
        tensors, facts = checkpoint.read_state(job.rundir, step)
        past = _Past(step, facts.get("trunk"), list(facts.get("skipped", [])))
        present = _facts(stepper, past)
        if facts["layout"] != present["layout"]:
            notice(f"the resume state at step {step} of {job.rundir.name} is of another version: not used")
            continue
        if facts["arithmetic"] != present["arithmetic"]:
            notice(
                f"{job.rundir.name} goes on with other arithmetic ({stepper.arithmetic}) than it began with "
                f"({facts['arithmetic']}): results agree within rounding only"
            )
        stepper.restore(tensors)
        if step in declared:
            checkpoint.write(job.rundir, step, stepper.model, job.tokenizer)
        return past
    return _Past()


def _facts(stepper: Stepper, past: _Past) -> dict[str, Any]:
    """What a resume state says of itself."""
    return {
        "arithmetic": stepper.arithmetic.told(),
        "layout": {name: [start, *shape] for name, (start, shape) in stepper.master.layout.items()},
    } | past.told()


def _line(here: Progress, *, skipped: bool) -> dict[str, object]:
    """A step's line; one that was skipped has no loss."""
    return {
        "step": here.step,
        "tokens": here.tokens,
        "loss": None if skipped else here.loss,
        "rate": here.rate,
        "grad_norm": None if skipped else here.grad_norm,
        **({"skipped": True} if skipped else {}),
        "tokens_per_second": round(here.tokens_per_second, 1),
        "time": round(time.time(), 3),
    }


def _skip(job: Job, step: int, outcome: Outcome, past: _Past, notice: Callable[[str], None]) -> None:
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
    write_text(job.rundir.failed_path, f"{text}\n")
    raise OnsetError(
        f"run '{job.run.name}' was given up: {text}",
        where=job.rundir.path,
        advice="lower the run's peak_rate, lengthen its warmup, or look at the batch of that step",
    )


class Speed:
    """Tokens per second over the last steps, by a clock that cannot jump."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self.seconds: float | None = None
        self.before = time.perf_counter()

    def tick(self) -> float:
        """Note that a step is done; the rate so far, recent steps weighing most."""
        now = time.perf_counter()
        took, self.before = now - self.before, now
        self.seconds = took if self.seconds is None else 0.9 * self.seconds + 0.1 * took
        return self.tokens / max(self.seconds, 1e-9)

    def restart(self) -> None:
        """Leave out what passed since the last step."""
        self.before = time.perf_counter()
