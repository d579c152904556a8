"""Parameters of a model in groups by their role: each group has its own peak rate, and vectors do not decay."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from onset.models.contract import CausalModel
from onset.study.spec import Optimizer

RATIO = "ratio"
"""Key of a group: its rate as a share of the schedule's."""


def groups(
    model: CausalModel, weights: dict[str, Tensor], optimizer: Optimizer, peak: float, names: Iterable[str]
) -> list[dict[str, Any]]:
    """Groups of the named parameters for an optimizer of torch, in the order of first names."""
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        role = model.role(name)
        if role not in found:
            decay = 0.0 if role == "vector" else optimizer.weight_decay
            found[role] = {"params": [], "weight_decay": decay, RATIO: optimizer.ratio(role, peak)}
        found[role]["params"].append(weights[name])
    return list(found.values())


def set_rate(optimizer: Any, rate: float) -> None:
    """Give every group its share of the schedule's rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get(RATIO, 1.0)
