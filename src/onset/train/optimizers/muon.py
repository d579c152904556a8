"""Muon (Jordan et al. 2024) for the blocks' matrices, torch's own; AdamW for embeddings, the head and gains.

Updates of matrices are scaled to the size of AdamW's (Liu et al. 2025, "Muon is scalable", arXiv 2502.16982), so that
one peak rate is right for both. Queries, keys, values, gates and ups are matrices of their own, though stored together.
"""

from __future__ import annotations

import torch
from torch import Tensor

from onset.cpu.flat import Flat
from onset.errors import OnsetError
from onset.models.contract import CausalModel
from onset.study.spec import Optimizer
from onset.train.optimizers.adamw import MOMENTS
from onset.train.optimizers.groups import RATIO, groups, set_rate

MOMENTUM = "momentum_buffer"


class Muon:
    """Muon and AdamW side by side, on views of the flat weights."""

    def __init__(self, model: CausalModel, master: Flat, optimizer: Optimizer, peak: float) -> None:
        """Raises OnsetError where torch has no Muon."""
        if not hasattr(torch.optim, "Muon"):
            raise OnsetError(
                f"torch {torch.__version__} has no Muon", advice="install torch 2.9 or newer, or train with adamw"
            )
        weights, gradients = master.views(master.values), master.views(master.gradients)
        blocks = [name for name in weights if model.role(name) == "matrix"]
        self._momentum = {name: torch.zeros_like(weights[name]) for name in blocks}
        pieces: list[Tensor] = []
        buffers: list[Tensor] = []
        for name in blocks:
            cut = [model.matrices(name, of[name]) for of in (weights, gradients, self._momentum)]
            for weight, gradient, buffer in zip(*cut, strict=True):
                weight.grad = gradient
                pieces.append(weight)
                buffers.append(buffer)
        self.muon = torch.optim.Muon(
            [{"params": pieces, RATIO: optimizer.ratio("matrix", peak)}],
            weight_decay=optimizer.weight_decay,
            momentum=optimizer.momentum,
            adjust_lr_fn="match_rms_adamw",
        )
        for weight, buffer in zip(pieces, buffers, strict=True):
            self.muon.state[weight] = {MOMENTUM: buffer}
        self._rest = {name: weight for name, weight in weights.items() if name not in self._momentum}
        for name, weight in self._rest.items():
            weight.grad = gradients[name]
        self.adam = torch.optim.AdamW(
            groups(model, weights, optimizer, peak, self._rest),
            betas=(optimizer.beta1, optimizer.beta2),
            eps=optimizer.epsilon,
            fused=True,
        )
        for weight in self._rest.values():
            moments = {key: torch.zeros_like(weight) for key in MOMENTS}
            self.adam.state[weight] = {"step": torch.zeros((), device=weight.device), **moments}

    def step(self, rate: float) -> None:
        """See ``Update``."""
        for one in (self.muon, self.adam):
            set_rate(one, rate)
            one.step()

    def state(self) -> dict[str, Tensor]:
        """See ``Update``."""
        found = {f"{MOMENTUM}/{name}": buffer for name, buffer in self._momentum.items()}
        for name, weight in self._rest.items():
            found |= {f"{key}/{name}": self.adam.state[weight][key] for key in MOMENTS}
        return found | {"step": next(iter(self.adam.state.values()))["step"]}

    @torch.no_grad()
    def restored(self, tensors: dict[str, Tensor]) -> None:
        """See ``Update``."""
        for state in self.adam.state.values():
            state["step"].copy_(tensors["step"])
