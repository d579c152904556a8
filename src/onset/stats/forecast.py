"""Forecast: the score of a run that was not made, and when an ability will set in, with prediction intervals.

Two stages, within one loss measure: loss from size and tokens (``loss_law``), score from loss (``predicted_score``).
The interval has all that a new run would show: the parameters of the law, the curve beyond the losses seen, size at
equal loss, runs that differ, items. A task that was never seen beyond chance is refused: its onset cannot be predicted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from onset.errors import OnsetError
from onset.results import Finding, Forecast, Interval, check_level
from onset.stats import loss_law as losslaw
from onset.stats.data import Array, CurveData, curve_data
from onset.stats.loss_law import LossLaw
from onset.stats.loss_rows import checkpoints
from onset.stats.prediction.item_counts import items_of
from onset.stats.prediction.predicted_score import PredictedScore, learn
from onset.stats.refused_forecasts import alternatives

DRAWS = 1000
"""Draws behind each interval."""

QUANTILES = (0.025, *(round(0.05 * step, 2) for step in range(1, 20)), 0.975)
"""Probabilities of the quantiles that a forecast keeps."""

KEYS = ("task", "metric")

Measure = tuple[str, str]
"""Name and unit of a loss measure."""
Thresholds = Mapping[tuple[str, str, str], Interval | None]
"""By task, metric and loss name."""


def forecast(
    obs: pd.DataFrame,
    targets: pd.DataFrame,
    *,
    thresholds: Thresholds | None = None,
    level: float = 0.95,
    seed: int = 0,
    law: LossLaw | None = None,
    schedule: str | None = None,
    beside: pd.DataFrame | None = None,
) -> Forecast:
    """Scores of ``targets`` on every task of ``obs``, and when the abilities set in, one loss measure at a time.

    ``targets`` has one row a run to predict: ``loss``, or ``params`` and ``tokens`` (counts); optional
    ``task``, ``metric``, ``loss_name`` and ``loss_unit`` (only these), ``n_examples`` (items it will be scored on) and
    any column that names the row. ``thresholds`` are the emergent findings by (task, metric, loss name); without it
    they are estimated here; ``law`` is a loss law that was fitted before, of the only loss measure; ``schedule`` is
    that of the learning rate where the table does not say (``loss_rows``); ``beside`` are rows that are not learnt from
    (tuned checkpoints), of which a refusal may say that they can be predicted. A target whose run or family is in the
    table is a later checkpoint of that run, or of that family. Raises OnsetError when a target says too little, when a
    loss is given without its measure and the table has several, or when loss cannot be told from size and tokens.
    """
    check_level(level)
    wanted = _checked(targets)
    measures = _measures(obs)
    if len(measures) > 1 and wanted["loss"].notna().any() and "loss_name" not in wanted:
        names = ", ".join(f"'{name}' in {unit}" for (name, unit), _ in measures)
        raise OnsetError(
            f"the table has {len(measures)} loss measures, and a target gives a loss without saying which: {names}",
            where="loss_name",
            advice="add a column loss_name to the targets, or choose one measure with --loss",
        )
    numbered = wanted.assign(asked=np.arange(len(wanted)))
    made = [
        _of_measure(rows, numbered[_of(wanted, measure)], measure, thresholds, level, seed, law, schedule, beside)
        for measure, rows in measures
        if _of(wanted, measure).any()
    ]
    scores = [part for parts, _, _ in made for part in parts]
    if not scores:
        raise OnsetError("no task of the table is asked for", advice="leave out the targets' task and metric columns")
    onsets = [part for _, part, _ in made if not part.empty]
    told = pd.concat(scores, ignore_index=True)
    return Forecast(
        level=level, scores=told.drop(columns=["quantiles", "asked"]), levels=QUANTILES, quantiles=_quantiles(told),
        targets=wanted.assign(target=np.arange(len(wanted))),
        onsets=pd.concat(onsets, ignore_index=True) if onsets else pd.DataFrame(), observations=obs,
        notes=tuple(dict.fromkeys(note for _, _, notes in made for note in notes)),
    )  # fmt: skip


def _measures(obs: pd.DataFrame) -> list[tuple[Measure, pd.DataFrame]]:
    """The rows of each loss measure: a law, a curve or a threshold of two of them together means nothing."""
    names = [name for name in ("loss_name", "loss_unit") if name in obs]
    if not names:
        return [(("loss", "nats/token"), obs)]
    found = []
    for key, rows in obs.groupby(names, sort=False, dropna=False):
        values = dict(zip(names, key, strict=True))
        found.append(((str(values.get("loss_name", "loss")), str(values.get("loss_unit", "nats/token"))), rows))
    return found


def _of(wanted: pd.DataFrame, measure: Measure) -> NDArray[np.bool_]:
    """Which targets are of a loss measure; those that name none are of all."""
    asked = np.ones(len(wanted), dtype=bool)
    for name, value in zip(("loss_name", "loss_unit"), measure, strict=True):
        if name in wanted:
            asked &= (wanted[name].isna() | (wanted[name] == value)).to_numpy(bool)
    return asked


def _of_measure(
    obs: pd.DataFrame, wanted: pd.DataFrame, measure: Measure, thresholds: Thresholds | None, level: float, seed: int,
    law: LossLaw | None, schedule: str | None, beside: pd.DataFrame | None,
) -> tuple[list[pd.DataFrame], pd.DataFrame, list[str]]:  # fmt: skip
    """Scores by task, onsets, and notes, on one loss measure."""
    wanted = wanted.reset_index(drop=True)
    groups = [pair for pair in _groups(obs) if _asked(pair[1], wanted).any()]
    if not groups:
        return [], pd.DataFrame(), []
    if wanted["loss"].isna().any() and law is None:
        law = losslaw.fit(obs, level=level, seed=seed, schedule=schedule)
    rng = np.random.default_rng(seed)
    losses = _possible_losses(wanted, law, rng)
    scores = []
    for (_, rows), learnt in zip(groups, learn([curve_data(rows) for _, rows in groups]), strict=True):
        asked = np.flatnonzero(_asked(rows, wanted))
        if isinstance(learnt, str) and len(asked):
            learnt += alternatives(
                obs if beside is None else beside, str(rows["task"].iloc[0]), str(rows["metric"].iloc[0])
            )
        part = _predicted(rows, wanted.iloc[asked], losses[:, asked], learnt, level, rng)
        scores.append(part.assign(loss_name=measure[0], loss_unit=measure[1]))
    found = _thresholds(groups, measure, level, seed) if thresholds is None else dict(thresholds)
    onsets = _onsets(obs, groups, wanted, law, found, measure, level, rng)
    return scores, onsets, _notes(obs, wanted, losses, law)


def _notes(obs: pd.DataFrame, wanted: pd.DataFrame, losses: Array, law: LossLaw | None) -> list[str]:
    """What the law was learnt from, and predicted losses that contradict the table."""
    if law is None:
        return []
    notes, seen = [law.note] if law.note else [], checkpoints(obs)
    for place, (params, tokens) in enumerate(zip(wanted["params"], wanted["tokens"], strict=True)):
        smaller = seen[(seen["params"] <= params) & (seen["tokens"] <= tokens)]
        if smaller.empty:
            continue
        best, loss = smaller.sort_values("loss").iloc[0], float(np.median(losses[:, place]))
        if loss > best["loss"] * (1.0 + law.spread):
            notes.append(
                f"contradiction: a loss of {loss:.3f} is predicted for {params:.3g} parameters on {tokens:.3g} tokens, "
                f"and run '{best['run']}' reached {best['loss']:.3f} with no more of either; distrust the loss law here"
            )
    return notes


def _quantiles(scores: pd.DataFrame) -> pd.DataFrame:
    """The quantiles of every score that was predicted, as lists."""
    rows = scores[scores["verdict"] == "predicted"].rename(columns={"target": "named", "asked": "target"})
    kept = rows[["target", "task", "metric", "loss_name", "loss_unit"]].reset_index(drop=True)
    kept["quantiles"] = pd.Series([list(map(float, one)) for one in rows["quantiles"]], dtype=object)
    return kept


def thresholds_of(findings: list[Finding] | tuple[Finding, ...]) -> Thresholds:
    """The thresholds of emergent findings, as ``forecast`` takes them."""
    return {finding.key: finding.threshold.interval if finding.threshold else None for finding in findings}


def _checked(targets: pd.DataFrame) -> pd.DataFrame:
    """Targets with ``loss, params, tokens`` as numbers, NaN where not given."""
    advice = "each row needs a loss, or params and tokens"
    if targets.empty:
        raise OnsetError("there are no targets", advice=advice)
    wanted = targets.reset_index(drop=True).copy()
    for name in ("loss", "params", "tokens"):
        given = wanted[name] if name in wanted else pd.Series(np.nan, wanted.index)
        wanted[name] = pd.to_numeric(given, errors="coerce").astype(float)
        if (wrong := (given.notna() & wanted[name].isna()) | np.isinf(wanted[name])).any():
            first = int(wrong.to_numpy(bool).argmax())
            told = f"{name} '{str(given.iloc[first])[:60]}' is no number to aim at"
            raise OnsetError(told, where=f"row {first + 1}", advice=advice)
    lost = wanted["loss"].isna() & (wanted["params"].isna() | wanted["tokens"].isna())
    if lost.any():
        row = f"row {int(lost.to_numpy(bool).argmax()) + 1}"
        raise OnsetError("a target says neither its loss nor its size and tokens", where=row, advice=advice)
    if (wanted[["loss", "params", "tokens"]] <= 0).any(axis=None):
        raise OnsetError("a target has a loss, size or tokens of zero or less", advice=advice)
    return wanted


def _groups(obs: pd.DataFrame) -> list[tuple[tuple[Any, ...], pd.DataFrame]]:
    """Rows of each task, metric and loss."""
    names = [name for name in KEYS if name in obs]
    return [(key, rows.reset_index(drop=True)) for key, rows in obs.groupby(names, sort=False, dropna=False)]


def _asked(rows: pd.DataFrame, wanted: pd.DataFrame) -> NDArray[np.bool_]:
    """Which targets ask for this task and metric."""
    asked = np.ones(len(wanted), dtype=bool)
    for name in ("task", "metric"):
        if name in wanted:
            asked &= (wanted[name].isna() | (wanted[name] == rows[name].iloc[0])).to_numpy(bool)
    return asked


def _possible_losses(wanted: pd.DataFrame, law: LossLaw | None, rng: np.random.Generator) -> Array:
    """Losses that each target may come to, (draws, targets)."""
    losses = np.tile(wanted["loss"].to_numpy(float), (DRAWS, 1))
    if law is None or not wanted["loss"].isna().any():
        return losses
    pick = rng.integers(len(law.draws), size=DRAWS)
    open_ = wanted[wanted["loss"].isna()]
    families = open_["family"].fillna("").astype(str) if "family" in open_ else pd.Series("", index=open_.index)
    for family, rows in open_.groupby(families, sort=False):
        params, tokens = (rows[name].to_numpy(float) for name in ("params", "tokens"))
        drawn = law.sample(params, tokens, rng, noise=False, family=str(family))[pick]
        losses[:, rows.index] = drawn * np.exp(law.deviation(params) * rng.standard_normal((DRAWS, 1)))
    return losses


def _predicted(
    rows: pd.DataFrame, wanted: pd.DataFrame, losses: Array, learnt: PredictedScore | str, level: float,
    rng: np.random.Generator,
) -> pd.DataFrame:  # fmt: skip
    """Scores of one task at the targets; a target whose run or family is in the table is of that run or family."""
    base = wanted.assign(task=rows["task"].iloc[0], metric=rows["metric"].iloc[0])
    base["loss"], base["quantiles"] = np.median(losses, axis=0), None
    if isinstance(learnt, str):
        return base.assign(score=np.nan, low=np.nan, high=np.nan, verdict="refused", why=learnt)
    families, runs = (base[name] if name in base else [None] * len(base) for name in ("family", "run"))
    targets = zip(np.log10(base["params"]), _items(base, rows, learnt.data), families, runs, strict=True)
    values = np.column_stack([
        learnt.draw(losses[:, place], size, items, rng, family, run)
        for place, (size, items, family, run) in enumerate(targets)
    ])  # fmt: skip
    low, middle, high = np.quantile(values, [(1 - level) / 2, 0.5, (1 + level) / 2], axis=0)
    base["quantiles"] = list(np.quantile(values, QUANTILES, axis=0).T)
    lowest, highest = learnt.span
    outside = (base["loss"] < lowest) | (base["loss"] > highest)
    why = np.where(outside, f"beyond the losses seen ({lowest:.3g} to {highest:.3g})", "within the losses seen")
    return base.assign(score=middle, low=low, high=high, verdict="predicted", why=why)


def _items(wanted: pd.DataFrame, rows: pd.DataFrame, data: CurveData) -> Array:
    """Items that each target will be scored on: said, or as many as the table has, or as its scores tell."""
    known = rows["n_examples"].dropna() if "n_examples" in rows else pd.Series(dtype=float)
    told = items_of(data.score / data.scale) if data.binomial else np.nan
    usual = float(known.median()) if len(known) else told
    said = wanted["n_examples"] if "n_examples" in wanted else pd.Series(np.nan, index=wanted.index)
    return pd.to_numeric(said).fillna(usual).to_numpy(float)


def _thresholds(groups: list[tuple[Any, pd.DataFrame]], measure: Measure, level: float, seed: int) -> Thresholds:
    from onset.stats.threshold import threshold

    found: dict[tuple[str, str, str], Interval | None] = {}
    for _, rows in groups:
        where = threshold(rows, level=level, seed=seed).threshold
        key = str(rows["task"].iloc[0]), str(rows["metric"].iloc[0]), measure[0]
        found[key] = where.interval if where else None
    return found


def _onsets(
    obs: pd.DataFrame, groups: list[tuple[Any, pd.DataFrame]], wanted: pd.DataFrame, law: LossLaw | None,
    thresholds: Thresholds, measure: Measure, level: float, rng: np.random.Generator,
) -> pd.DataFrame:  # fmt: skip
    """Tokens and compute at which each ability sets in, at each size asked for and at the best size."""
    if law is None:
        return pd.DataFrame()
    table: list[dict[str, Any]] = []
    per_token = _flops_factor(obs)
    sizes = [float(size) for size in wanted["params"].dropna().unique()]
    for _, rows in groups:
        key = str(rows["task"].iloc[0]), str(rows["metric"].iloc[0]), measure[0]
        named = {"task": key[0], "metric": key[1], "loss_name": measure[0], "loss_unit": measure[1]}
        eta = thresholds.get(key)
        if eta is None:
            table.append({**named, "why": "the table shows no threshold, so none is predicted"})
            continue
        aimed = losslaw.draw_interval(eta, len(law.draws), rng, level)
        for size in [*sizes, None]:
            answer = _sets_in(law, aimed, size, per_token, level)
            table.append({**named, "threshold": eta.value, **answer})
    return pd.DataFrame(table)


def _flops_factor(obs: pd.DataFrame) -> float:
    """Compute per parameter and token: the table's own where it has flops, else 6."""
    if "flops" not in obs or not obs["flops"].notna().any():
        return 6.0
    return float((obs["flops"] / (obs["params"] * obs["tokens"])).median())


