"""Which families leave the common curve on a loss axis, and by how many points."""

from __future__ import annotations

import pandas as pd

from onset.errors import OnsetError
from onset.metrics import info as scales
from onset.results import FamilyOffset
from onset.stats.size_effect import MARGIN, collapse


def leaving(placed: pd.DataFrame, axis: tuple[str, str], level: float) -> tuple[FamilyOffset, ...]:
    """Each family against the common curve, mean over tasks.

    From ``collapse`` by family where the ability is there, one share of right answers a task; the curve is that of
    the middle family. What moves a family's runs moves all their tasks, so the intervals of the tasks are averaged, not
    narrowed by their number. A family leaves the curve where its interval excludes zero and it is off by more than
    the margin of 1 point.
    """
    rows = placed[(placed.loss_name == axis[0]) & (placed.loss_unit == axis[1])]
    parts = []
    for _, of_task in rows.groupby("task", sort=True):
        shares = sorted(metric for metric in of_task.metric.unique() if scales.is_share(metric))
        if not shares:
            continue
        try:
            found = collapse(of_task[of_task.metric == shares[0]], by="family", level=level).levels
        except OnsetError:  # nothing to compare in this task
            continue
        if len(found) > 1:
            # From the middle family: one that is far off would move the mean of all, and the others with it.
            middle = found["offset"].median()
            parts.append(found.assign(**{name: found[name] - middle for name in ("offset", "low", "high")}))
    if not parts:
        return ()
    table = pd.concat(parts)
    return tuple(_entry(str(family), of_family) for family, of_family in table.groupby("level", sort=True))


def _entry(family: str, rows: pd.DataFrame) -> FamilyOffset:
    pp, low, high = (float(rows[name].mean()) for name in ("offset", "low", "high"))
    off = (low > 0 or high < 0) and abs(pp) > MARGIN
    side = "above" if pp > 0 else "below"
    lies = f"lies {abs(pp):.1f} pp {side} the common curve" if off else "is not shown to lie off the common curve"
    why = f"Family '{family}' {lies}: {pp:+.1f} pp [{low:+.1f}, {high:+.1f}] at equal loss."
    return FamilyOffset(family=family, pp=pp, low=low, high=high, n_tasks=len(rows), off_curve=off, why=why)
