"""What the data says of one (task, metric, loss measure): onset loss, threshold, size effect, factors, predictors."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from onset.errors import OnsetError
from onset.results.base import Frame, Interval, Record, Result, estimate
from onset.results.text import decimals, interval

Verdict = Literal["emergent", "smooth", "at_chance", "inconclusive"]
EffectVerdict = Literal["equivalent", "differs", "inconclusive"]
Direction = Literal["higher", "lower"]
ChanceSource = Literal["table", "estimated", "unknown"]


class LossInterval(Record):
    """A loss with its interval, in the unit of the loss measure; both ends lie inside the losses seen."""

    loss: float
    low: float
    high: float
    low_open: bool = False
    """Whether ``low`` is the lowest loss that was fitted: the interval may go on below it."""
    high_open: bool = False
    """Whether ``high`` is the highest loss that was fitted."""

    @model_serializer(mode="wrap")
    def _without_closed_ends(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in written(self).items() if value is not False}

    @property
    def interval(self) -> Interval:
        """The same as an unnamed value with its interval."""
        return Interval(self.loss, self.low, self.high)

    @property
    def open_above(self) -> bool:
        """Whether it is the highest loss that was fitted: the true one may be higher than any that was seen."""
        return self.loss >= self.high

    @property
    def open_below(self) -> bool:
        """Whether it is the lowest loss that was fitted."""
        return self.low_open and self.loss <= self.low and not self.open_above

    @property
    def told(self) -> str:
        """``2.71 [2.70, 2.72]``, ``2.71 [2.70, 2.85 or above]`` or ``at or above 2.85 [2.80 or above]``."""
        places = decimals(self.low, self.high)
        loss, low, high = (f"{value:.{places}f}" for value in (self.loss, self.low, self.high))
        if self.open_above:
            return f"at or above {loss}" + (f" [{low} or above]" if self.low < self.loss else "")
        if self.open_below:
            return f"at or below {loss} [{high} or below]"
        low += " or below" if self.low_open else ""
        high += " or above" if self.high_open else ""
        return f"{loss} [{low}, {high}]"


class Width(Record):
    """The onset width: how far the loss falls from the onset loss to half of what the curve reaches."""

    nats: float
    """In the unit of the loss measure, which is nats per token unless ``loss_unit`` says otherwise."""
    low: float
    high: float


class LogBayesFactor(Record):
    """Natural logarithms of Bayes factors; above 0 speaks for, below 0 against."""

    ability: float | None = None
    """Any curve that exceeds chance, against chance."""
    threshold: float | None = None
    """Curves with a threshold, against smooth curves."""
    error: float | None = None
    """Monte Carlo standard error of the second."""


class Robustness(Record):
    """How a verdict stands when data are left out, and what it rests on."""

    leave_one_run_out: float | None = None
    """Least log Bayes factor for a threshold with any one run left out."""
    leave_one_checkpoint_out: float | None = None
    """The same with any one checkpoint left out."""
    decisive_run: str | None = None
    """The run without which the first is least."""
    checkpoints_above: int | None = None
    """Checkpoints at losses above the threshold."""
    checkpoints_below: int | None = None
    runs_above: int | None = None
    runs_below: int | None = None
    failed: tuple[str, ...] = ()
    """The checks that failed, one sentence each."""


class LossShift(Record):
    """An effect seen along the loss: by how much the curve moves, positive towards higher loss."""

    nats_per_decade: float
    low: float
    high: float
    margin: float | None = None


class SizeEffect(Result):
    """What ten times the parameters change at equal loss, in percentage points (pp) of the score."""

    verdict: EffectVerdict
    pp_per_decade: float | None = None
    low: float | None = None
    high: float | None = None
    margin: float = 1.0
    """Percentage points within which the effect counts as none."""
    within_family: bool = False
    """Whether families have offsets of their own, so that only models of one family are compared."""
    why: str = ""
    level: float = 0.95
    """Level of ``low`` and ``high``."""
    degrees_of_freedom: int | None = None
    """Of the t distribution of the interval: runs less what is said of runs as wholes."""
    by: str = "params"
    at: Literal["loss", "flops"] = "loss"
    """What is held equal."""
    along_loss: LossShift | None = None
    levels: Frame = None
    """One row a size: ``level, runs, rows, offset, low, high``, in pp from the common curve."""
    curve: Frame = None
    """The common curve where it was compared: ``loss, score, low, high``."""
    residuals: Frame = None
    """``run, params, loss, residual`` from the common curve, in units of the score."""

    def summary(self) -> pd.DataFrame:
        """One row: the effect with its interval, and the verdict."""
        shift = self.along_loss
        row = {
            "by": self.by, "verdict": self.verdict, "pp_per_decade": _number(self.pp_per_decade),
            "low": _number(self.low), "high": _number(self.high), "margin": self.margin,
            "within_family": self.within_family, "nats_per_decade": _number(shift.nats_per_decade if shift else None),
            "why": self.why,
        }  # fmt: skip
        return pd.DataFrame([row])

    def _estimates(self) -> list[dict[str, Any]]:
        shift = self.along_loss
        along = [] if shift is None else estimate("nats_per_decade", shift.nats_per_decade, shift.low, shift.high)
        return estimate("pp_per_decade", self.pp_per_decade, self.low, self.high) + along

    def predict(self, loss: ArrayLike) -> pd.DataFrame:
        """The common curve at losses: ``loss, score, low, high``; missing outside of those compared."""
        return _at(self.curve, loss, self.why)

    def _headline(self) -> str:
        if self.pp_per_decade is None:
            return f"SizeEffect: {self.verdict}"
        effect = interval(self.pp_per_decade, self.low, self.high, 1)
        return f"SizeEffect: {self.verdict}, {effect} pp per decade at equal {self.at}, margin {self.margin:g} pp"


class FactorEffect(Result):
    """What one factor of the table (tokens, progress, family, corpus, ...) changes at equal loss."""

    factor: str
    verdict: Literal["equivalent", "differs", "inconclusive", "not_asked"]
    unit: Literal["decade", "run", "contrast"] = "decade"
    """Of the effect: ten times as much, from a run's start to its end, or the two levels farthest apart."""
    pp: float | None = None
    low: float | None = None
    high: float | None = None
    margin: float = 1.0
    why: str = ""
    """For ``not_asked`` the reason."""
    levels: tuple[str, ...] = ()
    """For a contrast: the level with the higher scores first, that with the lower ones second."""
    confounded_with: tuple[str, ...] = ()
    """Other factors that the table cannot tell from this one."""

    def summary(self) -> pd.DataFrame:
        """One row: the effect with its interval, and the verdict."""
        row = {"factor": self.factor, "verdict": self.verdict, "pp": _number(self.pp), "low": _number(self.low),
               "high": _number(self.high), "unit": self.unit, "margin": self.margin,
               "confounded_with": ", ".join(self.confounded_with), "why": self.why}  # fmt: skip
        return pd.DataFrame([row])

    def _estimates(self) -> list[dict[str, Any]]:
        return estimate(f"{self.factor} (pp)", self.pp, self.low, self.high)

    def _headline(self) -> str:
        return f"FactorEffect: {self.factor} {self.verdict} {interval(self.pp, self.low, self.high, 1)}".rstrip()


