"""Curves of very many checkpoints, fitted to every k-th checkpoint of each run.

Neighbouring checkpoints of one run are nearly the same model asked the same questions: the hundredth between two others
adds time, and hardly any evidence. Rows are left out, never averaged, so that the noise of a score stays what it was.
Curves of up to ``MOST`` rows are fitted to all of them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

MOST = 5_000
"""Rows of a curve up to which every one is fitted."""


def thinned(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of one (task, metric, loss measure), at most about ``MOST``: every k-th of each run, its last with them.

    Runs are all kept. Rows keep their order.
    """
    every = stride(len(rows))
    if every == 1:
        return rows
    place = rows.tokens.where(rows.tokens.notna(), rows.step)
    order = np.lexsort((-rows.loss.to_numpy(dtype=float), place.to_numpy(dtype=float)))
    ordered = rows.run.iloc[order]
    from_last = ordered.groupby(ordered, sort=False, observed=True).cumcount(ascending=False).to_numpy()
    kept = np.zeros(len(rows), dtype=bool)
    kept[order[from_last % every == 0]] = True
    return rows[kept]


def stride(count: int) -> int:
    """Of how many checkpoints one is fitted in a curve of so many rows."""
    return max(1, -(-count // MOST))


def note(counts: list[int]) -> tuple[str, ...]:
    """What is to be said of curves with so many rows each; nothing where all are fitted whole."""
    long = [stride(count) for count in counts if stride(count) > 1]
    if not long:
        return ()
    least, most = min(long), max(long)
    every = f"{most}" if least == most else f"{least}-{most}"
    return (f"curves of more than {MOST} points, fitted to one checkpoint in {every} of each run: {len(long)}",)
