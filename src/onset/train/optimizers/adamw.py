"""AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101), fused by torch, over all matrices and all gains at once."""

from __future__ import annotations

import torch
from torch import Tensor

from onset.cpu.flat import Flat
from onset.models.contract import CausalModel
from onset.study.spec import Optimizer
from onset.train.optimizers.groups import groups, set_rate

MOMENTS = ("exp_avg", "exp_avg_sq")


class AdamW:
    """Two groups of one tensor each: what decays, and vectors, which do not; with peaks of their own, one a role."""

    def __init__(self, model: CausalModel, master: Flat, optimizer: Optimizer, peak: float) -> None:
        self.master = master
        self._moments = {key: torch.zeros_like(master.values) for key in MOMENTS}
        if optimizer.peaks:
            weights, gradients = master.views(master.values), master.views(master.gradients)
            by_role = groups(model, weights, optimizer, peak, weights)
            moments = {key: list(master.views(moment).values()) for key, moment in self._moments.items()}
            self._weights, parts = list(weights.values()), list(gradients.values())
        else:
            self._weights, parts = list(master.parts(master.values)), list(master.parts(master.gradients))
            moments = {key: list(master.parts(moment)) for key, moment in self._moments.items()}
            decays = (optimizer.weight_decay, 0.0)
            by_role = [
                {"params": [part], "weight_decay": decay} for part, decay in zip(self._weights, decays, strict=True)
            ]
        self.adam = torch.optim.AdamW(
            by_role, betas=(optimizer.beta1, optimizer.beta2), eps=optimizer.epsilon, fused=True
        )
        for index, (part, gradient) in enumerate(zip(self._weights, parts, strict=True)):
            part.grad = gradient
            kept = {key: moment[index] for key, moment in moments.items()}
            self.adam.state[part] = {"step": torch.zeros((), device=part.device), **kept}

    def step(self, rate: float) -> None:
        """See ``Update``."""
        set_rate(self.adam, rate)
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
