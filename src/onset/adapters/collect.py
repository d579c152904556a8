"""Any results to one table of observations: sources read, runs named, restarts joined, scores placed at losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from onset.adapters import join, names, registry
from onset.adapters.chance import chance_of, guessed
from onset.adapters.columns import TRAINING
from onset.adapters.names import ByRun, Pattern
from onset.adapters.source import LOSSES, SCORES, Reading, Results
from onset.errors import OnsetError, did_you_mean
from onset.metrics import measures
from onset.tables import distinct, observations, units
from onset.tables.validation import short


@dataclass(frozen=True)
class Options:
    """What the sources do not say themselves."""

    reading: Reading = field(default_factory=Reading)
    tokens_per_step: ByRun = field(default_factory=ByRun)
    params: ByRun = field(default_factory=ByRun)
    rename: tuple[tuple[str, str], ...] = ()
    """Pairs (name or pattern of runs, new name)."""
    restarts: Pattern | None = None
    """A pattern with ``{run}`` and ``{restart}``: names of restarted trainings."""
    axes: tuple[str, ...] = ()
    """The losses that the table stands on, ``NAME[:UNIT]``, each for the runs that have none before it; by default the
    one that most checkpoints have."""
    gap: float = join.GAP
    chance: ByRun = field(default_factory=ByRun)
    """Chance levels by task, for accuracies; they come before those of ``adapters.chance``."""
    questions: ByRun = field(default_factory=ByRun)
    """Numbers of questions by task, where the source does not give them."""
    family: str | None = None


@dataclass(frozen=True)
class Collected:
    """Observations, checked, and every loss at their checkpoints (the table of losses that may stand beside)."""

    observations: pd.DataFrame
    losses: pd.DataFrame
    items: pd.DataFrame


def collect(
    scores: Sequence[str], losses: Sequence[str] = (), options: Options | None = None, *, set_aside: bool = False
) -> Collected:
    """Observations from sources of scores and, where these hold no losses, sources of losses.

    A source is ``PATH`` or ``FORMAT:PATH``. ``.attrs["notes"]`` of the observations says what was left out,
    interpolated or assumed. Raises OnsetError where there are no scores or losses, where runs cannot be matched, and
    where results contradict themselves.
    """
    options = options or Options()
    found = registry.merged([registry.read(source, options.reading) for source in scores])
    told = registry.merged([registry.read(source, options.reading) for source in losses])
    notes = [*found.notes, *told.notes]
    scored = _with_measures(found, notes)
    found = replace(found, scores=pd.DataFrame())  # of millions of rows, which are worked on from here
    if scored.empty:
        raise OnsetError("the sources hold no scores", where=", ".join(scores), advice=_no_scores(found))
    scored = _prepared(scored, SCORES, options, notes, ["task", "metric"], "score")
    if not set_aside:
        _refuse_disagreement(scored)
    curves = told.losses if losses else found.losses
    if losses and (len(found.losses) or ("loss" in scored and scored.loss.notna().any())):
        notes.append("the score sources hold losses too, which are not used: those after --losses are")
    if losses and curves.empty:
        curves = _losses_of_scores(told.scores)
    if curves.empty:
        placed, axes = _with_own_loss(scored, scores), pd.DataFrame()
        _known_axes(placed, options.axes)
    else:
        curves = _prepared(curves, LOSSES, options, notes, ["loss_name", "loss_unit"], "loss")
        placed, axes = _placed(scored.drop(columns="loss", errors="ignore"), curves, options, notes)
    placed = _described(placed.drop(columns=["source", "training"], errors="ignore"), options, notes)
    placed.attrs["notes"] = notes
    frame = observations.sift(placed)[0] if set_aside else observations.check(placed, where=", ".join(scores))
    return Collected(frame, axes, found.items)


def _no_scores(found: Results) -> str:
    if len(found.losses):
        return "they hold losses: give them after --losses, and the scores first"
    return "see docs/adapters.md for what each format holds"


def _with_measures(found: Results, notes: list[str]) -> pd.DataFrame:
    """Published scores, and our metrics of single questions where the source does not publish the same."""
    if found.items.empty:
        return found.scores
    measured = measures.measure(found.items)
    measured["step"] = measured.step.astype(float).where(measured.step >= 0)  # no step is -1 in item rows
    left_out = int(measured.left_out.sum())
    if left_out:
        notes.append(f"questions that could not be scored, left out of their scores: {left_out}")
    measured = measured.drop(columns="left_out").assign(
        direction=measured.metric.map({name: one.info.direction for name, one in measures.METRICS.items()})
    )
    if found.scores.empty:
        return measured
    return pd.concat([found.scores, _new(measured, found.scores)], ignore_index=True)


SAME = {
    "accuracy": ("acc", "accuracy"),
    "exact_match": ("exact_match", "em", "accuracy"),
    "accuracy_per_byte": ("acc_norm",),
}
"""Our metrics that a source may publish itself, under these names: not measured twice."""


def _new(measured: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """The measured rows whose metric the source does not publish for the same checkpoint and task."""

    def places(frame: pd.DataFrame, metric: pd.Series) -> list[tuple[str, float, str, str]]:
        steps = frame.step.fillna(-1) if "step" in frame else pd.Series(-1.0, frame.index)
        return list(zip(frame.run, steps.astype(float), frame.task, metric, strict=True))

    have = set(places(published, published.metric.str.split(r"[:,]", regex=True).str[0]))
    twice = [
        any((run, step, task, name) in have for name in SAME.get(metric, (metric,)))
        for run, step, task, metric in places(measured, measured.metric)
    ]
    return measured[~np.array(twice, dtype=bool)]


def _losses_of_scores(scored: pd.DataFrame) -> pd.DataFrame:
    """The losses of a table of observations, given as a source of losses."""
    if scored.empty or "loss" not in scored or scored.loss.isna().all():
        raise OnsetError("the sources after --losses hold no losses", advice="see docs/adapters.md for those that do")
    columns = [name for name in (*LOSSES, "family") if name in scored]
    return scored[columns].drop_duplicates().dropna(subset=["loss"])


def _source_of(frame: pd.DataFrame) -> str | None:
    return ", ".join(map(str, frame.source.unique()[:3])) if "source" in frame else None


def _prepared(
    frame: pd.DataFrame, columns: Sequence[str], options: Options, notes: list[str], keys: list[str], value: str
) -> pd.DataFrame:
    """One side with all its columns, its runs named, restarts joined, and tokens by step."""
    made = frame.copy(deep=False)
    defaults: dict[str, Any] = {"loss_name": "loss", "loss_unit": units.NATS, "training": False, "derived": False}
    for column in columns:
        if column not in made:
            made[column] = defaults.get(column, np.nan)
        if column in defaults:
            made[column] = distinct.filled(made[column], defaults[column])
    nameless = [name for name in ("run", "task", "metric") if name in columns and bool(made[name].isna().any())]
    if nameless:
        raise OnsetError(
            f"{int(made[nameless[0]].isna().sum())} {value}s do not say their {nameless[0]}", where=_source_of(made),
            advice="fill in the column, or leave these rows out",
        )  # fmt: skip
    for column in ("step", "tokens", "params", value):
        made[column] = distinct.numbers(made[column]) if column != value else made[column]
    made["run"] = distinct.texts(made.run, str.strip)
    per_step = made.run.map({run: options.tokens_per_step.of(run) for run in made.run.unique()}).astype(float)
    made["tokens"] = made.tokens.where(per_step.isna(), made.step * per_step)
    if options.rename:
        made["run"] = distinct.texts(made.run, lambda run: _renamed(run, options.rename))
    made = _restarts_joined(_purged(made, notes, keys), options, notes, keys)
    again = made.run.map({run: options.tokens_per_step.of(run) for run in made.run.unique()}).astype(float)
    made["tokens"] = made.tokens.fillna(made.step * again)
    if made.tokens.isna().any():
        made["tokens"] = made.groupby("run", group_keys=False)[["step", "tokens"]].apply(_filled)["tokens"]
    if value == "loss":
        made = _measured_first(made.astype({"training": bool, "derived": bool}))
    columns = ["run", "step", "tokens", "params", *keys, value]
    if (alike := distinct.repeated(made, columns)).any():
        alike[alike] = made[alike].duplicated(columns)
        made = made[~alike]
    return made.reset_index(drop=True)


def _measured_first(losses: pd.DataFrame) -> pd.DataFrame:
    """A loss before the logarithm of a perplexity of the same checkpoint, which was rounded on its way."""
    place = ["run", "step", "tokens", "loss_name", "loss_unit"]
    measured = losses.assign(measured=~losses.derived).groupby(place, dropna=False).measured.transform("any")
    return losses[~(losses.derived & measured)]


def _renamed(run: str, pairs: Sequence[tuple[str, str]]) -> str:
    return next((new for old, new in pairs if run == old or fnmatchcase(run, old)), run)


def _filled(rows: pd.DataFrame) -> pd.DataFrame:
    """Missing tokens of a run from its steps, where the other rows have one number of tokens a step."""
    known = rows[rows.tokens.notna() & (rows.step > 0)]
    missing = rows.tokens.isna() & rows.step.notna()
    if not missing.any() or known.empty:
        return rows
    ratio = known.tokens / known.step
    if ratio.max() <= ratio.min() * 1.001:
        return rows.assign(tokens=rows.tokens.where(~missing, rows.step * ratio.median()))
    return rows


def _purged(frame: pd.DataFrame, notes: list[str], keys: list[str]) -> pd.DataFrame:
    """Values that a restart took back: written before a value of the same or an earlier step (``wall_time``)."""
    if "wall_time" not in frame or frame.wall_time.isna().all():
        return frame
    ordered = frame.sort_values("wall_time", kind="stable", na_position="first")
    steps = ordered.step.iloc[::-1].groupby([ordered[key] for key in ("run", *keys)], dropna=False)
    least_after = steps.cummin().groupby([ordered[key] for key in ("run", *keys)], dropna=False).shift(1)
    stale = ordered.wall_time.notna() & (ordered.step >= least_after.reindex(ordered.index))
    if stale.any():
        notes.append(f"values that a restart of the training took back, left out: {int(stale.sum())}")
    return frame.drop(index=ordered.index[stale]).drop(columns="wall_time")


def _restarts_joined(frame: pd.DataFrame, options: Options, notes: list[str], keys: list[str]) -> pd.DataFrame:
    """The restarts of one training as one run: where several have a step, the latest counts, and never their sum."""
    if options.restarts is None:
        return _told_of_restarts(frame, notes)
    fields = {run: options.restarts.match(run) or {} for run in frame.run.unique()}
    named = {run: found for run, found in fields.items() if {"run", "restart"} <= found.keys()}
    if not named:
        return frame
    order = frame.run.map({run: int(found["restart"]) for run, found in named.items()}).fillna(-1)
    made = frame.assign(run=frame.run.map(lambda run: named[run]["run"] if run in named else run), _restart=order)
    made = made.sort_values("_restart", kind="stable")
    last = made.groupby(["run", "step", "tokens", *keys], dropna=False)._restart.transform("max")
    kept = made[made._restart == last]
    several = ", ".join(sorted({found["run"] for found in named.values()})[:4])
    notes.append(f"{len(named)} restarts joined to the runs {several}")
    if len(kept) < len(made):
        lost, what = len(made) - len(kept), "losses" if "loss_name" in keys else "scores"
        notes.append(f"{what} of an earlier restart at a step that a later one has too, left out: {lost}")
    return kept.drop(columns="_restart").sort_index()


def _told_of_restarts(frame: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    usual = Pattern.parse("{run}-run-{restart}")
    found = [match["run"] for run in frame.run.unique() if (match := usual.match(str(run)))]
    if len(found) > len(set(found)):
        notes.append(f"{len(found)} runs look like restarts of {len(set(found))}: --restarts '{usual.text}' joins them")
    return frame


def _refuse_disagreement(scored: pd.DataFrame) -> None:
    """Two sources that give one score two values: the mean of the two is neither."""
    keys = ["run", "step", "tokens", "task", "metric"]
    axis = [name for name in ("loss_name", "loss_unit") if name in scored]
    scored = scored[distinct.repeated(scored, [*keys, *axis])]
    values = distinct.numbers(scored.score)
    spread = values.groupby([scored[key] for key in (*keys, *axis)], dropna=False).transform("nunique") > 1
    if spread.any():
        first = scored[spread].iloc[0]
        same = ((scored[keys] == first[keys]) | (scored[keys].isna() & first[keys].isna())).all(axis=1)
        raise OnsetError(
            f"two results disagree on task '{first.task}', {first.metric}, of {first.run}: {values[same].tolist()[:4]}",
            where=", ".join(map(str, scored[same].source.unique())) if "source" in scored else None,
            advice="move away the file that does not count; --restarts '{run}-run-{restart}' joins restarts",
        )


def _known_axes(placed: pd.DataFrame, wanted: Sequence[str]) -> None:
    """Raise OnsetError for a loss that was asked for and that a table with losses of its own does not name."""
    known = sorted({str(name) for name in placed.loss_name.unique()}) if "loss_name" in placed else ["loss"]
    for text in wanted:
        if text not in known and text.rpartition(":")[0] not in known:
            raise OnsetError(f"there is no loss '{text}'", advice=did_you_mean(text, known))


def _with_own_loss(scored: pd.DataFrame, scores: Sequence[str]) -> pd.DataFrame:
    """Scores that have their losses beside them."""
    if "loss" in scored and scored.loss.notna().any():
        return scored
    runs = ", ".join(sorted(scored.run.unique())[:5])
    raise OnsetError(
        f"the sources hold no losses for {runs}",
        where=", ".join(scores),
        advice="--losses SOURCE: a table with run, step, tokens, loss; a trainer's log; or a folder of 'onset loss'",
    )


def _placed(
    scored: pd.DataFrame, curves: pd.DataFrame, options: Options, notes: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The scores on the chosen axis of losses, and all axes at their checkpoints."""
    checkpoints = scored.drop_duplicates(["run", "step", "tokens"])[["run", "step", "tokens"]]
    axes: dict[tuple[str, str], pd.DataFrame] = {}
    failed: list[join.NothingPlacedError] = []
    for (name, unit), curve in curves.groupby(["loss_name", "loss_unit"], sort=True):
        try:
            axes[str(name), str(unit)] = join.join(checkpoints, curve, gap=options.gap).frame
        except join.NothingPlacedError as error:
            failed.append(error)
    if not axes:
        raise failed[0]
    order = _chosen(axes, options.axes)
    parts: list[pd.DataFrame] = []
    left = scored
    for name, unit in order:
        curve = curves[(curves.loss_name == name) & (curves.loss_unit == unit)]
        rows = left[left.run.isin(axes[name, unit].run)]
        joined = join.join(rows, curve, gap=options.gap)
        parts.append(joined.frame)
        notes += [f"{name}: {note}" for note in joined.notes]
        left = left[~left.run.isin(rows.run)]
    others = [
        f"{name}" if unit == units.NATS else f"{name}:{unit}"
        for name, unit in sorted(axes)
        if (name, unit) not in order
    ]
    if others:
        used = ", ".join(name for name, _ in order)
        notes.append(f"the loss is {used}; {len(others)} others are at hand for --loss: {', '.join(others[:6])}")
    if len(left):
        notes.append(f"scores of runs without that loss, left out: {len(left)} ({', '.join(left.run.unique()[:3])})")
    kept = ["run", "step", "tokens", "loss_name", "loss_unit", "loss"]
    table = pd.concat([axes[key].reindex(columns=kept) for key in sorted(axes)], ignore_index=True)
    return pd.concat(parts, ignore_index=True), table if len(axes) > 1 else pd.DataFrame()


