"""Work owed: the pieces of a study whose parts are absent.

A piece is a training (one run) or an evaluation (one checkpoint: its held-out losses and its tasks). It is a
value that any process can carry out, and it is done when its files exist.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from onset.data.tokenize import Materials
from onset.errors import OnsetError
from onset.store.rundir import RunDir
from onset.study import cost as sizing
from onset.study.branching import Trunk, flops_owed, trunks
from onset.study.cost import Training
from onset.study.plan import memory_limit
from onset.study.rules import told
from onset.study.spec import Run, Study, TaskUse
from onset.tasks.catalogue import find
from onset.tasks.task import Task
from onset.train.precision import method
from onset.work.resources import Need, Seat


@dataclass(frozen=True)
class Piece:
    """One thing to do: train a run, or evaluate one of its checkpoints."""

    kind: str
    """'train' or 'evaluate'."""
    run: str
    """The run's name in the study."""
    step: int = 0
    """The checkpoint to evaluate; 0 for training."""
    cost: float = 0.0
    """Floating-point operations, to do the longest first."""
    task: str = ""
    """Of an evaluation that is shared among workers: the one task to ask; empty for all."""
    chunk: int | None = None
    """The one chunk of that task's items."""

    @property
    def key(self) -> str:
        whole = f"{self.kind} {self.run} {self.step}"
        return f"{whole} {self.task} {self.chunk}" if self.task else whole


@dataclass(frozen=True)
class Owing:
    """What a study has done and what it still owes, by looking at the files."""

    done: int
    pieces: tuple[Piece, ...]
    failed: dict[str, str] = field(default_factory=dict)
    """Runs that were given up, with why."""


Report = Callable[[dict[str, Any]], None]
"""Tells progress: for training ``step, steps, tokens, loss, tokens_per_second``; for evaluation ``doing``."""


class Place(Protocol):
    """A place of work, as an engine sees it. It travels to other processes, so it can be pickled."""

    def owing(self) -> Owing:
        """What is done and what is owed, by looking at the files."""
        ...

    def ready(self, piece: Piece) -> bool:
        """Whether a piece can be begun."""
        ...

    def need(self, piece: Piece, threads: int) -> Need:
        """What a piece will hold of memory."""
        ...

    def carry_out(self, piece: Piece, seat: Seat, report: Report) -> None:
        """Do one piece; what it makes is written whole or not at all."""
        ...


