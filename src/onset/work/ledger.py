"""The ledger: what is done and what is pending, by looking at files. Nothing here computes or loads torch.

A part that exists is complete, so pending work is the set of parts that are absent. All files are looked at once
a minute; in between the ledger hears what happens to pieces and looks at no other files than theirs, since a large
study has thousands of parts on a file system that many machines share.
"""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from onset.data.tokenize import Materials
from onset.errors import OnsetError
from onset.metrics.measures import check_samples, lookup
from onset.store.rundir import RunDir
from onset.study import cost
from onset.study.branching import Trunk, flops_owed, trunks
from onset.study.cost import Training
from onset.study.plan import memory_limit
from onset.study.spec import Run, Study, TaskUse
from onset.tasks.catalogue import find
from onset.tasks.task import Sampling, Task
from onset.train.precision import method
from onset.work.chunks import chunks, join
from onset.work.piece import Event, Pending, Piece
from onset.work.resources import Need

REFRESH_SECONDS = 60.0
"""How often all files are looked at."""

RECHECK_SECONDS = 4.0
"""A piece whose end was reported and whose parts are absent is looked at again after so long: a shared file system or
a store may show them late."""

HOST_COPIES = 3
"""Copies of the weights in float32 (values and two moments) that a training gathers in main memory to save them."""


@dataclass(frozen=True)
class Missing:
    """What is absent of a checkpoint's evaluation."""

    loss: bool
    tasks: tuple[str, ...]

    def __bool__(self) -> bool:
        return self.loss or bool(self.tasks)


class EvaluationLedger(ABC):
    """What is pending of asking checkpoints tasks and measuring their losses: the part that all ledgers share."""

    divide_always = False
    refresh_seconds = REFRESH_SECONDS

    def __init__(self) -> None:
        self._missing: dict[tuple[str, int], Missing] = {}
        self._undone: dict[tuple[str, int, str], set[int]] = {}
        self._recheck: dict[Piece, float] = {}
        self._looked: float | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Rendered tasks stay behind; what was seen is for the process that asks.
        state = {key: value for key, value in self.__dict__.items() if key not in ("tasks", "trunks")}
        return state | {"_missing": {}, "_undone": {}, "_recheck": {}, "_looked": None}

    @property
    @abstractmethod
    def tasks(self) -> Mapping[str, Task]:
        """The tasks by name, as they are asked."""

    @abstractmethod
    def checkpoints(self) -> Iterable[tuple[str, int]]:
        """All checkpoints to evaluate: run and step."""

    @abstractmethod
    def folder(self, run: str) -> RunDir:
        """Where a run's rows go."""

    @abstractmethod
    def loss_missing(self, run: str, step: int) -> bool:
        """Whether held-out losses of a checkpoint are absent."""

    @abstractmethod
    def need(self, piece: Piece, threads: int) -> Need:
        """The memory that a piece takes."""

    @cached_property
    def task_digests(self) -> dict[str, str]:
        """Digest of each task; rendered once a process."""
        return {name: task.digest() for name, task in self.tasks.items()}

    @cached_property
    def chunk_counts(self) -> dict[str, int]:
        """How many chunks each task has."""
        return {name: len(chunks(task)) for name, task in self.tasks.items()}

    def pending(self, *, fresh: bool = False) -> Pending:
        """What is done and pending; ``fresh`` looks at all files now."""
        now = time.monotonic()
        if fresh or self._looked is None or now - self._looked >= self.refresh_seconds:
            self._look()
            self._looked = now
        for piece in [piece for piece, due in self._recheck.items() if now >= due]:
            del self._recheck[piece]
            self._look_at(piece)
        return self._summary()

    def ready(self, piece: Piece) -> bool:
        """Whether a piece can start."""
        return True

    def divide(self, piece: Piece) -> tuple[Piece, ...]:
        """The parts of a checkpoint's evaluation that are pending: its losses, and the chunks of its tasks."""
        missing = self._missing.get((piece.run, piece.step))
        if piece.kind != "evaluate" or piece.task or missing is None:
            return (piece,)
        parts = [replace(piece, kind="loss")] if missing.loss else []
        for name in missing.tasks:
            undone = sorted(self._chunks(piece.run, piece.step, name))
            parts += [replace(piece, task=name, chunk=number) for number in undone]
        return tuple(parts)

    def hear(self, event: Event) -> None:
        """Take note of what happened to a piece, looking at no files but its own."""
        piece = event.piece
        if event.kind not in ("done", "failed"):
            return
        if piece.task and piece.chunk is not None:
            self._undone.get((piece.run, piece.step, piece.task), set()).discard(piece.chunk)
            self._join(piece.run, piece.step, piece.task)
        self._look_at(piece)
        if event.kind == "done" and self._still_pending(piece):
            self._recheck[piece] = time.monotonic() + RECHECK_SECONDS

    def join_chunks(self) -> None:
        """Join the chunks that are all there, and remove those of parts that are whole: for the one command at work."""
        for run, step in self.checkpoints():
            if any(name.endswith(".chunks") for name in _names(self.folder(run).item_folder(step))):
                for task in self.tasks:
                    self._join(run, step, task)

    def missing(self, run: str, step: int) -> Missing:
        """What is absent of a checkpoint's evaluation, by looking now."""
        rundir = self.folder(run)
        there = _names(rundir.item_folder(step)) if self.task_digests else frozenset()
        absent = [
            name for name, digest in self.task_digests.items() if rundir.items(step, name, digest).name not in there
        ]
        return Missing(self.loss_missing(run, step), tuple(absent))

    def _look(self) -> None:
        """Look at all files."""
        self._undone.clear()
        self._missing = {(run, step): self.missing(run, step) for run, step in self.checkpoints()}

    def _look_at(self, piece: Piece) -> None:
        """Look at the files of one piece."""
        self._missing[piece.run, piece.step] = self.missing(piece.run, piece.step)

    def _still_pending(self, piece: Piece) -> bool:
        missing = self._missing[piece.run, piece.step]
        if piece.task:
            return piece.task in missing.tasks and not self._undone.get((piece.run, piece.step, piece.task))
        return missing.loss if piece.kind == "loss" else bool(missing)

    def _summary(self) -> Pending:
        pieces = [Piece("evaluate", run, step, 1.0) for (run, step), absent in self._missing.items() if absent]
        return Pending(len(self._missing) - len(pieces), tuple(pieces))

    def _chunks(self, run: str, step: int, task: str) -> set[int]:
        """The chunks of a task that are absent: looked up once, and after that heard of."""
        key = (run, step, task)
        if key not in self._undone:
            every = range(self.chunk_counts[task])
            folder = self.folder(run).chunks(step, task, self.task_digests[task])
            there = _names(folder) if len(every) > 1 else frozenset()
            self._undone[key] = {number for number in every if f"{number:04d}.parquet" not in there}
        return self._undone[key]

    def _join(self, run: str, step: int, task: str) -> None:
        digest, rundir = self.task_digests[task], self.folder(run)
        if not self._undone.get((run, step, task)) and rundir.chunks(step, task, digest).is_dir():
            join(self.tasks[task], digest, rundir, step)
            self._undone.pop((run, step, task), None)


