"""AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101), fused by torch, over all matrices and all gains at once."""

from __future__ import annotations

import torch
from torch import Tensor

from onset.cpu.flat import Flat
from onset.models.contract import CausalModel
from onset.study.spec import Optimizer

MOMENTS = ("exp_avg", "exp_avg_sq")


class AdamW:
    """Two groups of one tensor each: matrices, which decay, and gains, which do not."""

    def __init__(self, model: CausalModel, master: Flat, optimizer: Optimizer) -> None:
        self.master = master
        self._weights = master.parts(master.values)
        for part, gradient in zip(self._weights, master.parts(master.gradients), strict=True):
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
        self._moments = {key: torch.zeros_like(master.values) for key in MOMENTS}
        for index, part in enumerate(self._weights):
            moments = {key: master.parts(moment)[index] for key, moment in self._moments.items()}
            self.adam.state[part] = {"step": torch.zeros((), device=part.device), **moments}

    def step(self, rate: float) -> None:
        """See ``Update``."""
        for group in self.adam.param_groups:
            group["lr"] = rate
        self.adam.step()

    def state(self) -> dict[str, Tensor]:
        """See ``Update``."""
        found = {"step": self.adam.state[self._weights[0]]["step"]}
        for key, moment in self._moments.items():
            found |= {f"{key}/{name}": view for name, view in self.master.views(moment).items()}
        return found

    @torch.no_grad()
    def restored(self, tensors: dict[str, Tensor]) -> None:
        """See ``Update``."""
        for part in self._weights:
            self.adam.state[part]["step"].copy_(tensors["step"])
