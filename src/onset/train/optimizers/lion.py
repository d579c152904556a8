"""Lion (Chen et al. 2023, "Symbolic discovery of optimization algorithms", arXiv 2302.06675, algorithm 2)."""

from __future__ import annotations

import torch
from torch import Tensor

from onset.cpu.flat import Flat
from onset.models.contract import CausalModel
from onset.study.spec import Optimizer

MOMENTUM = "exp_avg"


class Lion:
    """One momentum of each weight; every weight moves by the rate, in the direction of a sign.

    Its rates are usually a third to a tenth of AdamW's, with as many times its weight decay (section 5).
    """

    def __init__(self, model: CausalModel, master: Flat, optimizer: Optimizer, peak: float) -> None:
        self.master, self.optimizer = master, optimizer
        self.momentum = torch.zeros_like(master.values)
        self._step = torch.zeros((), device=master.values.device)
        # A rate and a decay for each stretch of the flat weights that share both.
        buffers = (master.values, master.gradients, self.momentum)
        flat = zip(*(master.parts(buffer) for buffer in buffers), strict=True)
        if not optimizer.peaks:
            decays = (optimizer.weight_decay, 0.0)
            self._parts = [(*three, 1.0, decay) for three, decay in zip(flat, decays, strict=True)]
            return
        weights, gradients = master.views(master.values), master.views(master.gradients)
        momentum = master.views(self.momentum)
        self._parts = [
            (weights[name], gradients[name], momentum[name], optimizer.ratio(role, peak),
             0.0 if role == "vector" else optimizer.weight_decay)
            for name in weights
            for role in [model.role(name)]
        ]  # fmt: skip

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """See ``Update``."""
        beta1, beta2 = self.optimizer.beta1, self.optimizer.beta2
        for weight, gradient, momentum, ratio, decay in self._parts:
            if decay:
                weight.mul_(1 - rate * ratio * decay)
            weight.add_(momentum.lerp(gradient, 1 - beta1).sign_(), alpha=-rate * ratio)
            momentum.lerp_(gradient, 1 - beta2)
        self._step += 1

    def state(self) -> dict[str, Tensor]:
        """See ``Update``."""
        found = {"step": self._step}
        return found | {f"{MOMENTUM}/{name}": view for name, view in self.master.views(self.momentum).items()}

    def restored(self, tensors: dict[str, Tensor]) -> None:
        """See ``Update``: all of it is in place."""
