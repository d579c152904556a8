"""Finding: what the data says of one (task, metric, loss), as it stands in findings.json."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from onset.stats.result import Interval, Result

FINDINGS_VERSION = 1

Verdict = Literal["emergent", "smooth", "at_chance", "unresolved"]
CollapseVerdict = Literal["collapses", "size_matters", "unresolved"]


@dataclass(frozen=True)
class SizeEffect:
    """Points of score that ten times the parameters move at equal loss (1 point = 0.01 of the score)."""

    verdict: CollapseVerdict
    points_per_decade: float
    low: float
    high: float
    margin: float
    why: str = ""
    shift: Interval | None = None
    """The same seen along the loss: nats that the curve moves per decade; None where points alone were asked."""
    loss_margin: float | None = None
    """Nats per decade within which one curve is one, beside the margin in points."""


@dataclass(frozen=True)
class Finding:
    """What the data says of one (task, metric, loss)."""

    task: str
    metric: str
    loss_name: str
    direction: Literal["higher", "lower"]
    chance: float | None
    n_points: int
    n_runs: int
    spearman: float | None
    pearson: float | None
    verdict: Verdict
    why: str
    threshold: Interval | None = None
    collapse: SizeEffect | None = None
    predictors: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    """For loss, flops, params and tokens: ``r2_left_out`` and ``error_points``."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further JSON values of the finding (p-values, the verdict over metrics, other effects)."""
    curve: pd.DataFrame | None = None
    """The fitted law for drawing: columns ``loss, score, low, high``; None where nothing was fitted."""
    residuals: pd.DataFrame | None = None
    """Observed minus fitted: columns ``run, params, loss, residual`` (in units of the score)."""

    def to_json(self) -> dict[str, Any]:
        """The finding as in findings.json; values that are not finite become null."""
        threshold = self.threshold
        collapse = self.collapse
        value: dict[str, Any] = _finite(
            {
                "task": self.task, "metric": self.metric, "loss_name": self.loss_name,
                "direction": self.direction, "chance": self.chance,
                "n_points": self.n_points, "n_runs": self.n_runs,
                "spearman": self.spearman, "pearson": self.pearson,
                "verdict": self.verdict, "why": self.why,
                "threshold": threshold
                and {"loss": threshold.value, "low": threshold.low, "high": threshold.high},
                "collapse": collapse
                and {
                    "verdict": collapse.verdict, "points_per_decade": collapse.points_per_decade,
                    "low": collapse.low, "high": collapse.high, "margin": collapse.margin, "why": collapse.why,
                    "along_loss": collapse.shift
                    and {
                        "nats_per_decade": collapse.shift.value, "low": collapse.shift.low,
                        "high": collapse.shift.high, "margin": collapse.loss_margin,
                    },
                },
                "predictors": {name: dict(values) for name, values in self.predictors.items()},
                **self.extra,
            }
        )  # fmt: skip
        return value


@dataclass(frozen=True)
class Analysis(Result):
    """All findings of one table."""

    source: str
    findings: tuple[Finding, ...]
    observations: pd.DataFrame
    """The rows that the findings are about (one loss axis)."""
    level: float = 0.95
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further JSON values of the whole table, such as verdicts over metrics per task."""
    placed: pd.DataFrame | None = None
    """Where axes were compared: the scores that count on every axis, for drawing; not in findings.json."""

    def to_json(self) -> dict[str, Any]:
        """The content of findings.json."""
        return {
            "version": FINDINGS_VERSION,
            "source": self.source,
            "level": self.level,
            "findings": [finding.to_json() for finding in self.findings],
            **_finite(dict(self.extra)),
        }

    def summary(self) -> pd.DataFrame:
        """One row a finding: task, metric, verdict, threshold with interval, collapse."""
        return summary_of([finding.to_json() for finding in self.findings])


def summary_of(findings: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """``Analysis.summary`` of findings as they stand in findings.json."""
    return pd.DataFrame([_summary_row(finding) for finding in findings])


def _summary_row(finding: Mapping[str, Any]) -> dict[str, Any]:
    threshold, collapse = finding["threshold"] or {}, finding["collapse"] or {}
    return {
        "task": finding["task"],
        "metric": finding["metric"],
        "verdict": finding["verdict"],
        "threshold": threshold.get("loss", math.nan),
        "low": threshold.get("low", math.nan),
        "high": threshold.get("high", math.nan),
        "collapse": collapse.get("verdict"),
        "points_per_decade": collapse.get("points_per_decade", math.nan),
        "nats_per_decade": (collapse.get("along_loss") or {}).get("nats_per_decade", math.nan),
        "why": finding["why"],
    }


def _finite(value: Any) -> Any:
    """The same JSON value with NaN and infinities as null: JSON has no words for them."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(inner) for inner in value]
    return value
