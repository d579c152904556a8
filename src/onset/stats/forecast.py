"""Forecast: the score of a run that was not made, and when an ability will set in, with intervals.

Two stages: loss from size and tokens (losslaw), score from loss (smooth). The interval has all that a new
run would show: the parameters of the law, the curve beyond the losses seen, size at equal loss, runs that
differ, items. Outside the losses seen the curve goes on straight, and its interval widens as fast as the
bends that were seen say. A task that was never seen beyond chance is refused: its onset cannot be foreseen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from onset.errors import OnsetError
from onset.results import Finding, Forecast, Interval
from onset.stats import loss_law as losslaw
from onset.stats import series
from onset.stats import smoother as smooth
from onset.stats.headroom import chance_of, direction_of
from onset.stats.loss_law import LossLaw
from onset.stats.mixture import Matrix, Vector

DRAWS = 400
"""Draws behind each interval."""

FEWEST_RUNS = 3
"""Runs to learn from when a forecast is tried on the table's own lowest losses."""

SHRUNK = 2.0
"""Runs' worth of trust in the model's own interval, beside the runs that it was tried on."""

KEYS = ("task", "metric", "loss_name")

Thresholds = Mapping[tuple[str, str], Interval | None]


def forecast(
    obs: pd.DataFrame,
    targets: pd.DataFrame,
    *,
    thresholds: Thresholds | None = None,
    level: float = 0.95,
    seed: int = 0,
    law: LossLaw | None = None,
) -> Forecast:
    """Scores of ``targets`` on every task of ``obs``, and when the abilities set in.

    ``targets`` has one row a run to foresee: ``loss``, or ``params`` and ``tokens`` (counts); optional
    ``task`` and ``metric`` (only these), ``n_examples`` (items it will be scored on) and any column that
    names the row. ``thresholds`` are the emergent findings by (task, metric); without it they are estimated
    here; ``law`` is a loss law that was fitted before. Raises OnsetError when a target says too little, or
    when loss cannot be told from size and tokens.
    """
    wanted = _checked(targets)
    by_size = wanted["loss"].isna()
    if by_size.any() and law is None:
        law = losslaw.fit(obs, level=level, seed=seed)
    rng = np.random.default_rng(seed)
    losses = _possible_losses(wanted, law, rng)
    scores = []
    groups = [pair for pair in _groups(obs) if _asked(pair[1], wanted).any()]
    for _, rows in groups:
        asked = np.flatnonzero(_asked(rows, wanted))
        scores.append(_foreseen(rows, wanted.iloc[asked], losses[:, asked], level, rng))
    if not scores:
        raise OnsetError("no task of the table is asked for", advice="leave out the targets' task and metric columns")
    found = _thresholds(groups, level, seed) if thresholds is None else dict(thresholds)
    onsets = _onsets(obs, groups, wanted, law, found, level, rng)
    return Forecast(level=level, scores=pd.concat(scores, ignore_index=True), onsets=onsets, observations=obs)


def thresholds_of(findings: list[Finding] | tuple[Finding, ...]) -> Thresholds:
    """The thresholds of emergent findings, as ``forecast`` takes them."""
    return {
        (finding.task, finding.metric): finding.threshold.interval if finding.threshold else None
        for finding in findings
    }


def _checked(targets: pd.DataFrame) -> pd.DataFrame:
    """Targets with ``loss, params, tokens`` as numbers, NaN where not given."""
    advice = "each row needs a loss, or params and tokens"
    if targets.empty:
        raise OnsetError("there are no targets", advice=advice)
    wanted = targets.reset_index(drop=True).copy()
    for name in ("loss", "params", "tokens"):
        wanted[name] = pd.to_numeric(wanted[name], errors="coerce") if name in wanted else np.nan
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


def _possible_losses(wanted: pd.DataFrame, law: LossLaw | None, rng: np.random.Generator) -> Matrix:
    """Losses that each target may come to, (draws, targets)."""
    losses = np.tile(wanted["loss"].to_numpy(float), (DRAWS, 1))
    if law is not None and wanted["loss"].isna().any():
        open_ = wanted["loss"].isna().to_numpy(bool)
        params, tokens = (wanted.loc[open_, name].to_numpy(float) for name in ("params", "tokens"))
        drawn = law.sample(params, tokens, rng, noise=True)
        losses[:, open_] = drawn[rng.integers(len(drawn), size=DRAWS)]
    return losses


