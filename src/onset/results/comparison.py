"""The result of ``onset compare``: models less a reference, on the same items."""

from __future__ import annotations

from typing import Any

import pandas as pd

from onset.results.base import Frame, Result, Table, estimate

COLUMNS = (
    "task", "metric", "model", "reference", "score_reference", "score", "difference", "low", "high", "p", "q",
    "differs", "test", "n_items", "n_clusters", "left_out", "gained", "lost",
)  # fmt: skip
FLIPS = ("task", "metric", "model", "reference", "item", "change")


class Comparison(Result):
    """Paired differences of models from a reference, one row a (task, metric, model)."""

    reference: str
    level: float
    """Level of the intervals."""
    rate: float
    """Share of false discoveries allowed among the rows of one metric that are said to differ."""
    rows: Table
    """``difference`` is ``score`` less ``score_reference``, with its interval; ``p`` of the named test, ``q`` adjusted
    over all tasks and models; ``gained`` and ``lost`` count items that flipped."""
    notes: tuple[str, ...] = ()
    flips: Frame = None
    """Items right under one model and wrong under the other: ``task, metric, model, reference, item, change``."""

    def summary(self) -> pd.DataFrame:
        """One row a task, metric and model: scores, difference with interval, adjusted p-value, number of items."""
        shown = ["task", "metric", "model", "score_reference", "score", "difference", "low", "high", "q", "differs"]
        return self.rows[[*shown, "n_items", "n_clusters", "gained", "lost"]]

    def _estimates(self) -> list[dict[str, Any]]:
        return [
            {"task": row["task"], "metric": row["metric"], "model": row["model"], **made}
            for row in self.rows.to_dict("records")
            for made in estimate("difference", row["difference"], row["low"], row["high"])
        ]

    def _headline(self) -> str:
        count = int(self.rows["differs"].sum())
        return (
            f"Comparison with {self.reference}: {count} of {len(self.rows)} differences are discoveries "
            f"(false discovery rate {self.rate:.0%})"
        )
