"""What a model says of requests, wherever it is: its log-probabilities and its answers. No torch is needed here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Missing = Literal["too long", "empty"]


@dataclass(frozen=True, slots=True)
class Scored:
    """What a model says of one request."""

    logprob: float | None
    """Nats, of the continuation given the prompt; None where ``missing``."""
    logprob_uncond: float | None
    """Nats, of the continuation given the bare prompt; None where not asked or ``missing``."""
    tokens: int
    """Tokens of the continuation."""
    bytes: int
    """UTF-8 bytes of the continuation."""
    cut_shots: int
    """Shots dropped from the left of the prompt to fit the model's context."""
    missing: Missing | None = None
    """Why there is no log-probability: question and continuation alone exceed the context, or nothing to score."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What a model says to a prompt."""

    text: str | None
    """None where the question alone leaves no room in the context."""
    cut_shots: int
    """Shots dropped from the left of the prompt to make room."""