def _foreseen(
    rows: pd.DataFrame, wanted: pd.DataFrame, losses: Matrix, level: float, rng: np.random.Generator
) -> pd.DataFrame:
    """Scores of one task at the targets."""
    base = wanted.assign(task=rows["task"].iloc[0], metric=rows["metric"].iloc[0])
    base["loss"] = np.median(losses, axis=0)
    refusal, curve = learnt(rows)
    if curve is None:
        return base.assign(score=np.nan, low=np.nan, high=np.nan, verdict="refused", why=refusal)
    values = np.column_stack([
        curve.draw(losses[:, place], params, items, rng)
        for place, (params, items) in enumerate(zip(base["params"], _items(base, rows), strict=True))
    ])  # fmt: skip
    low, middle, high = np.quantile(values, [(1 - level) / 2, 0.5, (1 + level) / 2], axis=0)
    lowest, highest = curve.model.span
    outside = (base["loss"] < lowest) | (base["loss"] > highest)
    why = np.where(outside, f"beyond the losses seen ({lowest:.3g} to {highest:.3g})", "within the losses seen")
    return base.assign(score=middle, low=low, high=high, verdict="foreseen", why=why)


def _items(wanted: pd.DataFrame, rows: pd.DataFrame) -> Vector:
    """Items that each target will be scored on: said, or as many as the table has."""
    usual = float(rows["n_examples"].median()) if "n_examples" in rows else np.nan
    said = wanted["n_examples"] if "n_examples" in wanted else pd.Series(np.nan, index=wanted.index)
    return pd.to_numeric(said).fillna(usual).to_numpy(float)


@dataclass(frozen=True)
class Curve:
    """The score-on-loss curve of one task, ready to draw new runs from."""

    model: smooth.Smooth
    centre: float
    """Mean log10 of the sizes; NaN where sizes are not known."""
    largest: float
    bounds: tuple[float, float]
    """Possible scores, in points."""
    spread: float
    """Standard deviation of one score by its items, in points, where it is not binomial."""
    binomial: bool
    stretch: float = 1.0
    """How much farther the lowest losses lay from what the higher ones foretold than the model allows."""

    def draw(self, losses: Vector, params: float, items: float, rng: np.random.Generator) -> Vector:
        """Scores (as in the table) that a new run may show at possible losses, one a loss."""
        low, high = float(losses.min()), float(losses.max())
        grid = np.linspace(low, high, 40 if high > low else 1)
        size = (np.log10(params) if np.isfinite(params) else np.log10(self.largest)) - self.centre
        means, deviations, slope = self.model.at(grid, 0.0 if np.isnan(self.centre) else size)
        runs = self.model.run_deviation(slope)
        scale = rng.choice(len(self.model.scales), p=self.model.scale_weights, size=len(losses))
        at = np.zeros(len(losses), dtype=int) if len(grid) == 1 else (losses - low) / (high - low) * (len(grid) - 1)
        near = np.rint(at).astype(int)
        mean = means[scale, near] if len(grid) == 1 else _between(means, scale, at)
        wobble = self.model.sizes["neighbours"] ** 2 + (self.model.sizes["loss"] * slope[near]) ** 2
        spread = self.stretch * np.sqrt(deviations[scale, near] ** 2 + runs[scale, near] ** 2 + wobble)
        score = np.clip(mean + spread * rng.standard_normal(len(losses)), *self.bounds)
        if self.binomial and np.isfinite(items):
            share = score / 100.0
            noise = 100.0 * np.sqrt(share * (1.0 - share) / items + 1e-12)
        else:
            noise = np.full(len(losses), self.spread)
        seen: Vector = np.clip(score + noise * rng.standard_normal(len(losses)), *self.bounds) / 100.0
        return seen


def _between(table: Matrix, row: NDArray[np.int64], at: Vector) -> Vector:
    """Values of a table between its columns."""
    left = np.minimum(np.floor(at).astype(int), table.shape[1] - 2)
    value: Vector = table[row, left] + (at - left) * (table[row, left + 1] - table[row, left])
    return value


def learnt(rows: pd.DataFrame) -> tuple[str, Curve | None]:
    """The curve of one task from its rows, or why there is none."""
    rows = rows[np.isfinite(rows["loss"].to_numpy(float)) & np.isfinite(rows["score"].to_numpy(float))]
    if len(rows) < 6 or rows["loss"].nunique() < 4:
        return f"only {len(rows)} observations; 6 at 4 losses or more are needed", None
    size, centre = np.zeros(len(rows)), np.nan
    if "params" in rows and rows["params"].nunique() > 1:
        logs = np.log10(rows["params"].to_numpy(float))
        centre = float(logs.mean())
        size = logs - centre
    points = series.points(rows, size=size)
    model = smooth.fit(points)
    chance = chance_of(rows)
    if chance is not None and smooth.able_from(model, chance, direction_of(rows) == "lower") is None:
        return "at chance everywhere: what lower losses would bring cannot be read off losses without the ability", None
    score = rows["score"].to_numpy(float)
    share = bool(score.min() >= 0.0 and score.max() <= 1.0)
    bounds = (0.0 if score.min() >= 0 else -np.inf, 100.0 if share else np.inf)
    base = np.nanmedian(np.where(np.isfinite(points.variance), points.variance * points.weight, np.nan))
    usual = base if np.isfinite(base) else series.difference_variance(points)
    largest = float(rows["params"].max()) if "params" in rows else np.nan
    spread = float(np.sqrt(usual) * model.sizes["items"])
    return "", Curve(model, centre, largest, bounds, spread, series.is_share(rows), _stretch(rows))


