"""One optimisation step on one device: forward, backward, clipping, update."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from onset.cpu.flat import Flat
from onset.models.contract import CausalModel
from onset.study.spec import Optimizer, Schedule
from onset.train.optimizers import build
from onset.train.passes import passes
from onset.train.precision import Arithmetic

PEAK = Schedule().peak_rate
"""Peak rate where nothing is said."""


@dataclass(frozen=True)
class Outcome:
    """What a step gave: mean loss in nats per token before the update, and the gradient's norm before clipping."""

    loss: float
    norm: float
    auxiliary: float | None = None
    """What is minimised beside the loss (a mixture of experts' balancing loss), where the model has such."""

    @property
    def finite(self) -> bool:
        """Whether both are numbers that training can go on with."""
        return all(math.isfinite(value) for value in (self.loss, self.norm, self.auxiliary or 0.0))


class Steps(Protocol):
    """What the trainer asks of a model in training, on one device or sharded over several."""

    arithmetic: Arithmetic

    def step(self, inputs: Tensor, targets: Tensor, rate: float) -> Outcome:
        """Update the weights on this process's rows (rows, context) of a batch at a rate.

        The outcome is the whole batch's; one that is not finite changes no weight.
        """
        ...

    def whole(self) -> CausalModel | None:
        """The whole model, on the process that leads; None on others, who must call it too."""
        ...

    def state(self) -> dict[str, Tensor]:
        """All that the next steps depend on, in place.

        By parameter ``weights/NAME`` and what the optimizer keeps of it, as ``exp_avg/NAME``; and ``step``.
        """
        ...

    def restored(self, tensors: dict[str, Tensor]) -> None:
        """Take up what is not in place, after the tensors of ``state`` were filled."""
        ...


class Stepper:
    """Trains a model's float32 weights in place, by the passes that its arithmetic says."""

    def __init__(
        self, model: CausalModel, optimizer: Optimizer, arithmetic: Arithmetic, *, batch: int, peak: float = PEAK
    ) -> None:
        """``peak`` is the schedule's peak rate, of which groups of parameters may have shares of their own."""
        self.model = model
        self.arithmetic = arithmetic
        self.clip = optimizer.clip
        self.master = Flat(model)
        self.passes = passes(model, self.master, arithmetic, batch)
        self.update = build(model, self.master, optimizer, peak)

    def step(self, inputs: Tensor, targets: Tensor, rate: float) -> Outcome:
        """See ``Steps``."""
        loss, auxiliary = self.passes.run(inputs, targets)
        outcome = Outcome(loss, float(torch.linalg.vector_norm(self.master.gradients)), auxiliary)
        if not outcome.finite:
            return outcome
        if outcome.norm > self.clip:
            self.master.gradients.mul_(self.clip / outcome.norm)
        self.update.step(rate)
        return outcome

    def whole(self) -> CausalModel:
        """See ``Steps``."""
        return self.model

    def state(self) -> dict[str, Tensor]:
        """See ``Steps``."""
        weights = {f"weights/{name}": view for name, view in self.master.views(self.master.values).items()}
        return weights | self.update.state()

    def restored(self, tensors: dict[str, Tensor]) -> None:
        """See ``Steps``."""
        self.update.restored(tensors)
