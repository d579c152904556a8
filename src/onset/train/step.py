"""One optimisation step: forward, backward, clipping, AdamW."""

from __future__ import annotations

import math
from dataclasses import dataclass

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

    def step(self, inputs: Tensor, targets: Tensor, rate: float) -> Outcome:
        """Update the weights on one batch (rows, context) at a rate; one whose loss is not finite changes none."""
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

    def state(self) -> dict[str, Tensor]:
        """All that the next steps depend on: weights and both moments."""
        found = {"values": self.master.values}
        for name, part in zip(("matrices", "gains"), self._weights, strict=True):
            for key, value in self.adam.state[part].items():
                found[f"{name}.{key}"] = value
        return found

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take up a state that ``state`` gave."""
        self.master.values.copy_(tensors["values"])
        for name, part in zip(("matrices", "gains"), self._weights, strict=True):
            self.adam.state[part] = {
                key.removeprefix(f"{name}."): value.to(part.device, copy=True)
                for key, value in tensors.items()
                if key.startswith(f"{name}.")
            }
