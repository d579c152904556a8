"""How a run is optimised: its learning rate over the steps, and what turns gradients into updates."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from onset.study.base import Spec, without_defaults


class Schedule(Spec):
    """Learning rate over the steps of a run."""

    kind: Literal["cosine", "wsd", "linear", "constant"] = "cosine"
    """After the warm-up: half a cosine to the floor; stable, then a linear fall; a linear fall; or no fall at all."""
    peak_rate: float = Field(default=3e-3, gt=0)
    """Highest learning rate."""
    warmup: float = Field(default=0.02, ge=0, lt=1)
    """Share of the steps over which the rate rises linearly."""
    warmup_steps: int | None = Field(default=None, ge=0)
    """Steps of that rise, in place of the share: runs of one size and any length then share their trunk."""
    decay: float = Field(default=0.2, gt=0, le=1)
    """Share of the steps over which a wsd schedule falls to its floor."""
    final_ratio: float = Field(default=0.1, ge=0, le=1)
    """The floor as a share of the peak; 0 for ``linear`` where nothing is stated."""

    @model_validator(mode="before")
    @classmethod
    def _to_zero(cls, given: Any) -> Any:
        """A linear fall goes to zero (Bergsma et al. 2025, arXiv 2502.15938)."""
        return {"final_ratio": 0.0, **given} if isinstance(given, dict) and given.get("kind") == "linear" else given

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kind == "wsd" and self.warmup_steps is None and self.warmup + self.decay > 1:
            raise ValueError(f"warmup {self.warmup} and decay {self.decay} take more than the whole run")
        return self

    def rising(self, steps: int) -> int:
        """Steps of warm-up in a run of so many."""
        return round(self.warmup * steps) if self.warmup_steps is None else self.warmup_steps

    def falling(self, steps: int) -> int:
        """Steps over which a wsd schedule falls to its floor in a run of so many."""
        return max(1, min(round(self.decay * steps), steps - self.rising(steps)))

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_defaults(handler(self), {"warmup_steps": None})


Role = Literal["matrix", "embedding", "head", "vector"]
"""A parameter's part in a model: what has a group of its own in an optimizer."""

KINDS = ("adamw", "muon", "lion")
"""Optimizers that are here; any other is a class by its import path."""

FOR_ALL = ("kind", "clip", "weight_decay", "peaks", "arguments")
"""Keys that mean the same for every kind."""


class Optimizer(Spec):
    """What turns gradients into updates, and what bounds it.

    A class of an installed library is named by its import path, and keys that are not ours are its arguments:
    ``{ kind = "pytorch_optimizer.Lion", weight_decay = 0.1, betas = [0.9, 0.99] }``.
    """

    kind: str = "adamw"
    """AdamW; Muon for the blocks' matrices with AdamW for the rest; Lion; or an import path ('torch.optim.SGD')."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.95, ge=0, lt=1)
    epsilon: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.1, ge=0)
    """Decoupled decay of matrices; gains and biases are not decayed."""
    clip: float = Field(default=1.0, gt=0)
    """Largest global norm of the gradient."""
    momentum: float = Field(default=0.95, ge=0, lt=1)
    """Muon's."""
    peaks: dict[Role, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Peak rates of groups that have their own; the others have the schedule's. The schedule's form holds for all."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Arguments of a class that is named by its import path."""

    @model_validator(mode="before")
    @classmethod
    def _gathered(cls, given: Any) -> Any:
        """For a class by its import path, keys that are not common to all kinds are its arguments."""
        if not isinstance(given, dict) or "." not in str(given.get("kind", "")):
            return given
        own = {name: value for name, value in given.items() if name in FOR_ALL}
        more = {name: value for name, value in given.items() if name not in FOR_ALL}
        return own | {"arguments": {**own.get("arguments", {}), **more}}

    @model_validator(mode="after")
    def _known(self) -> Self:
        if "." not in self.kind and self.kind not in KINDS:
            raise ValueError(f"kind is one of {', '.join(KINDS)}, or the import path of a class, given '{self.kind}'")
        if "." not in self.kind and self.arguments:
            raise ValueError(f"arguments are for a class that is named by its import path, and kind is '{self.kind}'")
        taken = sorted({"lr", "params"} & self.arguments.keys())
        if taken:
            raise ValueError(f"'{taken[0]}' is not to be stated: rates are the schedule's, parameters the model's")
        return self

    @property
    def imported(self) -> bool:
        """Whether it is a class of another library."""
        return "." in self.kind

    def ratio(self, role: Role, peak: float) -> float:
        """What a group's rate is of the schedule's, whose peak is ``peak``."""
        return self.peaks.get(role, peak) / peak

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = handler(self)
        if self.imported:
            arguments: dict[str, Any] = found["arguments"]
            return {name: found[name] for name in FOR_ALL[:4] if found[name] or name != "peaks"} | arguments
        return without_defaults(found, {"kind": "adamw", "momentum": 0.95, "peaks": {}, "arguments": {}})
