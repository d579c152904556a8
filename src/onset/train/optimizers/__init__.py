"""Optimizers by their kind in a study: one file each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from onset.cpu.flat import Flat
from onset.models.contract import CausalModel
from onset.study.spec import Optimizer
from onset.train.optimizers import adamw, imported, lion, muon


class Update(Protocol):
    """An optimizer over a model's flat weights."""

    def step(self, rate: float) -> None:
        """Update the weights by the gradients that stand beside them."""
        ...

    def state(self) -> dict[str, Tensor]:
        """All that the next updates depend on, in place: ``KEY/PARAMETER``, and ``step``."""
        ...

    def restored(self, tensors: dict[str, Tensor]) -> None:
        """Take up what is not in place, after the tensors of ``state`` were filled."""
        ...


KINDS: dict[str, Callable[[CausalModel, Flat, Optimizer, float], Update]] = {
    "adamw": adamw.AdamW,
    "muon": muon.Muon,
    "lion": lion.Lion,
}
"""What makes each kind, given the schedule's peak rate."""


def build(model: CausalModel, master: Flat, optimizer: Optimizer, peak: float) -> Update:
    """The optimizer that a run asks for, over the flat weights of its model; ``peak`` is its schedule's peak rate."""
    made = imported.Imported if optimizer.imported else KINDS[optimizer.kind]
    return made(model, master, optimizer, peak)
