"""Collapse: at equal loss, does size (or anything else in the table) still move the score?

``score = curve(loss) + effect * log10(size)`` where the ability is there, with runs as clusters. The claim
"one curve for all sizes" is an equivalence: it needs an interval inside a stated margin, not merely a
p-value that failed (Schuirmann 1987, two one-sided tests). "Size matters" needs one wholly beyond it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from onset.errors import OnsetError, did_you_mean
from onset.results import Drawable, Interval
from onset.stats import headroom as shows
from onset.stats import smoother as smooth
from onset.stats.mixture import Matrix, Mixture, Vector
from onset.stats.series import points as points_of

MARGIN = 1.0
"""Points that ten times the parameters may move a score before size is said to matter."""

CollapseVerdict = Literal["collapses", "size_matters", "unresolved"]
At = Literal["loss", "flops"]
"""What is held equal."""

LEAST_SHOWN = 0.5
"""Part of an effect that must be able to show at some loss, or nothing can be compared."""

MOST_LEVELS = 24
"""Offsets are listed one by one for up to this many sizes or categories."""

NUMERIC = ("params", "tokens", "flops")
"""What is counted per decade; ``place`` is the share of its run that a checkpoint has behind it."""


@dataclass(frozen=True)
class CollapseFit(Drawable):
    """What one column moves at equal loss; all effects in points (0.01 of the score)."""

    by: str
    margin: float
    level: float
    verdict: CollapseVerdict
    why: str
    points: Interval | None
    """Points a decade (a whole run for ``place``); for a category, of the two levels farthest apart."""
    shift: Interval | None
    """The same seen along the loss axis: nats that the curve moves, positive towards higher loss."""
    p_value: float | None
    """Of no effect at all."""
    levels: pd.DataFrame = field(repr=False)
    """One row a size or category: ``level, runs, rows, offset, low, high`` in points from the shared curve."""
    curve: pd.DataFrame = field(repr=False)
    """The shared curve where it was compared: ``loss, score, low, high``."""
    residuals: pd.DataFrame = field(repr=False)
    """``run, params, loss, residual`` from the shared curve, in units of the score."""
    loss_margin: float | None = None
    """Nats a decade that count as none along the loss; None where points alone were asked."""

    def summary(self) -> pd.DataFrame:
        """One row: what was compared, its effect with interval, and the verdict."""
        nothing = Interval(np.nan, np.nan, np.nan)
        found, moved = self.points or nothing, self.shift or nothing
        row = {
            "by": self.by, "verdict": self.verdict, "points": found.value, "low": found.low, "high": found.high,
            "margin": self.margin, "nats": moved.value, "nats_low": moved.low, "nats_high": moved.high,
            "p_value": self.p_value, "why": self.why,
        }  # fmt: skip
        return pd.DataFrame([row])

    def predict(self, loss: Any) -> pd.Series[float]:
        """Score of the shared curve at losses inside those compared; NaN outside."""
        at = np.asarray(loss, dtype=float)
        if self.curve.empty:
            return pd.Series(np.full(at.shape, np.nan), index=at)
        curve = self.curve.sort_values("loss")
        score = np.interp(at, curve["loss"], curve["score"], left=np.nan, right=np.nan)
        return pd.Series(score, index=at, name="score")


def collapse(
    obs: pd.DataFrame,
    *,
    by: str = "params",
    margin: float = MARGIN,
    loss_margin: float | None = None,
    threshold: Interval | None = None,
    level: float = 0.95,
    at: At = "loss",
) -> CollapseFit:
    """Whether ``by`` moves the score of one (task, metric, loss) at equal loss by more than ``margin`` points.

    ``by`` is ``params``, ``tokens`` or ``flops`` (points a decade), ``place`` (points from start to end of a
    run), or a column of categories or of numbers (family, optimizer, width...). With ``threshold`` only
    losses below it count; without, losses where the curve is above chance. The interval has the stated
    level; the verdict is two one-sided tests, each at 1 - level.

    Where scores leap within hundredths of a nat, points say little. ``loss_margin`` (nats a decade) then asks
    along the loss as well: one curve when the effect is within either margin, size matters beyond both.

    ``at="flops"`` asks the same at equal compute (points alone count): what the loss adds is seen beside it.
    """
    if at == "flops" and loss_margin is not None:
        raise OnsetError("at equal compute there is no margin along the loss", advice="leave loss_margin out")
    rows = _one_series(obs)
    columns, names = _columns(rows, by)
    known: NDArray[np.bool_] = np.asarray(np.isfinite(columns).all(axis=1))
    rows, columns = _kept(rows, known), columns[known]
    able = shows.able(rows, threshold)
    rows, columns = _kept(rows, able), columns[able]
    refusal = _refusal(rows, columns, by, names)
    if refusal:
        return _nothing(by, margin, level, refusal)
    if at == "loss":
        return _compared(rows, columns, by, names, _Margins(margin, loss_margin), level)
    made = _compared(_at_compute(rows), columns, by, names, _Margins(margin, None), level)
    return replace(made, shift=None, why=made.why.replace("At equal loss", "At equal compute", 1))


def effects(
    obs: pd.DataFrame, *, margin: float = MARGIN, threshold: Interval | None = None, level: float = 0.95
) -> pd.DataFrame:
    """All that varies in the table, each asked alone: one ``CollapseFit.summary()`` row a column.

    Which rows have ``verdict == "size_matters"`` says what breaks the link between loss and ability.
    """
    found = [collapse(obs, by=name, margin=margin, threshold=threshold, level=level).summary() for name in factors(obs)]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def factors(obs: pd.DataFrame) -> list[str]:
    """Names that ``effects`` asks about: what takes two values or more, beside loss and score."""
    names = [name for name in ("params", "tokens", "flops") if name in obs and obs[name].nunique() > 1]
    if "tokens" in obs and obs.groupby("run")["tokens"].nunique().max() > 2:
        names.append("place")
    known = {
        "run", "step", "loss", "score", "task", "metric", "chance", "n_examples", "stderr", "direction", "extra",
        "loss_name", "loss_unit", "language", *NUMERIC,
    }  # fmt: skip
    runs = obs["run"].nunique()
    for name in obs.columns:
        if name not in known and 1 < obs[name].nunique() < max(runs, 3):
            names.append(name)
    return names


def _one_series(obs: pd.DataFrame) -> pd.DataFrame:
    """The rows of one task, metric and loss, sorted; more than one is an error."""
    for name in ("run", "loss", "score", "task", "metric"):
        if name not in obs:
            raise OnsetError(f"the table has no column '{name}'", advice="see the columns of observations")
    for name in ("task", "metric", "loss_name"):
        if name in obs and obs[name].nunique() > 1:
            values = ", ".join(map(str, obs[name].unique()[:4]))
            raise OnsetError(
                f"one {name} at a time, and the rows have several: {values}",
                advice=f"choose one: obs[obs['{name}'] == ...]",
            )
    known = np.isfinite(obs["loss"].to_numpy(float)) & np.isfinite(obs["score"].to_numpy(float))
    rows = _kept(obs, known)
    return rows.sort_values(["run", "loss"], kind="stable").reset_index(drop=True)


def _kept(rows: pd.DataFrame, keep: NDArray[np.bool_]) -> pd.DataFrame:
    kept: pd.DataFrame = rows.loc[keep].reset_index(drop=True)
    return kept


def _at_compute(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with compute in the place of loss, turned round so that less of it is better too."""
    return rows.assign(loss=-np.log10(_values(rows, "flops").to_numpy(float)))