@dataclass(frozen=True)
class _Trained:
    """How far a run's training is."""

    steps: frozenset[int]
    begun: bool
    done: bool
    failed: str | None


class StudyLedger(EvaluationLedger):
    """A study in its folder: where each run lives, which tasks are asked, and what is pending."""

    logs: tuple[str, ...] = ()
    """Where the logs of trainings are shown too: see ``onset.train.trackers``."""

    def __init__(self, study: Study, out: Path) -> None:
        super().__init__()
        self.study = study
        self.out = Path(out)
        self.materials = Materials(study, self.out)
        self._runs: dict[str, _Trained] = {}

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_runs": {}}

    def update(self, *, logs: bool = False) -> None:
        """Bring what is known of the study up to date; a folder always is."""

    def publish(self) -> None:
        """Let other machines have what this one made; who sees this folder has it."""

    def rundir(self, run: Run) -> RunDir:
        """The directory of a run: its name and the first eight digits of its digest."""
        return RunDir(self.out / "runs" / f"{run.name}-{self.study.digest(run)[:8]}")

    def folder(self, run: str) -> RunDir:
        """The directory of the run of that name."""
        return self._folders[run]

    @cached_property
    def _folders(self) -> dict[str, RunDir]:
        return {run.name: self.rundir(run) for run in self.study.runs}

    def steps(self, run: Run) -> tuple[int, ...]:
        """Declared checkpoint steps."""
        return cost.checkpoint_steps(run)

    def checkpoints(self) -> Iterable[tuple[str, int]]:
        """All declared checkpoints: run and step."""
        return ((run.name, step) for run in self.study.runs for step in self.steps(run))

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """The study's tasks as it asks them."""
        return study_tasks(self.study)

    @cached_property
    def trunks(self) -> dict[str, Trunk]:
        """Runs that take over the first steps of another, by name."""
        return trunks(self.study)

    def vocab(self, run: Run) -> int:
        """Vocabulary of a run's tokenizer."""
        return self.materials.vocab(run.tokenizer)

    @cached_property
    def _flops(self) -> dict[str, int]:
        """Floating-point operations of each run's own training."""
        return {run.name: flops_owed(run, self.vocab(run), self.trunks.get(run.name)) for run in self.study.runs}

    def loss_missing(self, run: str, step: int) -> bool:
        """Whether a checkpoint's held-out losses are absent, by language or by document."""
        rundir = self.folder(run)
        return not (rundir.loss(step).exists() and rundir.documents(step).exists())

    def ready(self, piece: Piece) -> bool:
        """Whether a piece can start: an evaluation needs its checkpoint, a branch the state that it starts from."""
        if piece.kind != "train":
            return piece.step in self._of(piece.run).steps
        trunk = self.trunks.get(piece.run)
        if trunk is None or self._of(piece.run).begun:
            return True
        leader = self._of(trunk.run)
        # A trunk that has ended leaves nobody waiting: a branch that got no state of it is trained from its beginning.
        return leader.done or leader.failed is not None

    def need(self, piece: Piece, threads: int) -> Need:
        """A training by its cost; an evaluation takes its weights and as much again."""
        run = self.study.run(piece.run)
        weights = cost.WEIGHT_BYTES * cost.total_parameters(run.shape, self.vocab(run))
        if piece.kind != "train":
            return Need(each=2 * weights, host=weights)
        cpu, gpu = (
            Training(
                run,
                self.vocab(run),
                method(run, self.vocab(run), device=device, precision=self.study.precision, threads=threads),
                memory_limit(self.study),
            )
            for device in ("cpu", "cuda")
        )
        return Need(cpu=cpu, gpu=gpu, host=HOST_COPIES * weights)

    def hear(self, event: Event) -> None:
        """Take note of what happened to a piece: a checkpoint that was written, a state handed on, an end."""
        if event.kind == "progress" and event.piece.kind == "train":
            known = self._of(event.piece.run)
            if "checkpoint" in event.data:
                self._runs[event.piece.run] = replace(known, steps=known.steps | {int(event.data["checkpoint"])})
            self._look_at_branches(event.piece.run, int(event.data.get("step", 0)))
        super().hear(event)

    def _of(self, run: str) -> _Trained:
        if run not in self._runs:
            self._runs[run] = self._trained(run)
        return self._runs[run]

    def _trained(self, run: str) -> _Trained:
        rundir = self.folder(run)
        return _Trained(frozenset(rundir.steps()), rundir.begun, rundir.done, rundir.failed)

    def _look_at_branches(self, run: str, step: int) -> None:
        """See which branches of a run have got the state that they start from, once it has come so far."""
        for name, trunk in self.trunks.items():
            if trunk.run == run and step >= trunk.steps and not self._of(name).begun:
                self._runs[name] = self._trained(name)

    def _look(self) -> None:
        super()._look()
        self._runs = {run.name: self._trained(run.name) for run in self.study.runs}

    def _look_at(self, piece: Piece) -> None:
        self._runs[piece.run] = self._trained(piece.run)
        if piece.kind == "train":
            run = self.study.run(piece.run)
            self._look_at_branches(piece.run, run.steps)
        else:
            super()._look_at(piece)

    def _still_pending(self, piece: Piece) -> bool:
        return not self._of(piece.run).done if piece.kind == "train" else super()._still_pending(piece)

    def _summary(self) -> Pending:
        """Done and pending pieces, trainings first, the longest first."""
        pieces: list[Piece] = []
        done = 0
        failed: dict[str, str] = {}
        for run in self.study.runs:
            known = self._of(run.name)
            unscored = [step for step in self.steps(run) if self._missing[run.name, step]]
            done += len(self.steps(run)) - len(unscored)
            if known.failed is not None:
                failed[run.name] = known.failed
                unscored = [step for step in unscored if step in known.steps]
            elif not known.done or not known.steps.issuperset(unscored):
                pieces.append(Piece("train", run.name, 0, self._flops[run.name]))
            else:
                done += 1
            pieces += [Piece("evaluate", run.name, step, 1.0) for step in unscored]
        pieces.sort(key=lambda piece: (piece.kind != "train", -piece.cost))
        return Pending(done, tuple(pieces), failed)