SpikeVerdict = Literal["loss", "tokens", "between", "not_tokens", "inconclusive"]


class SpikeEffect(Record):
    """What scores did at a loss spike, where tokens and size stay while the loss jumps."""

    run: str
    tokens: float
    loss: float
    expected: float
    """Loss by the neighbouring checkpoints."""
    loss_name: str = "loss"
    verdict: SpikeVerdict
    """What scores follow; ``not_tokens`` where the loss lies too far above all others to say more."""
    ratio: float | None = None
    """Drop seen as a share of the drop that the loss predicts; None where too few tasks could drop."""
    low: float | None = None
    high: float | None = None
    level: float = 0.95
    n_tasks: int = 0
    why: str = ""
    tasks: Frame = None
    """``task, metric, seen, by_tokens, by_loss`` in units of the score; ``drop, predicted, error`` in ability."""


class Predictor(Record):
    """How well one quantity alone predicts the scores of a size that was held out."""

    r2_held_out: float | None = None
    error_pp: float | None = None
    """Mean absolute error in percentage points."""


class FamilyFinding(Record):
    """The same questions within one family."""

    n_points: int
    n_runs: int
    spearman: float | None = None
    pearson: float | None = None
    size_effect: SizeEffect | None = None


class MetricComparison(Record):
    """Whether a threshold under a discontinuous metric is confirmed by continuous metrics of the same items."""

    task: str
    loss_name: str
    verdict: Literal["model", "metric", "inconclusive"]
    sentence: str
    why: str


class TaskQuality(Record):
    """How well a task tells checkpoints apart under one metric."""

    signal_to_noise: float
    """Score at the lowest tenth of losses less that at the highest, over the noise of one score."""
    noise_pp: float
    """Standard deviation of a score about its neighbours in loss, in pp."""
    monotonicity: float | None = None
    """Rank correlation of score with training within runs, their mean."""
    proxy: str | None = None
    """Of a discontinuous metric: the continuous metric of the same items that agrees best with it."""
    proxy_agreement: float | None = None
    """Their rank correlation over checkpoints."""