def _columns(rows: pd.DataFrame, by: str) -> tuple[Matrix, list[str]]:
    """Effect columns of ``by``: one of numbers, or one a category beside the first; and the categories."""
    if by == "place":
        tokens = rows["tokens"].to_numpy(float)
        return (tokens / rows.groupby("run")["tokens"].transform("max").to_numpy(float))[:, None], []
    values = _values(rows, by)
    if by in NUMERIC or (pd.api.types.is_numeric_dtype(values) and values.nunique() > 4):
        numbers = values.to_numpy(float)
        if (numbers <= 0).any():
            raise OnsetError(f"'{by}' is counted in decades, and has values of zero or less")
        return np.log10(numbers)[:, None], []
    codes, names = pd.factorize(values, sort=True)
    columns = (codes[:, None] == np.arange(1, len(names))[None, :]).astype(float)
    columns[codes < 0] = np.nan
    return columns, [str(name) for name in names]


def _values(rows: pd.DataFrame, by: str) -> pd.Series[Any]:
    if by in rows:
        return rows[by]
    if by == "flops" and {"params", "tokens"} <= set(rows.columns):
        return 6.0 * rows["params"].astype(float) * rows["tokens"].astype(float)
    raise OnsetError(f"the table has no column '{by}'", advice=did_you_mean(by, [*rows.columns, "place"]))


