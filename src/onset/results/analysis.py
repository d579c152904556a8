"""All findings of one table, with what is said of the table as a whole."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import pandas as pd
from pydantic import Field

from onset.errors import OnsetError, did_you_mean
from onset.metrics import info as metrics
from onset.results.base import Frame, Record, Result
from onset.results.findings import Finding, LossInterval, MetricComparison, SpikeEffect
from onset.results.stages import Foretelling, StageEffect
from onset.results.text import interval, latex

VERSION: Literal[2] = 2
"""Of findings.json."""


class FactorSummary(Record):
    """One factor over the tasks of a table: how many scores it changes at equal loss."""

    factor: str
    loss_name: str
    differs: int
    equivalent: int
    inconclusive: int
    median_pp: float | None = None
    """Median absolute effect."""
    has_effect: bool = False
    """Whether more scores differ than are equivalent."""
    why: str = ""


class LossName(Record):
    """A loss measure: its name and its unit."""

    loss_name: str
    loss_unit: str


class Difference(Record):
    """How much better the best loss measure predicts, with an interval that holds for all at once."""

    value: float
    low: float
    high: float
    sample: str = ""
    """What was resampled: families, sizes or runs."""
    wins: int | None = None
    """Families (or sizes) that the best predicts better."""


class LossMeasure(Record):
    """How well the scores are predicted from one loss measure when a family (or a size) is held out."""

    loss_name: str
    loss_unit: str
    n_scores: int
    r2_held_out_family: float | None = None
    r2_held_out_size: float | None = None
    error_pp: float | None = None
    chosen: bool = False
    best: bool = False
    behind: Difference | None = None
    held_out: dict[str, float] = Field(default_factory=dict)
    """R² of each family (or size) when it was held out."""
    by_task: dict[str, float] = Field(default_factory=dict)


class FamilyOffset(Record):
    """How far a family lies from the common curve on the best loss measure, in percentage points."""

    family: str
    pp: float
    low: float
    high: float
    n_tasks: int
    off_curve: bool
    why: str = ""


class LossChoice(Record):
    """Which loss measure the findings use, and why."""

    chosen: LossName
    best: LossName
    default: LossName
    held_out: str
    """What was held out: family or size."""
    not_distinguished: tuple[LossName, ...] = ()
    """Loss measures that the data cannot tell from the best."""
    too_few_checkpoints: tuple[str, ...] = ()
    families: tuple[FamilyOffset, ...] = ()
    why: str = ""


class ConvertedThreshold(Record):
    """A threshold on another loss measure, within one family."""

    task: str
    metric: str
    family: str
    loss_name: str
    loss_unit: str
    loss: float
    low: float
    high: float
    n_runs: int


class Claim(Record):
    """One claim of Du et al. 2024 and what the table says of it."""

    number: int
    statement: str
    verdict: Literal["holds", "fails", "inconclusive"]
    why: str


_TABLES = ("metric_comparisons", "factor_summary", "loss_measures", "converted", "claims", "spikes",
           "stage_effects", "foretelling")  # fmt: skip


class Analysis(Result):
    """All findings of one table of observations."""

    version: Literal[2] = VERSION
    source: str = ""
    level: float = 0.95
    delta: float = 0.02
    """Excess over chance, in units of the score, at which the onset loss is read."""
    margin: float = 1.0
    """Percentage points within which a size effect counts as none."""
    loss_margin: float | None = None
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    metric_comparisons: tuple[MetricComparison, ...] = ()
    factor_summary: tuple[FactorSummary, ...] = ()
    loss_measures: tuple[LossMeasure, ...] = ()
    """Best first; empty where there is one."""
    loss_choice: LossChoice | None = None
    converted: tuple[ConvertedThreshold, ...] = ()
    claims: tuple[Claim, ...] = ()
    spikes: tuple[SpikeEffect, ...] = ()
    """Loss spikes of the table's runs, and whether scores follow the loss or the tokens there."""
    stage_effects: tuple[StageEffect, ...] = ()
    """Where some checkpoints are tuned: what tuning changes, while the findings are of those that are not."""
    foretelling: tuple[Foretelling, ...] = ()
    """Whether tuned scores foretell where the others set in."""
    observations: pd.DataFrame = Field(default_factory=pd.DataFrame, exclude=True, repr=False)
    """The rows that the findings are about."""
    placed: Frame = None
    """Where loss measures were compared: the scores on each of them, for drawing."""

    def __getitem__(self, key: str | tuple[str, ...]) -> Finding:
        """The finding of a task (under its headline metric), of (task, metric) or of (task, metric, loss name)."""
        names = (key,) if isinstance(key, str) else key
        found = list(self.findings)
        for field, wanted in zip(("task", "metric", "loss_name"), names, strict=False):
            known = sorted({str(getattr(one, field)) for one in found})
            found = [one for one in found if getattr(one, field) == wanted]
            if not found:
                raise OnsetError(f"there is no finding with {field} '{wanted}'", advice=did_you_mean(wanted, known))
        if len(names) == 1:
            headline = metrics.headline(sorted({one.metric for one in found}))
            found = [one for one in found if one.metric == headline]
        if len(found) > 1:
            losses = ", ".join(one.loss_name for one in found)
            raise OnsetError(
                f"task '{names[0]}' has findings on several loss measures: {losses}",
                advice=f"analysis['{names[0]}', '{found[0].metric}', '{found[0].loss_name}']",
            )
        return found[0]

    def headlines(self, loss_name: str | None = None) -> list[Finding]:
        """One finding a task, under its headline metric, on one loss measure (by default that of the first finding)."""
        name = loss_name or (self.findings[0].loss_name if self.findings else "")
        by_task: dict[str, dict[str, Finding]] = {}
        for finding in self.findings:
            if finding.loss_name == name:
                by_task.setdefault(finding.task, {})[finding.metric] = finding
        return [of_task[metrics.headline(of_task)] for of_task in by_task.values()]

    def summary(self) -> pd.DataFrame:
        """One row a finding; the loss measure is named where there are two or more."""
        frame = pd.DataFrame([_row(finding) for finding in self.findings])
        several = frame.empty or frame["loss_name"].nunique() > 1
        return frame if several else frame.drop(columns="loss_name")

    def _estimates(self) -> list[dict[str, Any]]:
        return [row for finding in self.findings for row in finding._estimates()]

    def to_frame(self, kind: str = "summary") -> pd.DataFrame:
        """A frame by name.

        ``summary``, ``observations``, ``curve``, ``residuals``, ``predictors``, ``factors``, ``families``,
        ``quality``, ``metric_comparisons``, ``factor_summary``, ``loss_measures``, ``converted``, ``claims``,
        ``spikes``, ``stage_effects`` or ``foretelling``.
        """
        return super().to_frame(kind)

    def _frames(self) -> dict[str, pd.DataFrame]:
        made = {name: pd.DataFrame([one.to_json() for one in getattr(self, name)]) for name in _TABLES}
        for name in ("curve", "residuals"):
            parts = [(one, frame) for one in self.findings if (frame := getattr(one, name)) is not None]
            made[name] = _stacked(parts)
        predictors = [
            (one, pd.DataFrame([{"predictor": name, **value.to_json()} for name, value in one.predictors.items()]))
            for one in self.findings
        ]
        factors = [(one, pd.concat([each.summary() for each in one.factors])) for one in self.findings if one.factors]
        families = [
            (one, pd.DataFrame([{"family": name, **_family(value.to_json())} for name, value in one.families.items()]))
            for one in self.findings
        ]
        quality = [(one, pd.DataFrame([one.quality.to_json()])) for one in self.findings if one.quality is not None]
        made |= {"quality": _stacked(quality)}
        made |= {"predictors": _stacked(predictors), "factors": _stacked(factors), "families": _stacked(families)}
        return super()._frames() | made

    def to_latex(self) -> str:
        """The findings as a LaTeX table (booktabs): one row a task and metric, intervals in brackets."""
        frame = pd.DataFrame(
            [
                {
                    "task": one.task, "metric": one.metric, "loss": one.loss_name, "verdict": one.verdict,
                    "onset loss": _interval(one.onset), "threshold": _interval(one.threshold),
                    "size effect (pp per decade)": "" if one.size_effect is None else interval(
                        one.size_effect.pp_per_decade, one.size_effect.low, one.size_effect.high, 1
                    ),
                }
                for one in self.findings
            ]
        )  # fmt: skip
        if not frame.empty and frame["loss"].nunique() == 1:
            frame = frame.drop(columns="loss")
        caption = f"Onset losses, thresholds and size effects at equal loss, with {100 * self.level:g}% intervals."
        return latex(frame, caption)

    def _headline(self) -> str:
        counts = Counter(finding.verdict for finding in self.findings)
        told = ", ".join(f"{count} {verdict.replace('_', ' ')}" for verdict, count in sorted(counts.items()))
        tasks = len({finding.task for finding in self.findings})
        source = f" of {self.source}" if self.source else ""
        return f"Analysis{source}: {len(self.findings)} findings on {tasks} tasks" + (f" ({told})" if told else "")


