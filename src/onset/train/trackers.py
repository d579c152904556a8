"""A run's log in TensorBoard or Weights & Biases too, each through its own library.

``log.jsonl`` stays the record; these are for looking at while a run goes on. Their libraries are the extra ``logs``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from onset.errors import OnsetError, did_you_mean, install

SHOWN = ("loss", "rate", "grad_norm", "tokens_per_second")
"""Values of a log line that are shown, each a curve over the steps."""


class Mirror(Protocol):
    """Shows log lines somewhere else."""

    def add(self, line: Mapping[str, Any]) -> None:
        """Show a step's line."""
        ...

    def close(self) -> None:
        """Hand over what is held back."""
        ...


class TensorBoard:
    """Event files in the run's folder ``tensorboard``; ``tensorboard --logdir STUDY/runs`` shows all runs."""

    def __init__(self, folder: Path, step: int) -> None:
        """Later steps than ``step`` that an earlier process has written are taken back."""
        from torch.utils.tensorboard import SummaryWriter

        self.writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)

    def add(self, line: Mapping[str, Any]) -> None:
        """See ``Mirror``."""
        for name, value in _values(line).items():
            self.writer.add_scalar(name, value, line["step"], walltime=line["time"])

    def close(self) -> None:
        """See ``Mirror``."""
        self.writer.close()


class WeightsAndBiases:
    """A run of Weights & Biases with the study as its project; offline it lies in the run's folder ``wandb``."""

    def __init__(self, folder: Path, meta: Mapping[str, Any], *, offline: bool) -> None:
        import wandb

        self.run = wandb.init(
            project=str(meta.get("study") or "onset"), name=str(meta.get("run") or folder.name), id=folder.name,
            resume=None if offline else "allow", dir=str(folder), config=dict(meta.get("spec") or {}),
            mode="offline" if offline else None, settings=wandb.Settings(silent=True),
        )  # fmt: skip

    def add(self, line: Mapping[str, Any]) -> None:
        """See ``Mirror``."""
        self.run.log(_values(line), step=int(line["step"]))

    def close(self) -> None:
        """See ``Mirror``."""
        self.run.finish()


KINDS = {"tensorboard": "tensorboard", "wandb": "wandb", "wandb-offline": "wandb"}
"""Names of mirrors, each with the library that it needs."""


def check(names: Iterable[str]) -> None:
    """Raise OnsetError for a mirror that is not known, or whose library is not installed."""
    from importlib.util import find_spec

    for name in names:
        if name not in KINDS:
            raise OnsetError(f"no log named '{name}'", advice=did_you_mean(name, KINDS))
        if find_spec(KINDS[name]) is None:
            raise OnsetError(f"the log '{name}' needs the library {KINDS[name]}", advice=install("logs"))


def mirrors(names: Iterable[str], folder: Path, meta: Mapping[str, Any], before: list[dict[str, Any]]) -> list[Mirror]:
    """The mirrors of those names for a run's folder, with the lines ``before`` shown where they are new there."""
    names = tuple(names)
    check(names)
    made: list[Mirror] = []
    for name in names:
        fresh = not (folder / KINDS[name]).exists()
        step = int(before[-1]["step"]) if before else 0
        one: Mirror = (
            TensorBoard(folder, step)
            if name == "tensorboard"
            else WeightsAndBiases(folder, meta, offline=name == "wandb-offline")
        )
        for line in before if fresh else ():
            one.add(line)
        made.append(one)
    return made


def _values(line: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(line[name]) for name in SHOWN if isinstance(line.get(name), float)}
