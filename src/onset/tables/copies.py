"""Runs that are exact copies of another under another name: they count once, or the same evidence counts twice."""

from __future__ import annotations

import pandas as pd

NUMBERS = ["params", "tokens", "step", "loss_name", "loss", "task", "metric", "score"]
"""What must agree in every row."""
FEWEST_LOSSES = 4
"""Runs with fewer different losses may agree by chance of rounding."""


def without_copies(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The frame without runs that repeat another run in every number, the first name in the table being kept."""
    signature = _signatures(frame)
    first = signature.drop_duplicates()
    copies = signature[signature.duplicated()]
    if copies.empty:
        return frame, []
    named = {value: run for run, value in first.items()}
    notes = [
        f"run '{run}' repeats run '{named[value]}' in every number: it counts once" for run, value in copies.items()
    ]
    return frame[~frame.run.isin(copies.index)], notes


def _signatures(frame: pd.DataFrame) -> pd.Series:
    """One text a run that two runs share only where all their rows agree, whatever the order; few losses have none."""
    hashed = pd.util.hash_pandas_object(frame[NUMBERS].reset_index(drop=True), index=False)
    rows = frame[["run", "loss"]].reset_index(drop=True).assign(hash=hashed)
    grouped = rows.groupby("run", sort=False)
    enough = grouped.loss.nunique() >= FEWEST_LOSSES
    sums = grouped["hash"].agg(["size", "sum", "min", "max"]).astype(str).agg("-".join, axis=1)
    return sums[enough]