def _names(folder: Path) -> frozenset[str]:
    """Names in a folder, in one call; none where it is absent."""
    try:
        return frozenset(os.listdir(folder))
    except FileNotFoundError:
        return frozenset()


def study_tasks(study: Study) -> dict[str, Task]:
    """The tasks of a study with its shots and limits. Raises OnsetError for a task or metric that is not known."""
    for name in study.metrics:
        lookup(name)
    check_samples(study.metrics, max((use.samples for use in study.tasks), default=0))
    data = None if study.data is None else Path(study.data)
    found: dict[str, tuple[Task, TaskUse]] = {}
    for use in study.tasks:
        for task in find([use.name], data=data, world=study.world):
            # A name may stand for several tasks ('paper'): they share its shots and limit, but one that is named
            # itself has its own.
            if task.name not in found or use.name == task.name:
                found[task.name] = task, use
    for task, _ in found.values():
        if task.name.startswith("world_") and study.world is None:
            raise OnsetError(
                f"task '{task.name}' asks about the embedded world, which the study does not have",
                where=f"study '{study.name}'",
                advice="add a [world] section, or leave the task out",
            )
    return {
        task.name: task.with_use(shots=use.shots, limit=use.limit, sampling=_sampling(use, task))
        for task, use in found.values()
    }


def _sampling(use: TaskUse, task: Task) -> Sampling | None:
    """How a study samples a task. Raises OnsetError for a task of choices that is named itself."""
    if not use.samples:
        return None
    if use.name == task.name and not task.open:
        raise OnsetError(
            f"task '{task.name}' has choices: only free answers are sampled", advice="leave its samples out"
        )
    return Sampling(use.samples, use.temperature, use.sample_seed)