def _stretch(rows: pd.DataFrame) -> float:
    """How much wider than the model's an interval must be, by what it misses when the lowest losses are left out.

    The fifth of the runs that came to the lowest losses is foreseen from the others, then the fifth before it from
    those above; the mean squared miss of a run, in standard deviations, is shrunk to one by a few runs' worth and
    never narrows an interval.
    """
    order = rows.groupby("run")["loss"].min().sort_values(ascending=False, kind="stable").index
    fold = max(1, len(order) // 5)
    misses: list[float] = []
    for end in (len(order), len(order) - fold):
        known, unseen = (rows[rows["run"].isin(order[part])] for part in (slice(end - fold), slice(end - fold, end)))
        if end - fold < FEWEST_RUNS or len(known) < 6 or known["loss"].nunique() < 4:
            continue
        told, size, at = series.points(unseen), np.zeros(len(known)), 0.0
        if "params" in rows and known["params"].nunique() > 1:
            logs = np.log10(known["params"].to_numpy(float))
            size = logs - logs.mean()
            at = float(np.log10(unseen["params"].to_numpy(float)).mean() - logs.mean())
        model = smooth.fit(series.points(known, size=size), rounds=1)
        means, deviations, slope = model.at(told.loss, at)
        mean = model.scale_weights @ means
        items = np.where(np.isfinite(told.variance), told.variance, 0.0)
        spread = deviations**2 + (means - mean) ** 2 + model.run_deviation(slope) ** 2
        wobble = model.sizes["neighbours"] ** 2 + (model.sizes["loss"] * slope) ** 2
        off = (told.score - mean) ** 2 / (model.scale_weights @ spread + wobble + items)
        misses += list(np.bincount(told.run, off) / np.bincount(told.run))
    # One run far off says that such runs occur, not how often: no miss counts for more than five deviations.
    total = np.minimum(np.array(misses), 25.0).sum()
    return float(np.sqrt(max(1.0, (SHRUNK + total) / (SHRUNK + len(misses)))))


def _thresholds(
    groups: list[tuple[tuple[Any, ...], pd.DataFrame]], level: float, seed: int
) -> dict[tuple[str, str], Interval | None]:
    from onset.stats.threshold import threshold

    found = {}
    for _, rows in groups:
        found[str(rows["task"].iloc[0]), str(rows["metric"].iloc[0])] = threshold(
            rows, level=level, seed=seed
        ).threshold
    return found


def _onsets(
    obs: pd.DataFrame, groups: list[tuple[tuple[Any, ...], pd.DataFrame]], wanted: pd.DataFrame,
    law: LossLaw | None, thresholds: Mapping[tuple[str, str], Interval | None], level: float, rng: np.random.Generator,
) -> pd.DataFrame:  # fmt: skip
    """Tokens and compute at which each ability sets in, at each size asked for and at the best size."""
    if law is None:
        return pd.DataFrame()
    table: list[dict[str, Any]] = []
    per_token = _flops_factor(obs)
    sizes = [float(size) for size in wanted["params"].dropna().unique()]
    for _, rows in groups:
        task, metric = str(rows["task"].iloc[0]), str(rows["metric"].iloc[0])
        eta = thresholds.get((task, metric))
        if eta is None:
            why = "no threshold has been seen in the table, so none is foreseen"
            table.append({"task": task, "metric": metric, "why": why})
            continue
        aimed = losslaw.draw_interval(eta, len(law.draws), rng, level)
        for size in [*sizes, None]:
            answer = _sets_in(law, aimed, size, per_token, level)
            table.append({"task": task, "metric": metric, "threshold": eta.value, **answer})
    return pd.DataFrame(table)


def _flops_factor(obs: pd.DataFrame) -> float:
    """Compute per parameter and token: the table's own where it has flops, else 6."""
    if "flops" not in obs or not obs["flops"].notna().any():
        return 6.0
    return float((obs["flops"] / (obs["params"] * obs["tokens"])).median())


def _sets_in(law: LossLaw, aimed: Vector, size: float | None, per_token: float, level: float) -> dict[str, Any]:
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