def _sets_in(law: LossLaw, aimed: Array, size: float | None, per_token: float, level: float) -> dict[str, Any]:
    """Tokens and compute to reach losses, with intervals; at the size that needs least compute where none is given."""
    tail = (1.0 - level) / 2.0
    smallest, largest, *_ = law.seen
    sizes = np.array([size]) if size else np.geomspace(smallest / 10.0, largest * 1000.0, 300)
    e, a, b, alpha, beta = (law.draws[:, [place]] for place in range(5))
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        room = aimed[:, None] - e - a * sizes[None, :] ** -alpha
        tokens = np.where(room > 0, (b / np.maximum(room, 1e-300)) ** (1.0 / beta), np.inf)
        flops = per_token * sizes[None, :] * tokens
    best = flops.argmin(axis=1)
    pick = np.arange(len(flops))
    tokens, flops = tokens[pick, best], flops[pick, best]
    answer: dict[str, Any] = {"params": float(np.median(sizes[best])), "best_size": size is None}
    for name, values in (("tokens", tokens), ("flops", flops)):
        low, middle, high = np.quantile(values, [tail, 0.5, 1.0 - tail], method="nearest")
        answer |= {name: float(middle), f"{name}_low": float(low), f"{name}_high": float(high)}
    never = float(np.mean(~np.isfinite(tokens)))
    answer["why"] = "" if never < tail else f"in {never:.0%} of the draws no number of tokens reaches the threshold"
    return answer
