"""Any optimizer of an installed library, by its import path, with its state under the names of the parameters.

What an optimizer keeps in ``state`` (tensors and numbers) and as numbers in its groups is saved and taken up again;
one that keeps more elsewhere does not resume exactly.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from onset.cpu.flat import Flat
from onset.models.contract import CausalModel
from onset.study import optimizers
from onset.study.spec import Optimizer
from onset.train.optimizers.groups import RATIO, groups, set_rate

SET_HERE = ("params", "lr", "weight_decay", RATIO)
"""What of a group is the study's, not a state."""


class Imported:
    """An optimizer of another library over views of the flat weights."""

    def __init__(self, model: CausalModel, master: Flat, optimizer: Optimizer, peak: float) -> None:
        """Raises OnsetError where the class cannot be imported or does not take its arguments."""
        self.master = master
        self.weights = master.views(master.values)
        gradients = master.views(master.gradients)
        for name, weight in self.weights.items():
            weight.grad = gradients[name]
        self._new = lambda: optimizers.made(optimizer, groups(model, self.weights, optimizer, peak, self.weights), peak)
        self.inner = self._new()
        self._begun, self._steps = False, torch.zeros((), dtype=torch.float64)

    def step(self, rate: float) -> None:
        """See ``Update``."""
        if not self._begun:
            self.inner, self._begun = self._new(), True
        set_rate(self.inner, rate)
        self.inner.step()
        self._steps += 1

    def state(self) -> dict[str, Tensor]:
        """See ``Update``. Before the first step it is what a step on gradients of zero makes, to be filled."""
        if not self._begun:
            self._outline()
        found: dict[str, Tensor] = {"step": self._steps}
        for name, weight in self.weights.items():
            for key, value in self.inner.state.get(weight, {}).items():
                if isinstance(value, Tensor):
                    found[f"{key}/{name}"] = value
                elif _is_number(value):
                    found[f"{key}/{name}"] = torch.tensor(float(value), dtype=torch.float64)
        for index, group in enumerate(self.inner.param_groups):
            for key, value in group.items():
                if key not in SET_HERE and _is_number(value):
                    found[f"group{index}/{key}"] = torch.tensor(float(value), dtype=torch.float64)
        return found

    @torch.no_grad()
    def restored(self, tensors: dict[str, Tensor]) -> None:
        """See ``Update``."""
        self._begun = True
        self._steps.copy_(tensors["step"])
        for name, weight in self.weights.items():
            for key, value in self.inner.state.get(weight, {}).items():
                if _is_number(value):
                    self.inner.state[weight][key] = type(value)(tensors[f"{key}/{name}"].item())
        for index, group in enumerate(self.inner.param_groups):
            for key, value in group.items():
                if key not in SET_HERE and _is_number(value):
                    group[key] = type(value)(tensors[f"group{index}/{key}"].item())

    @torch.no_grad()
    def _outline(self) -> None:
        """Let a state of the right names and sizes come to be, without moving a weight or keeping a gradient."""
        before, gradients = self.master.values.clone(), self.master.gradients.clone()
        self.inner = self._new()
        self.master.gradients.zero_()
        set_rate(self.inner, 0.0)
        self.inner.step()
        self.master.values.copy_(before)
        self.master.gradients.copy_(gradients)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
