"""Analyse a table: every (task, metric, loss) of it, from threshold to predictors, as findings.

Thresholds are fitted first, one by one, then settled together, so that a table of many tasks does not claim more
than its share of false ones. The rest (size and other effects, predictors, families) follows the settled verdicts.
Results do not depend on how many processes share the work.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

import pandas as pd

from onset.errors import OnsetError
from onset.stats import factors
from onset.stats.findings import Analysis, Finding
from onset.stats.metric_comparison import turn
from onset.stats.parallel import Workers, cores
from onset.stats.predictors import predictors
from onset.stats.size_effect import MARGIN, CollapseFit, collapse
from onset.stats.threshold import ThresholdFit, settle, threshold
from onset.store.parts import write_text
from onset.tables.losses import NATS
from onset.tables.observations import check

ABILITY = ["task", "metric", "loss_name"]
WORTH_A_PROCESS = 6
"""With fewer groups than this, starting processes costs more than it saves."""


class Settings(TypedDict):
    """What every group is analysed with."""

    level: float
    margin: float
    loss_margin: float | None


def analyze(
    obs: pd.DataFrame,
    *,
    source: str = "",
    level: float = 0.95,
    margin: float = MARGIN,
    loss_margin: float | None = None,
    seed: int = 0,
    jobs: int | None = None,
) -> Analysis:
    """Findings on every (task, metric, loss) of a table of observations.

    ``level`` is that of all intervals, ``margin`` the points (0.01 of a score) within which a size effect counts as
    none, ``loss_margin`` the same along the loss (nats a decade, where it is in nats; by default points alone count),
    ``jobs`` the number of processes (by default one a core). Raises OnsetError for a table that contradicts itself
    (see ``observations.check``).
    """
    if not 0.5 < level < 1:
        raise OnsetError(
            f"level {level} is no confidence level", advice="give a number between 0.5 and 1, such as 0.95"
        )
    obs = check(obs)
    rows = factors.spread_out(_with_flops(obs))
    groups = [group.reset_index(drop=True) for _, group in rows.groupby(ABILITY, sort=True)]
    settings = Settings(level=level, margin=margin, loss_margin=loss_margin)
    with Workers(_processes(jobs, len(groups))) as workers:
        fits = settle(workers.map(partial(_threshold, level=level, seed=seed), groups))
        findings = workers.map(partial(_finding, settings=settings), list(zip(groups, fits, strict=True)))
    findings, turns = _turns(findings)
    extra = {
        "notes": obs.attrs.get("notes", []),
        "margin": margin,
        "loss_margin": loss_margin,
        "turns": turns,
        "link": factors.link(findings),
    }
    return Analysis(source=source, findings=tuple(findings), observations=obs, level=level, extra=extra)


def write(analysis: Analysis, out: str | Path) -> Path:
    """Write findings.json into ``out``, complete or not at all; the same analysis gives the same bytes."""
    path = Path(out) / "findings.json"
    text = json.dumps(analysis.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")
    return path


def _processes(jobs: int | None, groups: int) -> int:
    if jobs is not None:
        return min(jobs, groups)
    return min(cores(), groups) if groups >= WORTH_A_PROCESS else 1


def _with_flops(obs: pd.DataFrame) -> pd.DataFrame:
    """FLOPs where the table has none: 6 a parameter and token (Kaplan et al. 2020)."""
    return obs.assign(flops=obs.flops.fillna(6.0 * obs.params * obs.tokens))


def _threshold(rows: pd.DataFrame, level: float, seed: int) -> ThresholdFit:
    """The fit without its drawn laws: a finding keeps the curve, and the laws are much to carry."""
    return replace(threshold(rows, level=level, seed=seed), laws=None)


def _finding(pair: tuple[pd.DataFrame, ThresholdFit], settings: Settings) -> Finding:
    """The finding of one group, from its settled threshold."""
    rows, fit = pair
    first = rows.iloc[0]
    spearman, pearson = correlations(rows)
    present = fit.verdict in ("emergent", "smooth")
    effects = _effects(rows, fit, settings) if present else {}
    size = effects.get("params")
    extra: dict[str, Any] = {"loss_unit": str(first.loss_unit), "p_value": fit.p_value}
    extra["effects"] = {name: _effect_json(effect) for name, effect in effects.items()}
    if size:  # the same question at equal compute: is it the loss that makes one curve of all sizes?
        at_compute = collapse(
            rows, threshold=fit.threshold, margin=settings["margin"], level=settings["level"], at="flops"
        )
        extra["size_at_equal_compute"] = _effect_json(at_compute)
    if rows.family.nunique() > 1:
        extra["families"] = _families(rows, fit, settings)
    return Finding(
        task=str(first.task), metric=str(first.metric), loss_name=str(first.loss_name),
        direction=fit.direction, chance=fit.chance, n_points=len(rows), n_runs=rows.run.nunique(),
        spearman=spearman, pearson=pearson, verdict=fit.verdict, why=fit.why, threshold=fit.threshold,
        collapse=size.effect if size else None, predictors=predictors(rows), extra=extra,
        curve=fit.curve, residuals=fit.residuals,
    )  # fmt: skip


def correlations(rows: pd.DataFrame) -> tuple[float | None, float | None]:
    """Spearman and Pearson correlation of score with loss; None where either does not vary or there are under 3."""
    if len(rows) < 3 or rows.loss.nunique() < 2 or rows.score.nunique() < 2:
        return None, None
    return float(rows.loss.rank().corr(rows.score.rank())), float(rows.loss.corr(rows.score))


def _effects(rows: pd.DataFrame, fit: ThresholdFit, settings: Settings) -> dict[str, CollapseFit]:
    """What each factor moves at equal loss, where the ability is there."""
    return {name: _moved(rows, name, fit, settings) for name in factors.of_group(rows)}


def _moved(rows: pd.DataFrame, by: str, fit: ThresholdFit, settings: Settings) -> CollapseFit:
    in_nats = bool((rows.loss_unit == NATS).all())  # the margin along the loss says nothing in another unit
    along = settings["loss_margin"] if in_nats else None
    return collapse(
        rows, by=by, threshold=fit.threshold, margin=settings["margin"], loss_margin=along, level=settings["level"]
    )


def _effect_json(effect: CollapseFit) -> dict[str, Any]:
    points = effect.points
    return {
        "verdict": effect.verdict,
        "points": points and points.value, "low": points and points.low, "high": points and points.high,
        "p_value": effect.p_value, "why": effect.why,
    }  # fmt: skip


def _families(rows: pd.DataFrame, fit: ThresholdFit, settings: Settings) -> dict[str, Any]:
    """The same question within each family: how closely loss and score go together, and whether size matters."""
    found: dict[str, Any] = {}
    for name, family in rows.groupby("family", sort=True):
        spearman, pearson = correlations(family)
        entry: dict[str, Any] = {
            "n_points": len(family), "n_runs": family.run.nunique(), "spearman": spearman, "pearson": pearson
        }  # fmt: skip
        if fit.verdict in ("emergent", "smooth") and family.params.nunique() > 1:
            entry["collapse"] = _effect_json(_moved(family, "params", fit, settings))
        found[str(name)] = entry
    return found


def _turns(findings: Sequence[Finding]) -> tuple[list[Finding], list[dict[str, Any]]]:
    """The verdict over the metrics of each (task, loss), told once for the table and with each finding."""
    told: list[dict[str, Any]] = []
    by_task: dict[tuple[str, str], Mapping[str, Any]] = {}
    for key in dict.fromkeys((finding.task, finding.loss_name) for finding in findings):
        verdict = turn([finding for finding in findings if (finding.task, finding.loss_name) == key])
        by_task[key] = verdict
        told.append({"task": key[0], "loss_name": key[1], **verdict})
    marked = [
        replace(finding, extra={**finding.extra, "turns": by_task[finding.task, finding.loss_name]})
        for finding in findings
    ]
    return marked, told
