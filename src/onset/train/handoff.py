"""Handing a trunk on: what a run in training writes for the runs that branch from it.

A branch gets its declared checkpoints on the way, and where its rate begins to fall a resume state with the log so far.
To its own training that is a run that was stopped there: it goes on, to the same bits as if it had gone the whole way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from onset.data.tokenizer import Tokenizer
from onset.models.contract import CausalModel
from onset.store.lock import Locked, lock_run
from onset.store.parts import write_text
from onset.store.rundir import RunDir
from onset.train import checkpoint
from onset.train.log import lines_to
from onset.train.parallel import Mesh
from onset.train.states import Saver
from onset.train.step import Steps


@dataclass(frozen=True)
class Branch:
    """A run that goes on from another one after ``step``."""

    rundir: RunDir
    step: int
    declared: frozenset[int]
    """Its checkpoints up to there."""
    meta: Mapping[str, Any]
    """Its run.json."""


@dataclass(frozen=True)
class Trunk:
    """The run that is in training, as its branches see it."""

    rundir: RunDir
    tokenizer: Tokenizer
    branches: tuple[Branch, ...]

    def hand_on(
        self, step: int, model: CausalModel | None, stepper: Steps, saver: Saver, facts: Mapping[str, Any]
    ) -> None:
        """Give every branch what is due at this step; one that another process holds, or that has begun, is left.

        Every process of the mesh calls it; ``model`` is the whole one on the process that leads, which decides.
        """
        for branch in self.branches:
            if step > branch.step or not (step in branch.declared or step == branch.step):
                continue
            with self._held(branch, saver.mesh) as held:
                if saver.mesh.told(held):
                    self._give(branch, step, model, stepper, saver, facts)

    @contextmanager
    def _held(self, branch: Branch, mesh: Mesh) -> Iterator[bool]:
        """Whether this process holds a branch that still needs what its trunk gives."""
        if not mesh.leads:
            yield False
            return
        with ExitStack() as stack:
            try:
                stack.enter_context(lock_run(branch.rundir.path))
            except Locked:
                yield False
            else:
                yield not branch.rundir.done and not _begun(branch)

    def due(self, step: int) -> bool:
        """Whether any branch gets something at this step."""
        return any(step == branch.step or step in branch.declared for branch in self.branches)

    def _give(
        self,
        branch: Branch,
        step: int,
        model: CausalModel | None,
        stepper: Steps,
        saver: Saver,
        facts: Mapping[str, Any],
    ) -> None:
        if saver.mesh.leads:
            branch.rundir.create(branch.meta)
        if step in branch.declared:
            checkpoint.write(branch.rundir, step, model, self.tokenizer)
        if step == branch.step:
            if saver.mesh.leads:
                write_text(branch.rundir.log_path, "".join(lines_to(self.rundir.log_path, step)))
            trunk = {"run": self.rundir.name, "steps": step}
            saver.write(branch.rundir, step, stepper.state(), {**facts, "trunk": trunk})
            saver.finish()  # the branch's lock is held until it is written


def _begun(branch: Branch) -> bool:
    """Whether a branch has a whole resume state already: of its own, or handed on before."""
    folder = branch.rundir
    return any(checkpoint.fault(checkpoint.state_folder(folder, step)) is None for step in checkpoint.states(folder))
