"""The ledger of a study: what is done and what is pending, by looking at files. Nothing here loads torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from onset import reading
from onset.data.contamination import file_of as overlap_file
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
from onset.work.chosen_items import with_most_informative
from onset.work.evaluations import EvaluationLedger
from onset.work.piece import Event, Pending, Piece
from onset.work.resources import Need

ORDER = ("overlap", "train", "evaluate")
"""The order in which pending pieces are handed out."""

HOST_COPIES = 3
"""Copies of the weights in float32 (values and two moments) that a training gathers in main memory to save them."""


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
        self._overlaps: dict[str, bool] = {}

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_runs": {}, "_overlaps": {}}

    def update(self, *, logs: bool = False) -> None:
        """Bring what is known of the study up to date; a folder always is."""

    def publish(self) -> None:
        """Let other machines have what this one made; who sees this folder has it."""

    def begun_with(self) -> str | None:
        """The study.toml with which this study was begun; None before."""
        file = self.out / "study.toml"
        return reading.text(file) if file.exists() else None

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

    @property
    def dtype(self) -> str:
        """See ``EvaluationLedger``."""
        return dtype_of(self.study)

    def loss_missing(self, run: str, step: int) -> bool:
        """Whether a checkpoint's held-out losses are absent, by language or by document."""
        rundir = self.folder(run)
        return not (rundir.loss(step).exists() and rundir.documents(step).exists())

    @cached_property
    def _sharing(self) -> dict[str, str]:
        """For each run the first one with its mix and tokenizer, whose overlap with held-out text it shares.

        The text of a tuning does not count: its checkpoints are placed by the loss of the one that it starts from.
        """
        first: dict[tuple[str, str], str] = {}
        bases = {run.name: self.study.base(run) for run in self.study.runs}
        return {name: first.setdefault((base.mix, base.tokenizer), base.name) for name, base in bases.items()}

    def overlap(self, run: str) -> Path:
        """The file with a run's overlap of held-out text with training text."""
        found = self.study.base(self.study.run(run))
        return overlap_file(self.materials, found.mix, found.tokenizer)

    def ready(self, piece: Piece) -> bool:
        """Whether a piece can start: an evaluation needs its checkpoint, a branch and a tuning what they start from.

        Held-out losses stand beside the overlap of their text with the training text, and wait for it.
        """
        if piece.kind == "overlap":
            return True
        if piece.kind != "train":
            missing = self._missing.get((piece.run, piece.step))
            measures = not piece.task and (missing is None or missing.loss)
            known = not measures or self._overlaps[self._sharing[piece.run]]
            return known and piece.step in self._of(piece.run).steps
        start = self.study.run(piece.run).start
        if start is not None and start.at not in self._of(start.run).steps and not self._of(piece.run).begun:
            return False
        trunk = self.trunks.get(piece.run)
        if trunk is None or self._of(piece.run).begun:
            return True
        leader = self._of(trunk.run)
        # A trunk that has ended leaves nobody waiting: a branch that got no state of it is trained from its beginning.
        return leader.done or leader.failed is not None

    def need(self, piece: Piece, threads: int) -> Need:
        """A training by its cost; an evaluation takes its weights and as much again, of several GPUs if need be."""
        run = self.study.run(piece.run)
        weights = cost.WEIGHT_BYTES * cost.total_parameters(run.shape, self.vocab(run))
        if piece.kind == "overlap":
            return Need(device=False)
        if piece.kind != "train":
            return Need(shared=weights if self.dtype == "bfloat16" else 2 * weights, host=weights)
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
        self._overlaps = {run: self.overlap(run).exists() for run in set(self._sharing.values())}

    def _look_at(self, piece: Piece) -> None:
        if piece.kind == "overlap":
            self._overlaps[piece.run] = self.overlap(piece.run).exists()
            return
        self._runs[piece.run] = self._trained(piece.run)
        if piece.kind == "train":
            run = self.study.run(piece.run)
            self._look_at_branches(piece.run, run.steps)
        else:
            super()._look_at(piece)

    def _still_pending(self, piece: Piece) -> bool:
        if piece.kind == "overlap":
            return not self._overlaps[piece.run]
        return not self._of(piece.run).done if piece.kind == "train" else super()._still_pending(piece)

    def _summary(self) -> Pending:
        """Done and pending pieces: overlaps of text, since losses wait for them; trainings, longest first; the rest."""
        wanting = {self._sharing[run] for (run, _), absent in self._missing.items() if absent.loss}
        pieces = [Piece("overlap", run) for run in sorted(wanting) if not self._overlaps[run]]
        done = 0
        failed: dict[str, str] = {}
        for run in self.study.runs:
            known = self._of(run.name)
            unscored = [step for step in self.steps(run) if self._missing[run.name, step]]
            done += len(self.steps(run)) - len(unscored)
            why = known.failed or self._cannot_start(run)
            if why is not None:
                failed[run.name] = why
                unscored = [step for step in unscored if step in known.steps]
            elif not known.done or not known.steps.issuperset([*unscored, *self._started_from(run.name)]):
                pieces.append(Piece("train", run.name, 0, self._flops[run.name]))
            else:
                done += 1
            pieces += [Piece("evaluate", run.name, step, 1.0) for step in unscored]
        pieces.sort(key=lambda piece: (ORDER.index(piece.kind), -piece.cost))
        return Pending(done, tuple(pieces), failed)

    def _started_from(self, run: str) -> list[int]:
        """Steps of a run whose checkpoints others are still to start from."""
        waiting = [one for one in self.study.runs if one.start is not None and one.start.run == run]
        return [
            one.start.at
            for one in waiting
            if one.start is not None and isinstance(one.start.at, int) and not self._under_way(one.name)
        ]

    def _under_way(self, run: str) -> bool:
        """Whether a run needs the checkpoint that it starts from no more."""
        known = self._of(run)
        return known.done or known.begun or known.failed is not None

    def _cannot_start(self, run: Run) -> str | None:
        """Why a run will not come to start: the one whose checkpoint it starts from was given up before that."""
        if run.start is None or self._under_way(run.name):
            return None
        base = self._of(run.start.run)
        if base.failed is None or run.start.at in base.steps:
            return None
        return f"run '{run.start.run}', which it starts from, was given up: {base.failed}"

    def check_starts(self) -> None:
        """Raise OnsetError where a checkpoint is gone that a run is still to start from: training it again takes long.

        Without this the run that had it would be trained again from its beginning, unasked.
        """
        for run in self.study.runs:
            if run.start is None or self._under_way(run.name):
                continue
            base = self._of(run.start.run)
            if base.done and run.start.at not in base.steps:
                folder = self.folder(run.start.run)
                raise OnsetError(
                    f"run '{run.name}' starts from step {run.start.at} of run '{run.start.run}', and that checkpoint "
                    "is gone",
                    where=folder.checkpoint(int(run.start.at)),
                    advice=f"restore it, or delete {folder.done_path} to train run '{run.start.run}' again",
                )


def dtype_of(study: Study) -> str:
    """The number format of a study's evaluations; on GPUs 'auto' is replaced when the study is begun."""
    return "bfloat16" if study.evaluation_precision == "bfloat16" else "float32"


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
    return {task.name: _asked(task, use) for task, use in found.values()}


def _asked(task: Task, use: TaskUse) -> Task:
    """A task with a study's shots, samples and questions."""
    first = use.limit if use.choose == "first" else None
    made = task.with_use(shots=use.shots, limit=first, sampling=_sampling(use, task))
    return made if use.choose == "first" else with_most_informative(made, Path(use.items), use.limit)


def _sampling(use: TaskUse, task: Task) -> Sampling | None:
    """How a study samples a task. Raises OnsetError for a task of choices that is named itself."""
    if not use.samples:
        return None
    if use.name == task.name and not task.open:
        raise OnsetError(
            f"task '{task.name}' has choices: only free answers are sampled", advice="leave its samples out"
        )
    return Sampling(use.samples, use.temperature, use.sample_seed)