def _row(finding: Finding) -> dict[str, Any]:
    size = finding.size_effect
    row = finding._row()
    for name in ("log_bf_ability", "log_bf_threshold", "n_points", "n_runs", "why"):
        del row[name]
    return {
        **row,
        "size_effect": None if size is None else size.verdict,
        "pp_per_decade": float("nan") if size is None or size.pp_per_decade is None else size.pp_per_decade,
        "why": finding.why,
    }


def _interval(found: LossInterval | None) -> str:
    return "" if found is None else found.told


def _family(values: dict[str, Any]) -> dict[str, Any]:
    """A family's entry as one flat row."""
    size = values.pop("size_effect") or {}
    return {**values, **{f"size_{name}": size.get(name) for name in ("verdict", "pp_per_decade", "low", "high")}}


def _stacked(parts: list[tuple[Finding, pd.DataFrame]]) -> pd.DataFrame:
    """Frames of findings below each other, each row behind its task, metric and loss name."""
    named = [
        frame.assign(task=one.task, metric=one.metric, loss_name=one.loss_name) for one, frame in parts if len(frame)
    ]
    if not named:
        return pd.DataFrame(columns=["task", "metric", "loss_name"])
    stacked = pd.concat(named, ignore_index=True)
    keys = ["task", "metric", "loss_name"]
    return stacked[[*keys, *(name for name in stacked if name not in keys)]]