def _refusal(rows: pd.DataFrame, columns: Matrix, by: str, names: list[str]) -> str:
    """Why nothing can be compared; empty where something can."""
    if not len(columns):
        return f"where the ability is there, no observation says its '{by}'"
    if len(rows) < 6:
        return f"only {len(rows)} observations where the ability is there; 6 or more are needed"
    if np.ptp(rows["loss"].to_numpy(float)) <= 0:
        return "all observations have the same loss"
    if (np.ptp(columns, axis=0) <= 1e-9).any() or columns.shape[1] == 0:
        return f"where the ability is there, '{by}' does not vary" + (" over all its values" if names else "")
    return ""


def _nothing(by: str, margin: float, level: float, why: str) -> CollapseFit:
    empty = pd.DataFrame()
    return CollapseFit(by, margin, level, "unresolved", why, None, None, None, empty, empty, empty)


def _compared(
    rows: pd.DataFrame, columns: Matrix, by: str, names: list[str], margins: _Margins, level: float
) -> CollapseFit:
    seen = points_of(rows, columns - columns.mean(axis=0))
    seen = replace(seen, shown=shows.shown(rows, seen.loss))
    if seen.shown.max() < LEAST_SHOWN:
        return _nothing(by, margins.points, level, "the curve is nowhere far enough from chance for an effect to show")
    model = smooth.fit(seen)
    found, moved = model.effects(), model.along_loss()
    contrast = _contrast(found.mean)
    points, shift = _interval(found, contrast, level), _interval(moved, contrast, level)
    verdict = _verdict(found, contrast, margins.points, level)
    if margins.loss is not None:
        verdict = _either(verdict, _verdict(moved, contrast, margins.loss, level))
    why = _sentence(by, names, found.mean, points, shift, verdict, margins)
    return CollapseFit(
        by=by, margin=margins.points, level=level, verdict=verdict, why=why, points=points, shift=shift,
        p_value=found.joint_p(), levels=_levels(model, rows, by, level), curve=_curve(model, level),
        residuals=_residuals(model, rows), loss_margin=margins.loss,
    )  # fmt: skip


@dataclass(frozen=True)
class _Margins:
    points: float
    loss: float | None
    """Nats; None where only points count."""


def _either(by_score: CollapseVerdict, by_loss: CollapseVerdict) -> CollapseVerdict:
    """One curve when either axis says so; size matters when both do."""
    if "collapses" in (by_score, by_loss):
        return "collapses"
    return "size_matters" if by_score == by_loss == "size_matters" else "unresolved"


def _contrast(mean: Vector) -> Vector:
    """The effect itself, or the difference of the two categories farthest apart."""
    if len(mean) == 1:
        return np.ones(1)
    levels = np.r_[0.0, mean]
    high, low = int(levels.argmax()), int(levels.argmin())
    contrast = np.zeros(len(levels))
    contrast[high] += 1.0
    contrast[low] -= 1.0
    return contrast[1:]


def _interval(found: Mixture, contrast: Vector, level: float) -> Interval:
    low, high = found.interval(contrast, level)
    return Interval(float(found.mean @ contrast), low, high)


