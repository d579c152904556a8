"""One optimisation step on one device: forward, backward, clipping, AdamW."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from onset.cpu.flat import Flat
from onset.models.transformer import Decoder
from onset.study.spec import Optimizer
from onset.train.passes import passes
from onset.train.precision import Arithmetic


@dataclass(frozen=True)
class Outcome:
    """What a step gave: mean loss in nats per token before the update, and the gradient's norm before clipping."""

    loss: float
    norm: float

    @property
    def finite(self) -> bool:
        """Whether both are numbers that training can go on with."""
        return math.isfinite(self.loss) and math.isfinite(self.norm)


class Steps(Protocol):
    """What the trainer asks of a model in training, on one device or sharded over several."""

    arithmetic: Arithmetic

    def step(self, inputs: Tensor, targets: Tensor, rate: float) -> Outcome:
        """Update the weights on this process's rows (rows, context) of a batch at a rate.

        The outcome is the whole batch's; one that is not finite changes no weight.
        """
        ...

    def whole(self) -> Decoder | None:
        """The whole model, on the process that leads; None on others, who must call it too."""
        ...

    def state(self) -> dict[str, Tensor]:
        """All that the next steps depend on, in place.

        By parameter ``weights/NAME``, ``exp_avg/NAME`` and ``exp_avg_sq/NAME``, and ``step``.
        """
        ...

    def restored(self, tensors: dict[str, Tensor]) -> None:
        """Take up what is not in place, after the tensors of ``state`` were filled."""
        ...


class Stepper:
    """Trains a decoder's float32 weights in place, by the passes that its arithmetic says."""

    def __init__(self, model: Decoder, optimizer: Optimizer, arithmetic: Arithmetic, *, batch: int) -> None:
        self.model = model
        self.arithmetic = arithmetic
        self.clip = optimizer.clip
        self.master = Flat(model)
        self.passes = passes(model, self.master, arithmetic, batch)
        self._weights = self.master.parts(self.master.values)
        for part, gradient in zip(self._weights, self.master.parts(self.master.gradients), strict=True):
            part.grad = gradient
        matrices, gains = self._weights
        self.adam = torch.optim.AdamW(
            [
                {"params": [matrices], "weight_decay": optimizer.weight_decay},
                {"params": [gains], "weight_decay": 0.0},
            ],
            betas=(optimizer.beta1, optimizer.beta2),
            eps=optimizer.epsilon,
            fused=True,
        )
        self._moments = {key: torch.zeros_like(self.master.values) for key in ("exp_avg", "exp_avg_sq")}
        for index, part in enumerate(self._weights):
            moments = {key: self.master.parts(moment)[index] for key, moment in self._moments.items()}
            self.adam.state[part] = {"step": torch.zeros((), device=part.device), **moments}

    def step(self, inputs: Tensor, targets: Tensor, rate: float) -> Outcome:
        """See ``Steps``."""
        loss = self.passes.run(inputs, targets)
        outcome = Outcome(loss, float(torch.linalg.vector_norm(self.master.gradients)))
        if not outcome.finite:
            return outcome
        if outcome.norm > self.clip:
            self.master.gradients.mul_(self.clip / outcome.norm)
        for group in self.adam.param_groups:
            group["lr"] = rate
        self.adam.step()
        return outcome

    def whole(self) -> Decoder:
        """See ``Steps``."""
        return self.model

    def state(self) -> dict[str, Tensor]:
        """See ``Steps``."""
        found = {f"weights/{name}": view for name, view in self.master.views(self.master.values).items()}
        for key, moment in self._moments.items():
            found |= {f"{key}/{name}": view for name, view in self.master.views(moment).items()}
        return found | {"step": self.adam.state[self._weights[0]]["step"]}

    @torch.no_grad()
    def restored(self, tensors: dict[str, Tensor]) -> None:
        """See ``Steps``."""
        for part in self._weights:
            self.adam.state[part]["step"].copy_(tensors["step"])
