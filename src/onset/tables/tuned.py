"""Checkpoints of tunings as points of the trajectory that they start from: placed by the base checkpoint's loss.

A tuned checkpoint says what the base checkpoint could do after tuning, so it stands at that one's held-out loss, tokens
and compute; the tunings of a trajectory's checkpoints together are one run of the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from onset.store.rundir import RunDir

PLACES = (("place_run", "run"), ("place_step", "step"))
"""Columns of a score, and the keys of a run's ``start``, that say by which checkpoint's loss it is placed."""


def placed(scores: pd.DataFrame, runs: Sequence[RunDir], notes: list[str]) -> pd.DataFrame:
    """Scores with ``place_run`` and ``place_step``: the checkpoint by whose loss each is placed.

    Of a tuning the last checkpoint counts; earlier ones are left out and told in ``notes``.
    """
    made = scores.assign(place_run=scores["run"], place_step=scores["step"])
    left = 0
    for run in runs:
        start = run.meta().get("start")
        mine = made["run"] == run.name
        if start is None or not mine.any():
            continue
        last = mine & (made["step"] == made.loc[mine, "step"].max())
        left += int(made.loc[mine & ~last, "step"].nunique())
        made = made[~mine | last]
        mine = made["run"] == run.name
        made = made.assign(
            place_run=made["place_run"].mask(mine, start["run"]),
            place_step=made["place_step"].mask(mine, start["step"]),
        )
    if left:
        notes.append(f"{left} checkpoints within tunings are left out: of each tuning the last one counts")
    return made


def joined(frame: pd.DataFrame, runs: Sequence[RunDir]) -> pd.DataFrame:
    """Tunings of one trajectory under one run's name, their steps those of the checkpoints that they start from."""
    series = {run.name: start["series"] for run in runs if (start := run.meta().get("start")) is not None}
    names = frame["run"].map(lambda name: series.get(name, name))
    return frame.assign(run=names, step=frame["place_step"]).drop(columns=["place_run", "place_step"])


def tokens_at(meta: dict[str, Any]) -> dict[str, Any]:
    """Training tokens by step where they are stated; a tuning has those of the checkpoint that it starts from."""
    start = meta.get("start")
    if start is None:
        return dict(meta.get("tokens_at") or {})
    return {str(step): start["tokens"] for step in meta.get("checkpoints") or ()}
