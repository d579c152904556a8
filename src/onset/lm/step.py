"""One optimisation step: forward, backward, clipping, AdamW."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from onset.lm.arithmetic import Arithmetic
from onset.lm.flat import Flat
from onset.lm.model import Decoder
from onset.study.spec import Optimizer


@dataclass(frozen=True)
class Outcome:
    """What a step gave: mean loss in nats per token before the update, and the gradient's norm before clipping."""

    loss: float
    norm: float


class Stepper:
    """Trains a decoder's float32 weights; with bfloat16 the passes run on a copy that is renewed once a step."""

    def __init__(self, model: Decoder, optimizer: Optimizer, arithmetic: Arithmetic) -> None:
        self.model = model
        self.arithmetic = arithmetic
        self.master = Flat(model)
        self.clip = optimizer.clip
        self.worker = model
        self.layout = self.master.layout
        self.copy = self.master
        if arithmetic.bfloat16:
            self.worker = Decoder(model.shape, model.vocab).to(model.embedding.device, torch.bfloat16)
            self.copy = Flat(self.worker)
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
        """Update the weights on one batch (rows, context) at a learning rate; a loss that is not finite changes none."""
        if self.copy is not self.master:
            self.copy.values.copy_(self.master.values)
        self.copy.gradients.zero_()
        loss = self.worker.loss(inputs, targets)
        loss.backward()
        if self.copy is not self.master:
            self.master.gradients.copy_(self.copy.gradients)
        norm = torch.linalg.vector_norm(self.master.gradients)
        outcome = Outcome(float(loss.detach()), float(norm))
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
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
                key.removeprefix(f"{name}."): value.clone()
                for key, value in tensors.items()
                if key.startswith(f"{name}.")
            }
