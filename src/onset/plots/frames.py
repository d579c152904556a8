"""Frames behind the pictures: what each would draw, free of any drawing library, with fixed column names.

Column names of a picture are this module's own, never a task's or a run's: a name with a dot or a bracket is data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from onset.language import _, noted
from onset.metrics import info as scales
from onset.plots import words
from onset.plots.facts import StudyFacts
from onset.plots.palette import Sizes, sizes
from onset.results import Analysis, Finding
from onset.tables import distinct

DRAWN_POINTS = 40_000
"""A page draws at most about so many points; above it, points are thinned for drawing, never for fitting."""

FEWEST_POINTS = 60
"""A panel keeps at least so many points, however many panels there are."""

CHECKPOINT = ["run", "step", "params", "tokens", "flops", "loss"]

CURVE_POINTS = 50
"""Of a curve in a small picture."""

NARROWEST = 0.1
"""A score axis between 0 and 1 spans at least this, so that noise at chance does not look like a rise."""


@dataclass(frozen=True)
class Points:
    """All points of an analysis: a table of checkpoints, and scores that refer to it."""

    checkpoints: pd.DataFrame
    """One row a checkpoint: ``run, step, params, tokens, flops, loss, size, kind, final``."""
    scores: pd.DataFrame
    """One row a drawn score: ``task, metric, at`` (row of ``checkpoints``), ``score, stderr``."""
    sizes: Sizes
    kinds: tuple[str, ...]
    """Kinds of run, drawn as shapes: groups of the study, or families; empty where there is one kind."""
    total: int
    """Scores before thinning."""
    flops_estimated: bool
    """Whether compute is 6 x parameters x tokens, because the table has none."""
    seen: words.Seen
    loss_name: str

    @property
    def drawn(self) -> int:
        """Scores after thinning."""
        return len(self.scores)


@dataclass(frozen=True)
class Panel:
    """One picture of a task under a metric."""

    finding: Finding
    points: pd.DataFrame
    """``run, step, params, tokens, flops, loss, size, kind, final, score, stderr``, one row a point."""

    @property
    def title(self) -> words.Title:
        """How the task is called, in the language in use."""
        return words.title(self.finding.task)

    def extent(self, near: tuple[float, float] | None = None) -> tuple[float, float]:
        """Ends of the score axis for all points, or for those within a range of losses, with a little room."""
        low, high = near or (-math.inf, math.inf)
        curve = self.curve
        scores = self.points["score"][self.points["loss"].between(low, high)]
        law = curve["score"][curve["loss"].between(low, high)]
        return _extent([*scores, *law, *self.chance["score"]])

    @property
    def curve(self) -> pd.DataFrame:
        """The fitted law: ``loss, score, low, high``; empty where nothing was fitted."""
        curve = self.finding.curve
        columns = ["loss", "score", "low", "high"]
        return curve[columns].sort_values("loss") if curve is not None else pd.DataFrame(columns=columns)

    @property
    def coarse_curve(self) -> pd.DataFrame:
        """The curve with no more points than a small picture can show."""
        curve = self.curve
        if len(curve) <= CURVE_POINTS:
            return curve
        return curve.iloc[np.unique(np.linspace(0, len(curve) - 1, CURVE_POINTS).round().astype(int))]

    @property
    def threshold(self) -> pd.DataFrame:
        """The threshold and its interval: ``loss, low, high``, one row or none."""
        found = self.finding.threshold
        rows = [{"loss": found.loss, "low": found.low, "high": found.high}] if found else []
        return pd.DataFrame(rows, columns=["loss", "low", "high"])

    @property
    def chance(self) -> pd.DataFrame:
        """The chance level: ``score``, one row or none."""
        chance = self.finding.chance
        known = chance is not None and math.isfinite(chance)
        return pd.DataFrame({"score": [chance] if known else []}, dtype=float)


def loss_names(analysis: Analysis) -> list[str]:
    """The loss axes of an analysis, that with the most findings first."""
    names = [finding.loss_name for finding in analysis.findings]
    return sorted(dict.fromkeys(names), key=lambda name: -names.count(name))


def points(
    analysis: Analysis,
    loss_name: str | None = None,
    groups: Mapping[str, str] | None = None,
    limit: int = DRAWN_POINTS,
) -> Points:
    """The points on one loss axis (by default the first), thinned to about ``limit``.

    ``groups`` maps runs to the group of their design.
    """
    name = loss_names(analysis)[0] if loss_name is None else loss_name
    rows = of_loss(analysis.observations, name)
    found = pd.DataFrame(index=range(len(rows)))
    for column in [*CHECKPOINT, "task", "metric", "score", "stderr"]:
        found[column] = rows[column].reset_index(drop=True) if column in rows else math.nan
    for column in ("params", "tokens", "flops", "loss", "score", "stderr", "step"):
        found[column] = distinct.numbers(found[column])
    for column in ("run", "task", "metric"):
        found[column] = distinct.texts(found[column])
    estimated = bool(found["flops"].isna().all())
    if estimated:
        found["flops"] = 6 * found["params"] * found["tokens"]
    found["kind"], kinds = _kinds(found["run"], rows, groups or {})
    # A missing score is missing: it has no point.
    known = np.isfinite(found["score"]) & np.isfinite(found["loss"])
    found = found if known.all() else found[known].reset_index(drop=True)
    found["at"] = found.groupby(CHECKPOINT, sort=False, dropna=False).ngroup()
    checkpoints = found.drop_duplicates("at").sort_values("at")[[*CHECKPOINT, "kind"]].reset_index(drop=True)
    checkpoints = distinct.plain(checkpoints)
    scale = sizes(checkpoints["params"])
    checkpoints["size"] = checkpoints["params"].map(dict(zip(scale.params, scale.labels, strict=True))).fillna("")
    checkpoints["final"] = checkpoints["tokens"] == checkpoints.groupby("run")["tokens"].transform("max")
    scores = found[["task", "metric", "at", "score", "stderr"]]
    return Points(
        checkpoints, distinct.plain(thin(scores, checkpoints, limit)), scale, kinds, len(scores), estimated,
        words.seen(rows), name,
    )  # fmt: skip


def of_loss(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """The observations on one loss axis; all of them where the table does not name its losses."""
    if "loss_name" not in rows or rows["loss_name"].nunique() < 2:
        return rows
    return rows[rows["loss_name"] == name]


def _kinds(
    run: pd.Series[str], rows: pd.DataFrame, groups: Mapping[str, str]
) -> tuple[pd.Series[str], tuple[str, ...]]:
    """The kind of each row's run: its group, or its family where there are several and no groups."""
    kind = distinct.texts(run, lambda name: groups.get(name, ""))
    if kind.nunique() < 2 and "family" in rows:
        kind = distinct.texts(distinct.filled(rows["family"], "")).set_axis(run.index)
    # The commonest kind comes first and is drawn as a circle.
    kinds = tuple(str(name) for name in kind.value_counts().index)
    if len(kinds) < 2 or len(kinds) > 12:
        return pd.Series("", index=run.index), ()
    return kind, kinds


