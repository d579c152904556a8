"""How a run is optimised: its learning rate over the steps, and what turns gradients into updates."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from onset.study.base import Spec, without_defaults


class Schedule(Spec):
    """Learning rate over the steps of a run."""

    kind: Literal["cosine", "wsd"] = "cosine"
    """Cosine to the floor, or warm-up, stable, then linear decay."""
    peak_rate: float = Field(default=3e-3, gt=0)
    """Highest learning rate."""
    warmup: float = Field(default=0.02, ge=0, lt=1)
    """Share of the steps over which the rate rises linearly."""
    warmup_steps: int | None = Field(default=None, ge=0)
    """Steps of that rise, in place of the share: runs of one size and any length then share their trunk."""
    decay: float = Field(default=0.2, gt=0, le=1)
    """Share of the steps over which a wsd schedule falls to its floor."""
    final_ratio: float = Field(default=0.1, ge=0, le=1)
    """The floor as a share of the peak."""

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


class Optimizer(Spec):
    """What turns gradients into updates, and what bounds it."""

    kind: Literal["adamw", "muon"] = "adamw"
    """AdamW, or Muon for the blocks' matrices with AdamW for the rest."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.95, ge=0, lt=1)
    epsilon: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.1, ge=0)
    """Decoupled decay of matrices; gains and biases are not decayed."""
    clip: float = Field(default=1.0, gt=0)
    """Largest global norm of the gradient."""
    momentum: float = Field(default=0.95, ge=0, lt=1)
    """Muon's."""

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_defaults(handler(self), {"kind": "adamw", "momentum": 0.95})
