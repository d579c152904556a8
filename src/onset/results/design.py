"""The result of ``onset design``: what a planned family would tell, what it costs, what would add most."""

from __future__ import annotations

from typing import Any

import pandas as pd
from pydantic import Field

from onset.results.base import Result, Table, estimate

QUESTIONS = ("threshold", "size_effect", "same_curve", "forecast")
"""A threshold (or the onset loss of a smooth curve) found and narrow; a size effect found; none shown to be none; a
larger run's score foretold."""


class Design(Result):
    """Power of a planned family, by simulation through the statistics that its table will go through."""

    family: str
    level: float
    """Level of all intervals."""
    draws: int
    """Simulated tables behind each share."""
    asked: dict[str, float]
    """``width`` (loss), ``effect``, ``margin`` and ``error`` (pp): what counts as an answer."""
    flops: float
    """Operations of the whole family."""
    rate: float | None = None
    """FLOP/s of one GPU, where it was given."""
    power: Table
    """One row a question and task: ``question, task, metric, asked, power, low, high, answered, draws, width,
    unanswered`` (the commonest reason)."""
    runs: Table
    """``run, params, tokens, checkpoints, flops, gpu_hours``"""
    families: Table
    """Power against cost: ``family, flops, gpu_hours, question, power, low, high``, the family itself among them."""
    additions: Table = Field(default_factory=pd.DataFrame)
    """What one thing more would add: ``change, flops_added``, then by how many percent each question's interval gets
    narrower, and their mean in ``narrower``."""
    chosen: str | None = None
    """The family of a budget that answers most."""
    notes: tuple[str, ...] = ()

    def summary(self) -> pd.DataFrame:
        """One row a question and task: what was asked, the probability of an answer, the interval's median width."""
        return self.power.drop(columns=["answered", "draws"])

    def _estimates(self) -> list[dict[str, Any]]:
        return [
            {"task": row["task"], "metric": row["metric"], **made}
            for row in self.power.to_dict("records")
            for made in estimate(str(row["question"]), row["power"], row["low"], row["high"])
        ]

    def _headline(self) -> str:
        told = ", ".join(
            f"{question} {rows['power'].mean():.0%}" for question, rows in self.power.groupby("question", sort=False)
        )
        return f"Design of {self.family}: {told}, for {self.flops:.2g} FLOPs ({self.draws} draws)"
