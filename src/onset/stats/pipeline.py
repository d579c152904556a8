"""Analyse a table: every (task, metric, loss measure) of it, from threshold to predictors, as findings.

Thresholds come first, one by one; then they are judged together, so that a table of many tasks does not claim more
than its share of false ones. Size and other effects, predictors and families follow. Results do not depend on how
many processes share the work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd

from onset.results import (
    Analysis,
    FactorEffect,
    FamilyFinding,
    Finding,
    Predictor,
    SizeEffect,
    SpikeEffect,
    StageEffect,
    Threshold,
    check_level,
)
from onset.stats import thinning
from onset.stats.curve.decision import multiplicity_note
from onset.stats.data import CurveData, curve_data
from onset.stats.factor_effects import factor_effects
from onset.stats.metric_comparison import compare_metrics
from onset.stats.mixed import factors
from onset.stats.mixed.equivalence import MARGIN
from onset.stats.parallel import Workers, cores
from onset.stats.predictors import predictors
from onset.stats.quality import with_quality
from onset.stats.questions import with_questions
from onset.stats.size_effect import size_effect
from onset.stats.spikes import find_spikes, spike_effects
from onset.stats.splits import disagreeing_splits
from onset.stats.stage_effects import STAGE, by_stage, foretelling, is_base, stage_effect, stage_notes
from onset.stats.thinning import thinned
from onset.stats.threshold import threshold
from onset.tables.distinct import plain
from onset.tables.observations import check
from onset.tables.units import NATS

DELTA = 0.02
"""Excess over chance at which the onset loss is read."""
KEYS = ["task", "metric", "loss_name", "loss_unit"]
WORTH_A_PROCESS = 6
"""With fewer groups than this, starting processes costs more than it saves."""

Progress = Callable[[int, int], None]
"""Told after each step of the work: steps done, and steps in all."""


@dataclass(frozen=True)
class Settings:
    """What every group is analysed with."""

    level: float
    delta: float
    margin: float
    loss_margin: float | None
    seed: int


def analyze(
    obs: pd.DataFrame,
    *,
    source: str = "",
    level: float = 0.95,
    delta: float = DELTA,
    margin: float = MARGIN,
    loss_margin: float | None = None,
    seed: int = 0,
    jobs: int | None = None,
    groups: Sequence[str] = (),
    progress: Progress | None = None,
) -> Analysis:
    """Findings on every (task, metric, loss measure) of a table of observations.

    ``level`` is that of all intervals, ``delta`` the excess over chance (in units of the score) at which the onset
    loss is read, ``margin`` the percentage points within which a size effect counts as none, ``loss_margin`` the same
    along the loss (nats per decade, where the loss is in nats; by default pp alone count), ``jobs`` the number of
    processes (by default one a core). ``groups`` puts levels of factors together, each as
    ``COLUMN=GROUP:LEVEL,LEVEL`` (``factors.grouped``). Where a column ``stage`` says that some checkpoints are tuned,
    the findings are of the others, and ``stage_effects`` tells what tuning changes. ``progress`` is told of each step.
    Raises OnsetError for a table that contradicts itself (see ``observations.check``) and for a level outside of
    (0.5, 1).
    """
    settings = Settings(check_level(level), delta, margin, loss_margin, seed)
    obs = check(obs)
    rows = factors.spread_out(_with_flops(obs))
    for text in groups:
        rows = factors.grouped(rows, text)
    base = is_base(rows)
    based, counts = rows if base.all() else rows[base], []
    curves = []
    for _, group in based.groupby(KEYS, sort=True):
        counts.append(len(group))
        curves.append(plain(thinned(group)).reset_index(drop=True))
    tuned = [plain(thinned(group)).reset_index(drop=True) for group in by_stage(rows[~base], KEYS)]
    step = _counter(2 * len(curves) + 2 * len(tuned), progress)
    with Workers(_processes(jobs, len(curves) + len(tuned))) as workers:
        fitted = workers.map(partial(_fit, settings=settings), [*curves, *tuned], done=step)
        pairs = list(zip([*curves, *tuned], fitted, strict=True))
        pairs, of_stages = pairs[: len(curves)], pairs[len(curves) :]
        findings = tuple(workers.map(partial(_finding, settings=settings), pairs, done=step))
        stages = tuple(workers.map(partial(_stage, settings=settings), _met(pairs, of_stages), done=step))
        spikes = _spikes(based, settings, workers)
    foretold = foretelling(stages)
    findings = with_questions(findings, based[[*KEYS, "n_examples"]], obs.attrs.get("notes", ()))
    findings = with_quality(findings, curves)
    return Analysis(
        source=source, level=level, delta=delta, margin=margin, loss_margin=loss_margin, findings=findings,
        notes=(*obs.attrs.get("notes", ()), *thinning.note(counts), *disagreeing_splits(findings),
               *multiplicity_note(findings), *(one.why for one in spikes), *stage_notes(stages),
               *(one.why for one in foretold)),
        metric_comparisons=compare_metrics(findings), factor_summary=factors.summarize(findings), spikes=spikes,
        stage_effects=stages, foretelling=foretold, observations=obs,
    )  # fmt: skip


Fitted = tuple[pd.DataFrame, Threshold]


def _met(base: Sequence[Fitted], tuned: Sequence[Fitted]) -> list[tuple[Fitted, Fitted]]:
    """The fits of stages, each with the base's of the same task, metric and loss measure."""
    by_key = {tuple(rows[name].iloc[0] for name in KEYS): (rows, found) for rows, found in base}
    keys = [tuple(rows[name].iloc[0] for name in KEYS) for rows, _ in tuned]
    return [(by_key[key], one) for key, one in zip(keys, tuned, strict=True) if key in by_key]


