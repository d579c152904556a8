"""Which families leave the common curve on a loss axis, and by how many points."""

from __future__ import annotations

import numpy as np
import pandas as pd

from onset.metrics import info as scales
from onset.results import FamilyOffset
from onset.stats.data import curve_data
from onset.stats.mixed.equivalence import MARGIN, interval_of
from onset.stats.mixed.smooth_curve import fit_curve


def leaving(placed: pd.DataFrame, axis: tuple[str, str], level: float) -> tuple[FamilyOffset, ...]:
    """Each family against the common curve, mean over tasks.

    From the curve of the size effect where the ability is there, one share of right answers a task; offsets are from
    the middle family. What moves a family's runs moves all their tasks, so the intervals of the tasks are averaged, not
    narrowed by their number. A family leaves the curve where its interval excludes zero and it is off by more than
    the margin of 1 pp.
    """
    rows = placed[(placed.loss_name == axis[0]) & (placed.loss_unit == axis[1])]
    parts = []
    for _, of_task in rows.groupby("task", sort=True):
        shares = sorted(metric for metric in of_task.metric.unique() if scales.is_share(metric))
        offsets = _offsets(of_task[of_task.metric == shares[0]], level) if shares else None
        if offsets is not None:
            parts.append(offsets)
    if not parts:
        return ()
    table = pd.concat(parts)
    return tuple(_entry(str(family), of_family) for family, of_family in table.groupby("family", sort=True))


def _offsets(rows: pd.DataFrame, level: float) -> pd.DataFrame | None:
    """Offset of each family from the middle one in one task, in pp; None where nothing can be compared."""
    data = curve_data(rows)
    families = len(data.families)
    if families < 2 or len(data) < 6 or len(np.unique(data.loss)) < 4:
        return None
    member = (data.family[:, None] == np.arange(1, families)[None, :]).astype(float)
    curve = fit_curve(data, member, within_family=False)
    effect = curve.effect
    if (curve.visible > 0.5).sum() < 6 or effect.between.freedom < 1:
        return None
    unit = data.sign * data.points_per_unit
    order = np.argsort(np.r_[0.0, effect.mean])
    middle = order[(families - 1) // 2]
    table = []
    for family, name in enumerate(data.families):
        contrast = np.zeros(families)
        contrast[family] += 1.0
        contrast[middle] -= 1.0
        found = interval_of(effect, contrast[1:], level, unit)
        table.append((name, found.value, found.low, found.high))
    return pd.DataFrame(table, columns=["family", "offset", "low", "high"])


def _entry(family: str, rows: pd.DataFrame) -> FamilyOffset:
    pp, low, high = (float(rows[name].mean()) for name in ("offset", "low", "high"))
    off = (low > 0 or high < 0) and abs(pp) > MARGIN
    side = "above" if pp > 0 else "below"
    lies = f"lies {abs(pp):.1f} pp {side} the common curve" if off else "is not shown to lie off the common curve"
    why = f"Family '{family}' {lies}: {pp:+.1f} pp [{low:+.1f}, {high:+.1f}] at equal loss."
    return FamilyOffset(family=family, pp=pp, low=low, high=high, n_tasks=len(rows), off_curve=off, why=why)