USUAL = ("validation", "val", "eval", "c4_en", "c4", "pile")
"""Names of losses that are taken before others that as many checkpoints have."""


def _chosen(axes: dict[tuple[str, str], pd.DataFrame], wanted: Sequence[str]) -> list[tuple[str, str]]:
    """The axes that the table stands on: the one that was asked for, else the one that most checkpoints have, and
    further ones for runs that have no such loss."""
    if wanted:
        return [_named(axes, text) for text in wanted]

    def preference(key: tuple[str, str]) -> tuple[int, bool, int, bool, int, str]:
        frame = axes[key]
        name = key[0].rpartition("/")[2]
        usual = USUAL.index(name) if name in USUAL else len(USUAL)
        return (-frame.run.nunique(), key[0] == TRAINING, -len(frame), key[1] != units.NATS, usual, key[0])

    order: list[tuple[str, str]] = []
    missing = {run for frame in axes.values() for run in frame.run}
    for key in sorted(axes, key=preference):
        if missing & set(axes[key].run):
            order.append(key)
            missing -= set(axes[key].run)
    return order


def _named(axes: dict[tuple[str, str], pd.DataFrame], wanted: str) -> tuple[str, str]:
    """The axis that ``NAME`` or ``NAME:UNIT`` means; nats per token come first."""
    name, _, unit = wanted.rpartition(":")
    found = [key for key in axes if key[0] == wanted or (key[0] == name and key[1] == units.loss_unit(unit))]
    if not found:
        raise OnsetError(f"there is no loss '{wanted}'", advice=did_you_mean(wanted, [name for name, _ in axes]))
    return min(found, key=lambda key: key[1] != units.NATS)