class Threshold(Result):
    """What one (task, metric, loss measure) says of the onset of an ability."""

    task: str = "task"
    metric: str = "score"
    loss_name: str = "loss"
    loss_unit: str = "nats/token"
    direction: Direction = "higher"
    chance: float | None = None
    chance_source: ChanceSource = "table"
    n_points: int = 0
    n_runs: int = 0
    verdict: Verdict
    why: str
    onset: LossInterval | None = None
    """The loss at which the curve exceeds chance by delta."""
    width: Width | None = None
    threshold: LossInterval | None = None
    """Only where the verdict is ``emergent``."""
    log_bayes_factor: LogBayesFactor | None = None
    robustness: Robustness | None = None
    notes: tuple[str, ...] = ()
    """Warnings, such as scores at a few fixed levels, or chance that differs between checkpoints."""
    level: float = 0.95
    delta: float = 0.02
    curve: Frame = None
    """``loss, score, low, high`` over the losses seen; with ``new_low, new_high`` where a new run was predicted."""
    residuals: Frame = None
    """``run, params, loss, residual``: observed minus fitted, in units of the score."""
    observed: Frame = None
    """What was fitted, for drawing: ``run, params, loss, score``; an analysis has it in its ``observations``."""

    def predict(self, loss: ArrayLike, kind: Literal["mean", "new"] = "mean") -> pd.DataFrame:
        """The curve at losses: ``loss, score, low, high``; missing outside of the losses seen.

        The band is of the curve (``mean``), or of the score of a new run (``new``) where the fit has one.
        """
        curve = self.curve
        if kind == "new":
            if curve is None or "new_low" not in curve:
                raise OnsetError("this fit has no prediction band", advice="use kind='mean', or onset.forecast")
            curve = curve[["loss", "score", "new_low", "new_high"]].set_axis(["loss", "score", "low", "high"], axis=1)
        return _at(curve, loss, self.why)

    def summary(self) -> pd.DataFrame:
        """One row: verdict, onset loss, width and threshold with intervals, log Bayes factors, counts, why."""
        return pd.DataFrame([self._row()])

    def _estimates(self) -> list[dict[str, Any]]:
        made = []
        for name, found in (("onset", self.onset), ("threshold", self.threshold)):
            made += [] if found is None else estimate(name, found.loss, found.low, found.high)
        width = self.width
        return made + ([] if width is None else estimate("width", width.nats, width.low, width.high))

    def _row(self) -> dict[str, Any]:
        factor = self.log_bayes_factor or LogBayesFactor()
        return {
            "task": self.task, "metric": self.metric, "loss_name": self.loss_name, "verdict": self.verdict,
            **_three("onset", self.onset, "loss"), **_three("width", self.width, "nats"),
            **_three("threshold", self.threshold, "loss"), "log_bf_ability": _number(factor.ability),
            "log_bf_threshold": _number(factor.threshold), "n_points": self.n_points, "n_runs": self.n_runs,
            "why": self.why,
        }  # fmt: skip

    def _headline(self) -> str:
        parts = [f"{type(self).__name__} of {self.task} ({self.metric}) on {self.loss_name}: {self.verdict}"]
        if self.onset is not None:
            parts.append(f"onset loss {self.onset.told}")
        if self.threshold is not None:
            parts.append(f"threshold {self.threshold.told}")
        return ", ".join(parts)


class Finding(Threshold):
    """What the data says of one (task, metric, loss measure), as it stands in findings.json."""

    n_examples: int | None = None
    """Questions that a checkpoint's score is the mean of, the least of all checkpoints; None where not known."""
    asked: str = ""
    """What befell the questions, in words: ``asked 0-shot instead of 8-shot``; empty where nothing did."""
    spearman: float | None = None
    """Rank correlation of score with loss."""
    pearson: float | None = None
    size_effect: SizeEffect | None = None
    """None with fewer than two sizes, and where no ability is shown."""
    size_at_equal_compute: SizeEffect | None = None
    predictors: dict[str, Predictor] = Field(default_factory=dict)
    """For loss, flops, params and tokens."""
    factors: tuple[FactorEffect, ...] = ()
    families: dict[str, FamilyFinding] = Field(default_factory=dict)
    quality: TaskQuality | None = None
    """None with fewer than six scores."""

    def _estimates(self) -> list[dict[str, Any]]:
        rows = super()._estimates()
        rows += [] if self.size_effect is None else self.size_effect._estimates()
        for one in self.factors:
            rows += estimate(f"{one.factor} (pp)", one.pp, one.low, one.high)
        return [{"task": self.task, "metric": self.metric, "loss_name": self.loss_name, **row} for row in rows]

    @property
    def key(self) -> tuple[str, str, str]:
        """Task, metric and loss name: unique within an analysis."""
        return self.task, self.metric, self.loss_name

    def factor(self, name: str) -> FactorEffect | None:
        """The effect of one factor by its name; None where the table does not have it."""
        return next((one for one in self.factors if one.factor == name), None)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _three(name: str, found: LossInterval | Width | None, field: str) -> dict[str, float]:
    values = [getattr(found, part, None) for part in (field, "low", "high")]
    return dict(zip((name, f"{name}_low", f"{name}_high"), map(_number, values), strict=True))


def _at(curve: pd.DataFrame | None, loss: ArrayLike, why: str) -> pd.DataFrame:
    """A curve at losses, by straight lines between its points; missing outside of them."""
    if curve is None or curve.empty:
        raise OnsetError("nothing was fitted, so nothing can be predicted", advice=why)
    at = np.atleast_1d(np.asarray(loss, dtype=float))
    known = curve.sort_values("loss")
    found = {
        name: np.interp(at, known["loss"], known[name], left=np.nan, right=np.nan) for name in ("score", "low", "high")
    }
    return pd.DataFrame({"loss": at, **found})