def thin(scores: pd.DataFrame, checkpoints: pd.DataFrame, limit: int) -> pd.DataFrame:
    """At most about ``limit`` scores: each (task, metric) evenly along its runs, with each run's last where it can."""
    if len(scores) <= limit:
        return scores.reset_index(drop=True)
    at = scores["at"].to_numpy()
    ordered = scores.assign(
        run=checkpoints["run"].to_numpy()[at],
        tokens=checkpoints["tokens"].to_numpy()[at],
        final=checkpoints["final"].to_numpy()[at],
    ).sort_values(["task", "metric", "run", "tokens"], kind="stable")
    panel = ordered.groupby(["task", "metric"], sort=False)
    place, length = panel.cumcount().to_numpy(), panel["at"].transform("size").to_numpy()
    budget = max(FEWEST_POINTS, limit // panel.ngroups)
    stride = np.maximum(1.0, length / budget)
    keep = np.floor(place / stride) != np.floor((place - 1) / stride)
    few = panel["final"].transform("sum").to_numpy() <= budget / 2
    keep |= few & ordered["final"].to_numpy()
    kept: pd.DataFrame = ordered[keep][list(scores.columns)].reset_index(drop=True)
    return kept


def panels(analysis: Analysis, drawn: Points) -> list[Panel]:
    """One panel a finding on the loss axis of ``drawn``, ordered by ability, language, task and metric."""
    by_panel = dict(iter(drawn.scores.groupby(["task", "metric"], sort=False)))
    none = drawn.scores.iloc[:0]
    made = []
    for finding in analysis.findings:
        if finding.loss_name != drawn.loss_name:
            continue
        scores = by_panel.get((finding.task, finding.metric), none)
        rows = drawn.checkpoints.iloc[scores["at"].to_numpy(dtype=int)].reset_index(drop=True)
        rows = rows.assign(score=scores["score"].to_numpy(), stderr=scores["stderr"].to_numpy())
        made.append(Panel(finding, rows))
    return sorted(made, key=lambda panel: (panel.title.rank, scales.rank(panel.finding.metric)))


def headlines(made: list[Panel]) -> list[Panel]:
    """The panels of each task's headline metric."""
    of: dict[str, list[str]] = {}
    for panel in made:
        of.setdefault(panel.finding.task, []).append(panel.finding.metric)
    chosen = {task: scales.headline(metrics) for task, metrics in of.items()}
    return [panel for panel in made if panel.finding.metric == chosen[panel.finding.task]]


def headline_keys(made: list[Panel]) -> set[tuple[str, str]]:
    """The (task, metric) pairs of the headline panels."""
    return {(panel.finding.task, panel.finding.metric) for panel in headlines(made)}


def finals(panel: Panel, kind: str | None = None) -> Panel:
    """The panel with the last checkpoint of each run only, of one kind of run where asked."""
    rows = panel.points[panel.points["final"]]
    if kind is not None:
        rows = rows[rows["kind"] == kind]
    return Panel(panel.finding, rows.reset_index(drop=True))


def _extent(found: list[float]) -> tuple[float, float]:
    """Ends of a score axis that shows these values."""
    values = [value for value in found if math.isfinite(value)]
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    if high - low < NARROWEST and low >= 0 and high <= 1:
        low = min(max((low + high - NARROWEST) / 2, 0.0), 1.0 - NARROWEST)
        high = low + NARROWEST
    room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room


def span(values: pd.Series[float], *, log: bool) -> tuple[float, float] | None:
    """Ends of a horizontal axis with a little room; None where there is nothing to show."""
    kept = values[np.isfinite(values) & ((values > 0) | (not log))]
    if kept.empty:
        return None
    low, high = float(kept.min()), float(kept.max())
    if log:
        room = (high / low) ** 0.04 if high > low else 2.0
        return low / room, high * room
    room = 0.04 * (high - low) or 0.05 * abs(high) or 0.1
    return low - room, high + room


def window(points: Points, made: list[Panel]) -> tuple[float, float] | None:
    """The losses to look at first: the lowest ones with every threshold; None where that is nearly all of them.

    Checkpoints that are spread evenly over the logarithm of tokens reach back to losses near those of an untrained
    model, and a picture of all of them has its onsets in one corner. At most a quarter of the checkpoints is outside.
    """
    losses = points.checkpoints["loss"]
    whole = span(losses, log=False)
    if whole is None:
        return None
    low = float(losses.min())
    ends = [end for panel in made for end in (panel.finding.threshold, panel.finding.onset)]
    found = [end.high for end in ends if end is not None]
    high = max([low + 2 * (float(losses.quantile(0.75)) - low), *(low + 1.6 * (end - low) for end in found)])
    if high - low > 0.7 * (float(losses.max()) - low):
        return None
    return low - 0.04 * (high - low), high


def log_ticks(low: float, high: float) -> list[float]:
    """Few round tick values between two positive ends of a logarithmic axis."""
    decades = math.log10(high / low)
    steps: tuple[int, ...] = (1,) if decades > 2.2 else (1, 3) if decades > 1.2 else (1, 2, 5)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = max(1, math.ceil((last - first) / 6)) if steps == (1,) else 1
    ticks = [step * 10.0**power for power in range(first, last + 1, every) for step in steps]
    return [tick for tick in ticks if low <= tick <= high]


def effects(made: list[Panel]) -> pd.DataFrame:
    """Size at equal loss: ``label, task, metric, pp, low, high, margin, verdict``, one row an estimated effect."""
    rows = []
    for panel in made:
        effect = panel.finding.size_effect
        if effect is None or effect.pp_per_decade is None:
            continue
        rows.append(
            {
                "label": panel.title.text, "task": panel.finding.task, "metric": panel.finding.metric,
                "pp": effect.pp_per_decade, "low": effect.low, "high": effect.high,
                "margin": effect.margin, "verdict": words.effect(effect.verdict),
            }
        )  # fmt: skip
    columns = ["label", "task", "metric", "pp", "low", "high", "margin", "verdict"]
    return pd.DataFrame(rows, columns=columns)


RESIDUALS = ["run", "size", "params", "loss", "pp"]


def residuals(panel: Panel, known: Sizes, near: tuple[float, float] | None = None) -> pd.DataFrame:
    """Observed minus fitted: ``run, size, params, loss, pp`` (percentage points), at losses in ``near``."""
    rows = panel.finding.residuals
    if rows is None or rows.empty:
        return pd.DataFrame(columns=RESIDUALS)
    return residual_rows(rows if near is None else rows[rows["loss"].between(*near)], known)


def residual_rows(rows: pd.DataFrame, known: Sizes) -> pd.DataFrame:
    """Residuals of a fit (``run, params, loss, residual``) for drawing."""
    label = dict(zip(known.params, known.labels, strict=True))
    made = pd.DataFrame(
        {
            "run": rows["run"].astype(str),
            "size": rows["params"].astype(float).map(label).fillna(""),
            "params": rows["params"].astype(float),
            "loss": rows["loss"].astype(float),
            "pp": 100 * rows["residual"].astype(float),
        }
    )
    return made[RESIDUALS].reset_index(drop=True)


PREDICTORS = {
    "loss": noted("Loss"),
    "flops": noted("Compute"),
    "params": noted("Parameters"),
    "tokens": noted("Tokens"),
}


def predictors(made: list[Panel]) -> pd.DataFrame:
    """How well each quantity predicts a held-out size: ``label, task, metric, predictor, r2, error``, long form."""
    rows = [
        {
            "label": panel.title.text, "task": panel.finding.task, "metric": panel.finding.metric,
            "predictor": _(PREDICTORS.get(name, name)), "r2": _float(values.r2_held_out),
            "error": _float(values.error_pp),
        }
        for panel in made
        for name, values in panel.finding.predictors.items()
    ]  # fmt: skip
    columns = ["label", "task", "metric", "predictor", "r2", "error"]
    return pd.DataFrame(rows, columns=columns)


def _float(value: float | None) -> float:
    return math.nan if value is None else float(value)


def training(facts: StudyFacts, known: Sizes) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Loss against tokens over all languages, and the floor: (``run, size, params, tokens, loss``; ``loss, label``)."""
    rows = facts.training
    if "language" in rows:
        rows = rows[rows["language"] == "all"]
    label = dict(zip(known.params, known.labels, strict=True))
    frame = rows[["run", "params", "tokens", "loss"]].astype({"run": str, "params": float, "tokens": float})
    frame = frame.assign(loss=pd.to_numeric(frame["loss"], errors="coerce"), size=frame["params"].map(label).fillna(""))
    frame = frame[np.isfinite(frame["loss"]) & (frame["loss"] > 0) & (frame["tokens"] > 0)].reset_index(drop=True)
    floor = facts.floor.get("all")
    drawn = (
        []
        if floor is None
        else [{"loss": float(floor), "label": _("entropy of the text: {floor}", floor=f"{floor:.3f}")}]
    )
    return frame, pd.DataFrame(drawn, columns=["loss", "label"])


METHODS = {
    "score_from_loss": noted("Forecast, given the loss"),
    "score_from_size": noted("Forecast, from size and tokens"),
    "logistic_in_loss": noted("Baseline: logistic in loss"),
    "logistic_in_compute": noted("Baseline: logistic in compute"),
}

MOST_PREDICTED = 4000
"""Forecasts in a picture, at most; tables and numbers are of all."""


def predicted(predictions: pd.DataFrame, headline: set[tuple[str, str]], known: Sizes) -> pd.DataFrame:
    """A back-test's forecasts for drawing: ``method, label, task, metric, run, params, size, seen, score, low, high``.

    Of tasks that are among ``headline`` (task, metric) pairs, or of all where that leaves none: metrics with other
    units would share an axis with shares of right answers.
    """
    chosen = [pair in headline for pair in zip(predictions["task"], predictions["metric"], strict=True)]
    rows = predictions[chosen] if any(chosen) else predictions
    rows = rows.iloc[:: max(1, math.ceil(len(rows) / MOST_PREDICTED))]
    size = dict(zip(known.params, known.labels, strict=True))
    made = rows[["method", "task", "metric", "run", "params", "seen", "score", "low", "high"]].astype({"params": float})
    return made.assign(
        method=made["method"].map(lambda name: _(METHODS.get(name, str(name)))),
        label=made["task"].map(lambda task: words.title(str(task)).text),
        size=made["params"].map(size).fillna(""),
    ).reset_index(drop=True)