def _stage(pair: tuple[Fitted, Fitted], settings: Settings) -> StageEffect:
    """What a stage changes of one group."""
    (base, of_base), (tuned, of_tuned) = pair
    in_nats = of_base.loss_unit == NATS
    return stage_effect(
        pd.concat([base, tuned], ignore_index=True), of_base, of_tuned, str(tuned[STAGE].iloc[0]),
        margin=settings.margin, loss_margin=settings.loss_margin if in_nats else None,
    )  # fmt: skip


def _spikes(rows: pd.DataFrame, settings: Settings, workers: Workers) -> tuple[SpikeEffect, ...]:
    """What scores do at loss spikes, loss measure by loss measure."""
    made: list[SpikeEffect] = []
    for (name, _), part in rows.groupby(["loss_name", "loss_unit"], sort=True):
        marked = find_spikes(part)
        found = spike_effects(plain(part), level=settings.level, spikes=marked, workers=workers) if marked else ()
        made += [one.with_changes(loss_name=str(name)) for one in found]
    return tuple(made)


def fit_threshold(rows: pd.DataFrame, *, level: float = 0.95, delta: float = DELTA, seed: int = 0) -> Threshold:
    """The threshold of the rows of one (task, metric, loss measure), with the rows for drawing."""
    found = threshold(rows, level=check_level(level), delta=delta, seed=seed)
    return found.with_changes(observed=rows[["run", "params", "loss", "score"]])


def _counter(steps: int, progress: Progress | None) -> Callable[[], None]:
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, steps)

    return step


def _processes(jobs: int | None, groups: int) -> int:
    if jobs is not None:
        return min(jobs, groups)
    return min(cores(), groups) if groups >= WORTH_A_PROCESS else 1


def _with_flops(obs: pd.DataFrame) -> pd.DataFrame:
    """FLOPs where the table has none: 6 a parameter and token (Kaplan et al. 2020)."""
    return obs.assign(flops=obs.flops.fillna(6.0 * obs.params * obs.tokens))


def _fit(rows: pd.DataFrame, settings: Settings) -> Threshold:
    return threshold(rows, level=settings.level, delta=settings.delta, seed=settings.seed)


def _finding(pair: tuple[pd.DataFrame, Threshold], settings: Settings) -> Finding:
    """The finding of one group, from its threshold."""
    rows, found = pair
    spearman, pearson = correlations(rows)
    present = _present(found)
    sizes = rows.params.nunique() > 1
    return Finding(
        **_fields(found),
        spearman=spearman,
        pearson=pearson,
        size_effect=_size_effect(rows, found, settings) if present and sizes else None,
        size_at_equal_compute=_at_equal_compute(rows, found, settings) if present and sizes else None,
        predictors={name: Predictor(**values) for name, values in predictors(rows).items()},
        factors=_factors(rows, found, settings) if present else (),
        families=_families(rows, found, settings) if rows.family.nunique() > 1 else {},
    )


def _present(found: Threshold) -> bool:
    """Whether there is an ability that size and other factors may change, its verdict decided or not."""
    return found.verdict in ("emergent", "smooth") or found.onset is not None


def _fields(found: Threshold) -> Mapping[str, object]:
    return {name: getattr(found, name) for name in Threshold.model_fields}


def correlations(rows: pd.DataFrame) -> tuple[float | None, float | None]:
    """Spearman and Pearson correlation of score with loss; None where either does not vary or there are under 3."""
    if len(rows) < 3 or rows.loss.nunique() < 2 or rows.score.nunique() < 2:
        return None, None
    return float(rows.loss.rank().corr(rows.score.rank())), float(rows.loss.corr(rows.score))


def _size_effect(rows: pd.DataFrame, found: Threshold, settings: Settings) -> SizeEffect:
    in_nats = found.loss_unit == NATS  # the margin along the loss says nothing in another unit
    return size_effect(
        rows, margin=settings.margin, loss_margin=settings.loss_margin if in_nats else None, threshold=found.threshold,
        level=settings.level,
    )  # fmt: skip


def _at_equal_compute(rows: pd.DataFrame, found: Threshold, settings: Settings) -> SizeEffect:
    """The same question at equal compute: is it the loss that makes one curve of all sizes?"""
    effect = size_effect(
        rows, threshold=found.threshold, margin=settings.margin, level=settings.level, at="flops"
    )  # fmt: skip
    return effect.model_copy(update={"levels": None, "curve": None, "residuals": None})


def _factors(rows: pd.DataFrame, found: Threshold, settings: Settings) -> tuple[FactorEffect, ...]:
    """What each factor but size changes at equal loss, where the ability is there."""
    return factor_effects(_below(curve_data(rows), found), margin=settings.margin, level=settings.level)


def _below(data: CurveData, found: Threshold) -> CurveData:
    """The rows at losses below the threshold, where there is one."""
    keep = data.loss < (found.threshold.loss if found.threshold else float("inf"))
    return data.subset(keep) if keep.any() else data


def _families(rows: pd.DataFrame, found: Threshold, settings: Settings) -> dict[str, FamilyFinding]:
    """The same questions within each family: how closely loss and score go together, and the size effect."""
    made: dict[str, FamilyFinding] = {}
    for name, family in rows.groupby("family", sort=True):
        spearman, pearson = correlations(family)
        asked = _present(found) and family.params.nunique() > 1
        effect = _size_effect(family, found, settings) if asked else None
        made[str(name)] = FamilyFinding(
            n_points=len(family), n_runs=int(family.run.nunique()), spearman=spearman, pearson=pearson,
            size_effect=effect and effect.model_copy(update={"levels": None, "curve": None, "residuals": None}),
        )  # fmt: skip
    return made