class Workplace:
    """A study in its folder: where each run lives, which tasks are asked, what is owed."""

    logs: tuple[str, ...] = ()
    """Where the logs of trainings are shown too: see ``onset.train.trackers``."""

    def __init__(self, study: Study, out: Path) -> None:
        self.study = study
        self.out = Path(out)
        self.materials = Materials(study, self.out)

    def look(self, *, logs: bool = False) -> None:
        """Bring what is known of the study up to date; a folder always is."""

    def publish(self) -> None:
        """Let other machines have what this one made; who sees this folder has it."""

    def __getstate__(self) -> dict[str, Any]:
        # Rendered tasks stay behind.
        return {"study": self.study, "out": self.out, "materials": self.materials, "logs": self.logs}

    def rundir(self, run: Run) -> RunDir:
        """The directory of a run: its name and the first eight digits of its digest."""
        return RunDir(self.out / "runs" / f"{run.name}-{self.study.digest(run)[:8]}")

    def steps(self, run: Run) -> tuple[int, ...]:
        """Declared checkpoint steps."""
        return sizing.checkpoint_steps(run)

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """The study's tasks as it asks them."""
        return study_tasks(self.study)

    @cached_property
    def task_digests(self) -> dict[str, str]:
        """Digest of each task; rendered once a process."""
        return {name: task.digest() for name, task in self.tasks.items()}

    def missing_tasks(self, run: Run, step: int) -> list[str]:
        """Tasks whose rows are absent for a checkpoint."""
        rundir = self.rundir(run)
        return [name for name, digest in self.task_digests.items() if not rundir.items(step, name, digest).exists()]

    def missing_loss(self, run: Run, step: int) -> bool:
        """Whether a checkpoint's held-out losses are absent, by language or by document."""
        rundir = self.rundir(run)
        return not (rundir.loss(step).exists() and rundir.documents(step).exists())

    def owing(self) -> Owing:
        """Done and owed pieces, trainings first, the longest first."""
        pieces: list[Piece] = []
        done = 0
        failed: dict[str, str] = {}
        for run in self.study.runs:
            rundir = self.rundir(run)
            why = rundir.failed
            whole = set(rundir.steps())
            unscored = [
                step for step in self.steps(run) if self.missing_loss(run, step) or self.missing_tasks(run, step)
            ]
            done += len(self.steps(run)) - len(unscored)
            if why is not None:
                failed[run.name] = why
                unscored = [step for step in unscored if step in whole]
            elif not rundir.done or not whole.issuperset(unscored):
                pieces.append(Piece("train", run.name, 0, flops_owed(run, self.vocab(run), self.trunks.get(run.name))))
            else:
                done += 1
            pieces += [Piece("evaluate", run.name, step, 1.0) for step in unscored]
        pieces.sort(key=lambda piece: (piece.kind != "train", -piece.cost))
        return Owing(done, tuple(pieces), failed)

    def ready(self, piece: Piece) -> bool:
        """Whether a piece can be begun: an evaluation needs its checkpoint, a branch the state that it starts from."""
        run = self.study.run(piece.run)
        if piece.kind != "train":
            return piece.step in self.rundir(run).steps()
        trunk = self.trunks.get(run.name)
        if trunk is None:
            return True
        leader = self.rundir(self.study.run(trunk.run))
        # A trunk that has ended leaves nobody waiting: a branch that got no state of it is trained from its beginning.
        return self.rundir(run).begun or leader.done or leader.failed is not None

    @cached_property
    def trunks(self) -> dict[str, Trunk]:
        """Runs that take over the first steps of another, by name."""
        return trunks(self.study)

    def need(self, piece: Piece, threads: int) -> Need:
        """What a piece will hold of memory: a training by its cost, an evaluation its weights and as much again."""
        run = self.study.run(piece.run)
        if piece.kind != "train":
            return Need(each=2 * sizing.WEIGHT_BYTES * sizing.total_parameters(run.shape, self.vocab(run)))
        cpu, gpu = (
            Training(
                run,
                self.vocab(run),
                method(run, self.vocab(run), device=device, precision=self.study.precision, threads=threads),
                memory_limit(self.study),
            )
            for device in ("cpu", "cuda")
        )
        return Need(cpu=cpu, gpu=gpu)

    def carry_out(self, piece: Piece, seat: Seat, report: Report) -> None:
        """Train a run or evaluate a checkpoint; done already, it is not done again."""
        from onset.work.jobs.study import carry_out

        carry_out(self, piece, seat, report)

    def vocab(self, run: Run) -> int:
        """Vocabulary of a run's tokenizer."""
        return self.materials.vocab(run.tokenizer)

    def meta(self, run: Run) -> dict[str, Any]:
        """The run's run.json."""
        vocab = self.vocab(run)
        parts = sizing.parameters(run.shape, vocab)
        return {
            "run": run.name,
            "digest": self.study.digest(run),
            "study": self.study.name,
            "family": family(self.study, run),
            "group": run.group,
            "params": sum(parts.values()),
            "params_by_part": parts,
            "vocab": vocab,
            "flops_per_token": sizing.flops_per_token(run.shape, vocab),
            "tokens_per_step": run.tokens_per_step,
            "steps": run.steps,
            "checkpoints": list(self.steps(run)),
            "chosen": told(run),
            "spec": run.model_dump(mode="json"),
        }


def family(study: Study, run: Run) -> str:
    """Name of the runs that share corpus, tokenizer and architecture."""
    parts = [study.name]
    if len(study.mixes) > 1:
        parts.append(run.mix)
    if len(study.tokenizers) > 1:
        parts.append(run.tokenizer)
    return "-".join(parts)


def study_tasks(study: Study) -> dict[str, Task]:
    """The tasks of a study with its shots and limits. Raises OnsetError for a name that is not known."""
    data = None if study.data is None else Path(study.data)
    found = find([use.name for use in study.tasks], data=data, world=study.world)
    uses = {use.name: use for use in study.tasks}
    for task in found:
        if task.name.startswith("world_") and study.world is None:
            raise OnsetError(
                f"task '{task.name}' asks about the embedded world, which the study does not have",
                where=f"study '{study.name}'",
                advice="add a [world] section, or leave the task out",
            )
    # A name may stand for several tasks ('paper'): they share its shots and limit.
    fallback = TaskUse(name="all") if "paper" not in uses else uses["paper"]
    asked = [(task, uses.get(task.name, fallback)) for task in found]
    return {task.name: task.with_use(shots=use.shots, limit=use.limit) for task, use in asked}
