"""The size effect: what ten times the parameters change at equal loss, in percentage points (pp) of the score.

    ability = curve(loss) + visible * (family + beta * log10 params) + run + shift along the loss + AR(1) + items

beta has a flat prior and is a comparison within families: between families size cannot be told from what else differs.
"One curve for all sizes" is an equivalence, and needs the whole interval within a stated margin. Where scores go by the
progress of a run at equal loss (an annealing phase, a change of the mix), size is judged with progress held equal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.special import ndtri

from onset.results import Interval, LossInterval, LossShift, SizeEffect, check_level
from onset.stats.data import Array, Bools, CurveData, curve_data
from onset.stats.mixed.equivalence import (
    MARGIN,
    EquivalenceVerdict,
    check_margin,
    interval_of,
    judge,
    sentence,
)
from onset.stats.mixed.smooth_curve import SmoothCurve, fit_curve, progress_columns

FEWEST_ROWS = 6
WIDEST = 2.0
"""Ability: a wider interval says that nothing could be compared."""

MOST_LEVELS = 24
"""Offsets are listed one by one for up to this many sizes."""

PROGRESS_EVIDENCE = 5.0
"""Log likelihood that progress in the run must add before size is judged with it held equal."""

PROGRESS_IS = "(annealing, a change of the mix, or the schedule)"

_ONE = np.ones(1)


@dataclass(frozen=True)
class _Asked:
    margin: float
    loss_margin: float | None
    level: float
    at: Literal["loss", "flops"]
    within_family: bool


def size_effect(
    obs: pd.DataFrame | CurveData,
    *,
    margin: float = MARGIN,
    loss_margin: float | None = None,
    threshold: Any = None,
    within_family: bool = True,
    level: float = 0.95,
    at: Literal["loss", "flops"] = "loss",
) -> SizeEffect:
    """What ten times the parameters change at equal loss in one (task, metric, loss measure).

    ``margin`` in pp, ``loss_margin`` (loss units a decade, None: not asked) for curves that jump within hundredths of
    a nat, where a small shift is many points: equivalent where either says so, different where both do. ``threshold``
    (a loss, an interval or a result with one) leaves out rows at higher losses. ``within_family`` gives families
    offsets of their own. ``at="flops"`` holds compute equal in place of the loss. Raises OnsetError for a level or
    margin that is none; where nothing can be compared the verdict is inconclusive and ``why`` says why.
    """
    check_margin(margin)
    check_margin(loss_margin, "loss_margin")
    asked = _Asked(margin, loss_margin if at == "loss" else None, check_level(level), at, within_family)
    data = obs if isinstance(obs, CurveData) else curve_data(obs)
    limit = _loss_of(threshold)
    keep = np.isfinite(data.log_params) & (data.loss < (np.inf if limit is None else limit))
    if keep.any():
        data = data.subset(keep)
    refusal = _refusal(data, keep, within_family)
    if refusal:
        return _nothing(asked, refusal)
    if at == "flops":
        data = at_equal_compute(data)
    curve = fit_curve(data, data.log_params[:, None], within_family=within_family)
    refusal = _invisible(curve)
    if not refusal:
        return _judged(curve, asked)
    if asked.at == "loss" and (held := _progress_held(curve)) is not None:
        refusal += f". {_goes_by_progress(*held)}; what a run learns late passes for a difference of runs"
    return _nothing(asked, refusal)


def _judged(curve: SmoothCurve, asked: _Asked) -> SizeEffect:
    data = curve.data
    unit = data.sign * data.points_per_unit
    found = interval_of(curve.effect, _ONE, asked.level, unit)
    verdict, told, freedom = judge(found, asked.margin), "", curve.effect.between.freedom
    shift = _along_loss(curve, asked)
    if verdict != "equivalent":
        made = _progress_held(curve) if asked.at == "loss" else None
        if made is not None:
            found, verdict, told = _with_progress(made, curve, found, verdict, asked)
            freedom = freedom if _invisible(made[0]) else made[0].effect.between.freedom
    if shift is not None and asked.loss_margin is not None:
        along = judge(Interval(shift.nats_per_decade, shift.low, shift.high), asked.loss_margin)
        verdict = _either(verdict, along)
        told += (
            f" Along the loss the curve moves by {shift.nats_per_decade:+.3f} [{shift.low:+.3f}, {shift.high:+.3f}] a "
            f"decade, margin {asked.loss_margin:g}."
        )
    where = f" Within families ({len(data.families)})." if curve.by_family else ""
    why = sentence("ten times the parameters change the score", found, judge(found, asked.margin), asked.margin,
                   asked.level, "compute" if asked.at == "flops" else "loss")  # fmt: skip
    return SizeEffect(
        verdict=verdict, pp_per_decade=found.value, low=found.low, high=found.high, margin=asked.margin,
        within_family=curve.by_family, why=why + where + told, level=asked.level, at=asked.at, along_loss=shift,
        degrees_of_freedom=freedom,
        levels=_levels(curve, asked.level), curve=curve_frame(curve, asked.level), residuals=residual_frame(curve),
    )  # fmt: skip


def _either(by_score: EquivalenceVerdict, by_loss: EquivalenceVerdict) -> EquivalenceVerdict:
    """Equivalent when either axis says so, different when both do."""
    if "equivalent" in (by_score, by_loss):
        return "equivalent"
    return "differs" if by_score == by_loss == "differs" else "inconclusive"


def _along_loss(curve: SmoothCurve, asked: _Asked) -> LossShift | None:
    if asked.at != "loss":
        return None
    column = curve.data.log_params[:, None] - curve.data.log_params.mean()
    plain = fit_curve(curve.data, within_family=curve.by_family) if asked.loss_margin is not None else curve
    if plain is curve:
        return None
    found = interval_of(plain.ask_along_loss(column), _ONE, asked.level)
    return LossShift(nats_per_decade=found.value, low=found.low, high=found.high, margin=asked.loss_margin)


def _progress_held(curve: SmoothCurve) -> tuple[SmoothCurve, float] | None:
    """The curve with the progress of the run held equal, and its gain, where scores go by progress at equal loss."""
    columns = progress_columns(curve.data)
    if columns is None:
        return None
    data = curve.data
    other = fit_curve(data, data.log_params[:, None], within_family=curve.by_family, beside=columns, wide=True)
    gain = other.model.log_likelihood - curve.model.log_likelihood
    return (other, gain) if gain >= PROGRESS_EVIDENCE else None


def _goes_by_progress(_: SmoothCurve, gain: float) -> str:
    return f"Scores also go by the progress of a run at equal loss (log likelihood +{gain:.0f})"


def _with_progress(
    made: tuple[SmoothCurve, float], curve: SmoothCurve, found: Interval, verdict: EquivalenceVerdict, asked: _Asked
) -> tuple[Interval, EquivalenceVerdict, str]:
    """Size with the progress of the run held equal, where scores go by progress at equal loss."""
    other, told = made[0], f" {_goes_by_progress(*made)}"
    if refusal := _invisible(other):
        told += f". With it held equal, {refusal}: size is confounded with progress {PROGRESS_IS}."
        return found, "inconclusive", told
    unit = curve.data.sign * curve.data.points_per_unit
    held = interval_of(other.effect, _ONE, asked.level, unit)
    again = judge(held, asked.margin)
    told += "; it is held equal here."
    if verdict == "differs" and again != "differs":
        told += (
            f" Without that the effect would be {found.value:+.1f} pp [{found.low:+.1f}, {found.high:+.1f}]: size is "
            f"confounded with progress {PROGRESS_IS}."
        )
    return held, again, told


def _refusal(data: CurveData, keep: Bools, within_family: bool) -> str:
    """Why nothing can be compared; empty where something can."""
    if not keep.any():
        return "no observation below the threshold says its number of parameters"
    if len(np.unique(np.round(data.log_params, 9))) < 2:
        return "all observations are of one size"
    if len(data) < FEWEST_ROWS:
        return f"only {len(data)} observations; {FEWEST_ROWS} or more are needed"
    if len(np.unique(data.loss)) < 4:
        return f"the observations have only {len(np.unique(data.loss))} different losses; 4 or more are needed"
    spread = [np.ptp(data.log_params[data.family == family]) for family in range(len(data.families))]
    if within_family and len(data.families) > 1 and max(spread) < 1e-9:
        return (
            f"each of the {len(data.families)} families has one size, so size cannot be told from family; "
            "within_family=False compares them all the same"
        )
    return ""


def _invisible(curve: SmoothCurve) -> str:
    """Why no effect could show; empty where one can."""
    shown = curve.visible > 0.5
    if shown.sum() < FEWEST_ROWS:
        return f"only {int(shown.sum())} observations are far enough above chance for an effect to show"
    found = curve.effect
    if found.between.freedom < 1:
        runs = len(np.unique(curve.data.run[shown]))
        return (
            f"{runs} runs say nothing of how runs of one size differ, so chance cannot be told from size; "
            "one more run, of any size in a family of two sizes, would give an interval"
        )
    low, high = found.interval(_ONE, 0.95)
    if high - low > WIDEST and found.between.freedom < 3:
        return (
            f"runs differ by so much at equal loss that {found.between.freedom} degree(s) of freedom between runs give "
            "no interval within the range of the score; more runs would"
        )
    if high - low > WIDEST:
        return "sizes do not overlap in loss, so the curve and the effect of size cannot be told apart"
    return ""


def _nothing(asked: _Asked, why: str) -> SizeEffect:
    return SizeEffect(
        verdict="inconclusive", margin=asked.margin, why=f"Nothing can be compared: {why}.", level=asked.level,
        within_family=False, at=asked.at, levels=None, curve=None, residuals=None,
    )  # fmt: skip


def at_equal_compute(data: CurveData) -> CurveData:
    """Compute in place of the loss, falling to 1: FLOPs of the table, else 6 a parameter and token."""
    given = data.factors["flops"] if "flops" in data.factors else pd.Series(np.nan, index=data.factors.index)
    flops = pd.to_numeric(given).to_numpy(float)
    made = np.where(np.isfinite(flops), flops, 6.0 * 10.0**data.log_params * data.tokens)
    known = np.isfinite(made) & (made > 0)
    kept = data.subset(known)
    logs = np.log10(made[known])
    return replace(kept, loss=1.0 + logs.max(initial=0.0) - logs, loss_name="flops", loss_unit="decades")


def _levels(curve: SmoothCurve, level: float) -> pd.DataFrame | None:
    """Offset of each size from the mean of all, in pp of the score; None with too many sizes."""
    data = curve.data
    sizes, codes = np.unique(np.round(data.log_params, 9), return_inverse=True)
    if not 1 < len(sizes) <= MOST_LEVELS:
        return None
    found = curve.ask_levels((codes[:, None] == np.arange(1, len(sizes))[None, :]).astype(float))
    table = []
    for place, size in enumerate(sizes):
        contrast = -np.full(len(sizes), 1.0 / len(sizes))
        contrast[place] += 1.0
        offset = interval_of(found, contrast[1:], level, data.sign * data.points_per_unit)
        here = codes == place
        table.append(
            (10.0**size, len(np.unique(data.run[here])), int(here.sum()), offset.value, offset.low, offset.high)
        )
    return pd.DataFrame(table, columns=["level", "runs", "rows", "offset", "low", "high"])


def curve_frame(curve: SmoothCurve, level: float) -> pd.DataFrame:
    """The common curve with its band on a grid of losses, in units of the score: ``loss, score, low, high``."""
    data = curve.data
    grid = np.linspace(data.loss.min(), data.loss.max(), 101)
    mean, deviation = curve.mean_at(grid)
    reach = float(ndtri(0.5 + level / 2.0)) * deviation
    ends = np.sort(np.stack([data.to_score(mean - reach), data.to_score(mean + reach)]), axis=0)
    return pd.DataFrame({"loss": grid, "score": data.to_score(mean), "low": ends[0], "high": ends[1]})


def residual_frame(curve: SmoothCurve) -> pd.DataFrame:
    """Observed minus fitted (family included) in units of the score: ``run, params, loss, residual``."""
    data = curve.data
    names: Array = np.asarray(data.runs, dtype=object)
    residual = data.score - data.to_score(curve.fitted)
    return pd.DataFrame(
        {"run": names[data.run], "params": 10.0**data.log_params, "loss": data.loss, "residual": residual}
    )


def _loss_of(threshold: Any) -> float | None:
    """The loss that a number, an interval or a result with a threshold means."""
    found = getattr(threshold, "threshold", threshold)
    if found is None:
        return None
    if isinstance(found, Interval):
        return float(found.value)
    return float(found.loss if isinstance(found, LossInterval) else found)
