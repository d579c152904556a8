"""A run: one training of one model, from drawn weights or from another run's checkpoint."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from onset.study import rules
from onset.study.base import Spec, without_defaults
from onset.study.checkpoints import checkpoint_steps
from onset.study.shapes import AnyShape
from onset.study.starting import BASE, TUNED, Start
from onset.study.texts import Slug
from onset.study.training import Optimizer, Schedule


class Run(Spec):
    """One training of one model."""

    name: Slug
    shape: AnyShape
    tokens: int = Field(gt=0)
    """Tokens to train on."""
    batch: int = Field(gt=0)
    """Sequences per step."""
    schedule: Schedule = Schedule()
    optimizer: Optimizer = Optimizer()
    seed: int = Field(default=0, ge=0, lt=2**63)
    checkpoints: int | tuple[int, ...] = 12
    """How many checkpoints, log-spaced over the tokens, or the token counts themselves."""
    mix: str = "main"
    tokenizer: str = "main"
    group: str = ""
    """Label of the design that the run belongs to, such as 'trajectory' or 'grid'."""
    tuning: Literal["given", "rule"] = "given"
    """With 'rule', a batch and a peak rate that are not stated come from ``onset.study.rules``."""
    initialisation: float = Field(default=1.0, gt=0)
    """Factor on the deviations that the weights are drawn with."""
    skip: int = Field(default=0, ge=0)
    """At most so many batches that break the run (its loss or gradient is not finite) are left out, and counted."""
    start: Start | None = None
    """The checkpoint of another run whose weights it begins with; without it weights are drawn."""
    stage: str = ""
    """What its checkpoints are called in tables where some runs are tuned: 'base' or 'tuned' if nothing is stated."""

    @property
    def stage_name(self) -> str:
        """Its stage as tables have it."""
        return self.stage or (BASE if self.start is None else TUNED)

    @property
    def tokens_per_step(self) -> int:
        """Tokens in one batch."""
        return self.batch * self.shape.context

    @property
    def steps(self) -> int:
        """Whole batches within the budget."""
        return self.tokens // self.tokens_per_step

    @property
    def checkpoint_steps(self) -> tuple[int, ...]:
        """Steps at which a checkpoint is written."""
        return checkpoint_steps(self.checkpoints, self.steps, self.tokens_per_step)

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, given: Any) -> Any:
        """``schedule = "wsd"`` in full, and what the rule sets."""
        if not isinstance(given, dict):
            return given
        if given.get("start") is not None:  # a short tuning is asked about at its end
            given = {"checkpoints": 1, **given}
        if isinstance(given.get("schedule"), str):
            optimizer = given.get("optimizer", {})
            beta2 = optimizer.get("beta2", 0.95) if isinstance(optimizer, dict) else optimizer.beta2
            stated = {"kind": given["schedule"]}
            if stated["kind"] == "wsd" and isinstance(beta2, float) and beta2 < 1:
                stated["warmup_steps"] = rules.warmup_steps(beta2)
            given = {**given, "schedule": stated}
        return rules.fill(given) if given.get("tuning") == "rule" else given

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_defaults(
            handler(self), {"tuning": "given", "initialisation": 1.0, "skip": 0, "start": None, "stage": ""}
        )

    @model_validator(mode="after")
    def _affordable(self) -> Self:
        if self.steps < 1:
            raise ValueError(
                f"tokens {self.tokens} is less than one batch of "
                f"{self.batch} x {self.shape.context} = {self.tokens_per_step} tokens"
            )
        if self.schedule.warmup_steps is not None:
            falling = round(self.schedule.decay * self.steps) if self.schedule.kind == "wsd" else 1
            if self.schedule.warmup_steps + falling > self.steps:
                raise ValueError(
                    f"{self.schedule.warmup_steps} steps of warm-up leave no room in a run of {self.steps} steps"
                )
        if isinstance(self.checkpoints, int):
            if self.checkpoints < 1:
                raise ValueError("checkpoints must be at least 1")
        elif not self.checkpoints or min(self.checkpoints) < 1:
            raise ValueError("checkpoints must be token counts above zero")
        elif max(self.checkpoints) > self.tokens:
            raise ValueError(f"a checkpoint at {max(self.checkpoints)} tokens is past the budget of {self.tokens}")
        return self
