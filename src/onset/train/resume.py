"""Where a run goes on: damaged checkpoints set aside, the newest usable recovery state taken up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from onset.data.tokenizer import Tokenizer
from onset.store.rundir import RunDir
from onset.study.cost import checkpoint_steps
from onset.study.spec import Run
from onset.train import checkpoint, states
from onset.train.parallel import Mesh
from onset.train.step import Steps

Notice = Callable[[str], None]


@dataclass
class Past:
    """What a run brings along from before this process."""

    step: int = 0
    trunk: dict[str, Any] | None = None
    """The run that trained its first steps, and how many."""
    skipped: list[int] = field(default_factory=list)
    """Steps whose batch was left out; grows as the run goes on."""

    def told(self) -> dict[str, Any]:
        """What of it the records tell."""
        return {name: value for name, value in (("trunk", self.trunk), ("skipped", self.skipped)) if value}


def whole_already(run: Run, rundir: RunDir, notice: Notice) -> bool:
    """Whether nothing is left to do; else the folder is made ready for a training."""
    checkpoint.sweep(rundir)
    _set_damaged_aside(rundir, notice)
    if rundir.done and set(checkpoint_steps(run)) <= set(rundir.steps()):
        return True
    rundir.done_path.unlink(missing_ok=True)
    rundir.failed_path.unlink(missing_ok=True)
    return False


def _set_damaged_aside(rundir: RunDir, notice: Notice) -> None:
    """Move damaged checkpoints out of the way, each with a notice.

    The newest is read whole; of the others only what is missing or added is noticed here, and the rest where they are
    evaluated: to read all of a large run again would take hours.
    """
    steps = rundir.steps()
    for step in steps:
        folder = rundir.checkpoint(step)
        if (why := checkpoint.fault(folder, contents=step == steps[-1])) is not None:
            aside = checkpoint.set_aside(folder)
            notice(f"checkpoint {step} of {rundir.name} is damaged ({why}): moved to {aside.name}, made again")


def resume(run: Run, rundir: RunDir, tokenizer: Tokenizer, mesh: Mesh, stepper: Steps, notice: Notice) -> Past:
    """Take up the newest usable recovery state; with none, the run starts from the beginning."""
    step = mesh.told(_usable(run, rundir, stepper, notice) if mesh.leads else None)
    if step is None:
        return Past()
    folder = checkpoint.state_folder(rundir, step)
    told = states.facts_of(folder)
    tensors = stepper.state()
    states.fill(folder, tensors, mesh)
    stepper.restored(tensors)
    if told["arithmetic"] != stepper.arithmetic.told():
        notice(
            f"{rundir.name} goes on with other arithmetic ({stepper.arithmetic}) than it began with "
            f"({told['arithmetic']}): results agree within rounding only"
        )
    if step in checkpoint_steps(run):
        checkpoint.write(rundir, step, stepper.whole(), tokenizer)
    return Past(step, told.get("trunk"), list(told.get("skipped", [])))


def _usable(run: Run, rundir: RunDir, stepper: Steps, notice: Notice) -> int | None:
    """The newest step whose state is whole, of this model, and has every declared checkpoint before it on disk.

    That of its own step is written again from it.
    """
    there = set(rundir.steps())
    declared = checkpoint_steps(run)
    for step in reversed(checkpoint.states(rundir)):
        folder = checkpoint.state_folder(rundir, step)
        if (why := checkpoint.fault(folder)) is not None:
            notice(f"the resume state at step {step} of {rundir.name} is damaged ({why}): an earlier one is used")
            checkpoint.remove(folder)
            continue
        if any(earlier < step and earlier not in there for earlier in declared):
            continue
        if states.facts_of(folder)["layout"] != _layout(stepper):
            notice(f"the resume state at step {step} of {rundir.name} is of another version: not used")
            continue
        return step
    return None


def facts(stepper: Steps, past: Past) -> dict[str, Any]:
    """What a recovery state says of itself."""
    return {"arithmetic": stepper.arithmetic.told(), "layout": _layout(stepper)} | past.told()


def _layout(stepper: Steps) -> dict[str, list[int]]:
    """Name and shape of every tensor of a state."""
    return {name: list(tensor.shape) for name, tensor in stepper.state().items()}
