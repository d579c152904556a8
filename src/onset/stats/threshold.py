"""Onset loss, onset width, threshold and verdict of one (task, metric, loss measure).

The model is fitted in ``curve_model``, the estimands are in ``estimands``, the verdict in ``decision``; here they are
put together as a result. docs/statistics.md states the model and its error rates.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
import pandas as pd

from onset.errors import OnsetError
from onset.metrics import info as metrics
from onset.results import (
    LogBayesFactor,
    LossInterval,
    Robustness,
    Threshold,
    Width,
    check_level,
)
from onset.stats.chance_level import label_bias_note, runs_above_chance
from onset.stats.curve import estimands, robustness
from onset.stats.curve.decision import ABILITY, Decision, Evidence, decide
from onset.stats.curve.drawn import DrawnCurve
from onset.stats.curve.estimands import Draws, Quantiles, quantiles
from onset.stats.curve.model import CurveModel, fit_curve_model
from onset.stats.curve.run_curves import unequal_runs
from onset.stats.data import Bools, CurveData, curve_data
from onset.stats.noise import item_variance

FEWEST = 5
"""Observations without which nothing is said."""


def threshold(obs: pd.DataFrame, *, level: float = 0.95, delta: float = 0.02, seed: int = 0) -> Threshold:
    """Onset loss, onset width, threshold and verdict from observations of one task, metric and loss measure.

    ``obs`` has one row a checkpoint: ``run, loss, score`` and, where known, ``chance, n_examples, stderr, direction,
    family, params, tokens``. ``level`` is that of all intervals, ``delta`` the excess over chance of the onset loss, as
    a share of one (of the range seen for scores without bounds). Raises OnsetError for rows of several tasks, metrics
    or loss measures, for missing columns, and for a level or a delta that is none.
    """
    check_level(level)
    if not 0 < delta < 0.5:
        raise OnsetError(f"delta {delta} is no excess over chance", where="delta", advice="use a share such as 0.02")
    data = curve_data(obs)
    few = _too_few(data)
    if few:
        return _result(data, level, delta, Decision("inconclusive", few))
    if np.ptp(data.score) == 0:
        return _constant(data, level, delta)
    model = fit_curve_model(data, seed)
    draws = estimands.draws_of(model.comparison, model.rows, seed)
    found = _Found(model, draws, level, delta, seed)
    evidence = found.evidence()
    return found.result(evidence, decide(evidence))


class _Found:
    """The estimands of a fitted model, and the evidence for the verdict."""

    def __init__(self, model: CurveModel, draws: Draws, level: float, delta: float, seed: int) -> None:
        self.model, self.draws, self.level, self.delta, self.seed = model, draws, level, delta, seed
        self.data = model.data
        self.seen = (float(self.data.loss.min()), float(self.data.loss.max()))
        self.runs = len(self.data.runs)
        self.ability = delta_as_ability(self.data, delta)
        self.shown = model.comparison.log_bf_ability >= ABILITY
        onset = draws.onset(self.ability)
        self.exceeds = float(np.isfinite(onset).mean())
        self.unequal = unequal_runs(model, self.ability, seed, level) if self.shown else None
        self.onset = self._joint(quantiles(onset, level, self.seen, self.runs)) if self._onset_is_told() else None
        self.eta = self._eta()

    def _onset_is_told(self) -> bool:
        return self.shown and self.exceeds >= 0.5 + self.level / 2

    def _joint(self, pooled: Quantiles) -> Quantiles:
        """The interval over all rows, or over runs where they set in at different losses."""
        return pooled if self.unequal is None else self._within(self.unequal.onset)

    def _within(self, found: tuple[float, float, float]) -> Quantiles:
        value, low, high = np.clip(found, *self.seen)
        return Quantiles(float(value), float(low), float(high))

    def _eta(self) -> Quantiles | None:
        if not self.shown:
            return None
        if self.unequal is not None:
            return self._within(self.unequal.threshold)
        own = estimands.draws_of(self.model.comparison, self.model.rows, self.seed, side=True)
        return quantiles(own.threshold, self.level, self.seen, self.runs)

    @property
    def log_bf_threshold(self) -> float:
        """Of the common curve; where runs have curves of their own, the nearer to 0 of theirs and that."""
        common = self.model.comparison.log_bf_threshold
        if self.unequal is None:
            return common
        # Runs share the task and its items: their Bayes factors do not add up, and where the two ways of reading the
        # table disagree nothing is decided.
        by_run = self.unequal.log_bf_threshold
        return min(common, by_run, key=abs) if common * by_run > 0 else 0.0

    @cached_property
    def width(self) -> Quantiles | None:
        """The onset width, in the unit of the loss; None where no onset loss is told."""
        if self.onset is None:
            return None
        fallen = np.maximum(self.draws.onset(self.ability) - self.draws.half(), 0.0)
        return quantiles(fallen, self.level, (0.0, self.seen[1] - self.seen[0]), self.runs)

    def evidence(self) -> Evidence:
        """What the verdict is decided from."""
        model, data, window, eta = self.model, self.data, self.model.window, self.eta
        comparison = model.comparison
        reached = float(np.quantile(self.draws.excess[0], 0.5 + self.level / 2))
        floor = window.floor != 0.0 and data.chance.value is not None
        end = _upper_end(window.data)
        base = Evidence(
            chance=data.chance.value, unit=data.loss_unit, log_bf_ability=comparison.log_bf_ability,
            log_bf_threshold=self.log_bf_threshold, upper_bound=reached / window.room,
            upper_score=float(data.to_score(np.array(max(reached, 0.0)))),
            end_bound=end / window.room, end_score=float(data.to_score(np.array(end))),
            floor=float(data.to_score(np.array(window.floor))) if floor else None,
            below_chance=window.floor < 0 if floor else _below_chance(data, eta), from_the_start=self._from_the_start(),
            reaches=float((self.draws.excess[0] > 0).mean()) >= 0.5 + self.level / 2,
            beyond_errors=window.beyond_errors, onset=_tuple(self.onset), threshold=_tuple(eta),
            width=self.width.value if self.width else None,
            rise_span=window.span, losses=self.seen, n_runs=len(data.runs),
            onset_by_run=tuple(self.unequal.by_run.items()) if self.unequal else (),
            runs_above_chance=() if self.shown else runs_above_chance(model),
        )  # fmt: skip
        if eta is None:
            return base
        return self._with_sides(base, eta)

    def _with_sides(self, base: Evidence, eta: Quantiles) -> Evidence:
        model, data, window = self.model, self.data, self.model.window
        above = data.loss > eta.value
        errors = robustness.errors_from_chance(model)
        low = window.data.loss < eta.value
        rest = low.copy()
        if rest.any():
            rest[int(np.argmax(np.where(low, errors, -np.inf)))] = False
        by_run = [robustness.together(model, errors, low & (window.data.run == run))
                  for run in range(len(window.data.runs))]  # fmt: skip
        left = self._left_out() if base.log_bf_threshold > 0 else robustness.LeftOut(None, "", None)
        return replace(
            base, checkpoints=(int(above.sum()), int((~above).sum())),
            runs=(len(set(data.run[above].tolist())), len(set(data.run[~above].tolist()))),
            level_errors=_errors_of_mean(window.data, window.data.loss > eta.value),
            clear_of_chance=robustness.together(model, errors, rest), clear_runs=sum(one > 2.0 for one in by_run),
            without_run=left.run, decisive_run=left.decisive_run, without_checkpoint=left.checkpoint,
        )  # fmt: skip

    def _left_out(self) -> robustness.LeftOut:
        if self.unequal is None:
            return robustness.leave_out(self.model)
        ability = self.model.comparison.log_bf_ability
        return robustness.LeftOut((ability, self.unequal.without_run), "", None)

    def _above(self) -> float | None:
        """The loss above which no ability is seen, where one is shown."""
        known = [found.value for found in (self.eta, self.onset) if found is not None]
        return max(known, default=None)

    def _from_the_start(self) -> bool:
        """Whether nearly all draws exceed chance by delta at the highest losses seen."""
        return self.shown and float((self.draws.excess[-1] >= self.ability).mean()) >= 0.5 + self.level / 2

    def result(self, evidence: Evidence, decision: Decision) -> Threshold:
        """All of it as a result."""
        verdict, comparison = decision.verdict, self.model.comparison
        side = {"emergent": True, "smooth": False}.get(verdict)
        draws = self.draws if side is None or not self.draws.side(side).count else self.draws.side(side)
        still = verdict == "at_chance" and not self.model.window.free_floor
        drawn = DrawnCurve(self.model, draws, self.level, still=still)
        width = self.width
        notes = [*label_bias_note(self.data, self._above()), *_chance_note(self.data)]
        if self.unequal is not None:
            told = ", ".join(f"{name} {loss:.3g}" for name, loss in self.unequal.by_run.items())
            notes.append(f"Runs set in at losses that differ by more than their errors ({told}).")
        if abs(evidence.beyond_errors) > 3:
            notes.append(
                f"{self.model.window.beyond} checkpoints far above the onset lie "
                f"{'above' if evidence.beyond_errors > 0 else 'below'} chance by more than their error."
            )
        return _result(
            self.data, self.level, self.delta, decision,
            onset=_loss(self.onset, self.seen), threshold=_loss(self.eta, self.seen) if verdict == "emergent" else None,
            width=None if width is None else Width(nats=width.value, low=width.low, high=width.high),
            log_bayes_factor=LogBayesFactor(
                ability=comparison.log_bf_ability, threshold=self.log_bf_threshold if self.shown else None,
                error=comparison.error if self.shown else None,
            ),
            robustness=_robustness(evidence, decision) if self.shown else None, notes=tuple(notes),
            curve=drawn.frame(), residuals=drawn.residuals(),
        )  # fmt: skip


def delta_as_ability(data: CurveData, delta: float) -> float:
    """``delta`` in units of ability: points of a share (also in percent), units of another bounded metric."""
    share = metrics.is_share(data.metric) or data.scale in (1.0, 100.0) or not data.bounded
    return delta if share else delta / data.scale


def _below_chance(data: CurveData, eta: Quantiles | None) -> bool:
    """Whether the rows above the threshold (all, without one) score below chance by more than their own error."""
    ability = data.ability[data.loss > (eta.value if eta else -np.inf)]
    if len(ability) < 3:
        return False
    return bool(ability.mean() < -2.0 * ability.std(ddof=1) / np.sqrt(len(ability)) - 1e-9)


def _mean(data: CurveData, chosen: Bools) -> tuple[float, float]:
    """Mean ability of the chosen scores and its standard error; all models answer the same items."""
    ability, items = data.ability[chosen], item_variance(data)[0][chosen]
    error = np.hypot(ability.std(ddof=1) / np.sqrt(len(ability)), np.sqrt(np.median(items)))
    return float(ability.mean()), float(error)


def _errors_of_mean(data: CurveData, chosen: Bools) -> float:
    """Standard errors from chance of the mean of the chosen scores; 0 with fewer than three."""
    mean, error = _mean(data, chosen) if chosen.sum() >= 3 else (0.0, 1.0)
    return mean / error


def _upper_end(data: CurveData) -> float:
    """Two standard errors above the mean ability of the scores at the lowest losses: five, or a tenth of all."""
    last = np.sort(data.loss)[min(len(data), max(FEWEST, len(data) // 10)) - 1]
    mean, error = _mean(data, data.loss <= last)
    return max(mean + 2.0 * error, 0.0)


def _too_few(data: CurveData) -> str | None:
    if len(data) < FEWEST:
        return f"There are only {len(data)} scores with a loss; {FEWEST} or more would tell."
    if np.ptp(data.loss) < 1e-6 * max(1e-12, abs(float(data.loss.max()))):
        return "All scores are at one loss; checkpoints at other losses would tell."
    return None


def _constant(data: CurveData, level: float, delta: float) -> Threshold:
    """The result for a score that is the same everywhere."""
    score, chance = float(data.score[0]), data.chance.value
    if chance is not None and np.isclose(score, chance):
        why = f"All scores are {score:.3g}, which is chance."
        return _result(data, level, delta, Decision("at_chance", why))
    said = "and whether it is chance is unknown" if chance is None else f"where chance is {chance:.3g}"
    why = f"All scores are {score:.4g}, {said}: a score that does not change says nothing of the loss."
    return _result(data, level, delta, Decision("inconclusive", why))


def _result(data: CurveData, level: float, delta: float, decision: Decision, **more: object) -> Threshold:
    source = {"known": "table", "constant_answer": "table"}.get(data.chance.source, data.chance.source)
    return Threshold.model_validate(
        {
            "task": data.task, "metric": data.metric, "loss_name": data.loss_name, "loss_unit": data.loss_unit,
            "direction": data.direction, "chance": data.chance.value, "chance_source": source, "n_points": len(data),
            "n_runs": len(data.runs), "verdict": decision.verdict, "why": decision.why, "level": level, "delta": delta,
            **more,
        }
    )  # fmt: skip


def _robustness(evidence: Evidence, decision: Decision) -> Robustness:
    return Robustness(
        leave_one_run_out=evidence.without_run[1] if evidence.without_run else None,
        leave_one_checkpoint_out=evidence.without_checkpoint[1] if evidence.without_checkpoint else None,
        decisive_run=evidence.decisive_run or None, checkpoints_above=evidence.checkpoints[0],
        checkpoints_below=evidence.checkpoints[1], runs_above=evidence.runs[0], runs_below=evidence.runs[1],
        failed=decision.failed,
    )  # fmt: skip


def _chance_note(data: CurveData) -> list[str]:
    if data.chance.spread <= 1e-6 * data.scale:
        return []
    return [f"Chance differs between checkpoints by {data.chance.spread:.2g}; its mean is used."]


def _tuple(found: Quantiles | None) -> tuple[float, float, float] | None:
    return None if found is None else (found.value, found.low, found.high)


def _loss(found: Quantiles | None, seen: tuple[float, float]) -> LossInterval | None:
    if found is None:
        return None
    ends = {"low_open": found.low <= seen[0], "high_open": found.high >= seen[1]}
    return LossInterval(loss=found.value, low=found.low, high=found.high, **ends)