def _described(placed: pd.DataFrame, options: Options, notes: list[str]) -> pd.DataFrame:
    """Sizes, families and chance levels where they are known."""
    runs = [str(run) for run in placed.run.unique()]
    unused = options.params.unused(runs)
    if unused:
        raise OnsetError(f"--params: there is no run '{unused[0]}'", advice=did_you_mean(unused[0], runs))
    given = placed.run.map({run: options.params.of(run) for run in runs}).astype(float)
    made = placed.assign(params=given.fillna(distinct.numbers(placed["params"])))
    named = made.run.map({run: names.size(run) for run in runs}).astype(float)
    guessed = made.params.isna() & named.notna()
    if guessed.any():
        notes.append(
            f"sizes read from the names of runs: {', '.join(sorted(made.run[guessed].unique())[:5])} (--params)"
        )
        made["params"] = made.params.fillna(named)
    for column, option in (("params", "--params RUN=N"), ("tokens", "--tokens-per-step N or RUN=N")):
        lost = made.run[made[column].isna()].unique()
        if len(lost):
            raise OnsetError(f"no {column} are known for {', '.join(map(str, lost[:5]))}", advice=option)
    if options.family is not None:
        made["family"] = options.family
    return _with_chance(made, options, notes)


def _numbers(made: pd.DataFrame, column: str) -> pd.Series:
    """A column as numbers; a cell that is none and not empty is an OnsetError."""
    cells = made[column]
    values = distinct.numbers(cells)
    words = cells[values.isna() & cells.notna()].astype("str").str.strip()
    bad = words[(words != "") & (words.str.lower() != "nan")]
    if len(bad):
        raise OnsetError(
            f"{column} {short(str(bad.iloc[0]))} is not a number", where=_source_of(made),
            advice="correct the cell, or leave it empty",
        )  # fmt: skip
    return values