def _verdict(found: Mixture, contrast: Vector, margin: float, level: float) -> CollapseVerdict:
    """Within the margin, beyond it, or neither: one-sided tests, each at 1 - level, on the posterior of the effect."""
    low, high = found.interval(contrast, 2.0 * level - 1.0)
    if -margin <= low and high <= margin:
        return "collapses"
    surely_low, surely_high = found.interval(contrast, level)
    if (surely_low > 0.0 and low > margin) or (surely_high < 0.0 and high < -margin):
        return "size_matters"
    return "unresolved"


def _sentence(
    by: str, names: list[str], mean: Vector, points: Interval, shift: Interval, verdict: CollapseVerdict,
    margins: _Margins,
) -> str:  # fmt: skip
    """The effect in words, with where its interval lies."""
    moves = f"move this score by {points.value:+.1f} points [{points.low:+.1f}, {points.high:+.1f}]"
    margin = f"the margin of {margins.points:g} point{'' if margins.points == 1 else 's'}"
    if margins.loss is not None:
        moves += f", the curve by {shift.value:+.3f} nats [{shift.low:+.3f}, {shift.high:+.3f}]"
        margin += f" or {margins.loss:g} nats"
    if names:
        levels = np.r_[0.0, mean]
        subject = f"{by} '{names[int(levels.argmax())]}' against '{names[int(levels.argmin())]}'"
        moves = moves.replace("move ", "moves ", 1)
    elif by == "place":
        subject, moves = "going from the start of a run to its end", moves.replace("move ", "moves ", 1)
    else:
        subject = "ten times the " + {"params": "parameters", "flops": "compute"}.get(by, by)
    where = {
        "collapses": f"within {margin} by two one-sided tests",
        "size_matters": f"not zero, and beyond {margin} by a one-sided test",
        "unresolved": f"neither within nor beyond {margin}",
    }[verdict]
    return f"At equal loss, {subject} {moves}: {where}."


def _levels(model: smooth.Smooth, rows: pd.DataFrame, by: str, level: float) -> pd.DataFrame:
    """Offset of each size or category from the mean of all, in points; empty where a run has several."""
    if by not in rows or rows.groupby("run")[by].nunique().max() > 1 or not 1 < rows[by].nunique() <= MOST_LEVELS:
        return pd.DataFrame()
    of_run = rows.groupby(pd.factorize(rows["run"])[0])[by].first()
    codes, names = pd.factorize(of_run.to_numpy()[model.points.run], sort=True)
    dummies = (codes[:, None] == np.arange(1, len(names))[None, :]).astype(float)
    found = model.linear(dummies)
    table = []
    for place, name in enumerate(names):
        contrast = -np.full(len(names), 1.0 / len(names))
        contrast[place] += 1.0
        offset = _interval(found, contrast[1:], level)
        of_level = rows[rows[by] == name]
        table.append((name, of_level["run"].nunique(), len(of_level), offset.value, offset.low, offset.high))
    return pd.DataFrame(table, columns=["level", "runs", "rows", "offset", "low", "high"])


def _curve(model: smooth.Smooth, level: float) -> pd.DataFrame:
    """The shared curve with its band, on a grid of losses, in units of the score."""
    grid = np.linspace(*model.span, 101)
    means, deviations, _ = model.at(grid)
    mean = model.scale_weights @ means
    deviation = np.sqrt(model.scale_weights @ (deviations**2 + (means - mean) ** 2))
    reach = special.ndtri(0.5 + level / 2.0) * deviation
    return pd.DataFrame({"loss": grid, "score": mean, "low": mean - reach, "high": mean + reach}).assign(
        **{name: lambda frame, name=name: frame[name] / 100.0 for name in ("score", "low", "high")}
    )


def _residuals(model: smooth.Smooth, rows: pd.DataFrame) -> pd.DataFrame:
    """Observed score minus the shared curve."""
    means, _, _ = model.at(rows["loss"].to_numpy(float))
    residual = rows["score"].to_numpy(float) - model.scale_weights @ means / 100.0
    frame = pd.DataFrame({"run": rows["run"], "loss": rows["loss"], "residual": residual})
    frame.insert(1, "params", rows.get("params", np.nan))
    return frame
