"""Which question is learnt when, and in which order abilities set in."""

from __future__ import annotations

from typing import Any

import pandas as pd
from pydantic import Field

from onset.results.base import Frame, Result, Table, estimate

ITEM_COLUMNS = (
    "task", "metric", "item", "loss", "low", "high", "known", "state", "slope", "flips", "right", "asked",
    "difficulty", "discrimination", "information", "rank",
)  # fmt: skip


class Questions(Result):
    """When single questions are learnt; the questions themselves are in ``items`` (results/items.parquet)."""

    level: float = 0.95
    loss_name: str = "loss"
    loss_unit: str = "nats/token"
    order: Table
    """One row a task, the earliest first: ``task, metric, items, learnt`` (share by the lowest loss), ``loss`` at which
    half of the questions are known with ``low, high`` (missing where less than half are), ``before_next`` (probability
    that it lies above that of the task in the next row), ``flips`` an item, ``reliability``."""
    smallest: Table = Field(default_factory=pd.DataFrame)
    """One row a task, where asked for: ``task, metric, verdict, items, needed`` (fewest that keep it; missing where
    none do), ``onset`` of all and ``onset_needed`` of these."""
    items: Frame = None
    """One row a question: see ``ITEM_COLUMNS``."""

    def summary(self) -> pd.DataFrame:
        """The order of abilities."""
        return self.order

    def _estimates(self) -> list[dict[str, Any]]:
        return [
            {"task": row["task"], "metric": row["metric"], **made}
            for row in self.order.to_dict("records")
            if pd.notna(row["loss"])
            for made in estimate("half_known", row["loss"], row["low"], row["high"])
        ]

    def _headline(self) -> str:
        reached = self.order.dropna(subset=["loss"]) if len(self.order) else self.order
        return f"Questions of {len(self.order)} tasks; half are known in {len(reached)} of them"