def _chance_of(task: object, metric: str) -> float | None:
    return chance_of(str(task), metric)


def _with_chance(made: pd.DataFrame, options: Options, notes: list[str]) -> pd.DataFrame:
    """Chance levels and numbers of questions: those of the source, else as given, else of public tasks."""
    tasks = [str(task) for task in made.task.unique()]
    for option, values in (("--chance", options.chance), ("--questions", options.questions)):
        if unused := values.unused(tasks):
            raise OnsetError(f"{option}: there is no task '{unused[0]}'", advice=did_you_mean(unused[0], tasks))
    counted = made.task.map({task: options.questions.of(task) for task in tasks}).astype(float)
    made["n_examples"] = _numbers(made, "n_examples").fillna(counted)
    given = made.task.map({task: options.chance.of(task) for task in tasks}).astype(float)
    made["chance"] = _numbers(made, "chance")
    made["chance"] = made.chance.fillna(given.where(distinct.each(made.metric, guessed).astype(bool)))
    known = pd.Series(np.nan, made.index)
    for metric in made.metric.unique():  # a level by task
        of_metric = made.metric == metric
        levels = distinct.each(made.task[of_metric], partial(_chance_of, metric=str(metric)))
        known[of_metric] = levels.astype(float)
    fill = made.chance.isna() & known.notna()
    if fill.any():
        made["chance"] = made.chance.fillna(known)
        notes.append("chance levels of public tasks filled in: " + ", ".join(sorted(made.task[fill].unique())[:12]))
    return made
