"""Measures of item rows: every score is computed from the stored rows, and none needs the model again.

To add a metric, write a function of ``Answers`` that gives one number an item (NaN where it cannot be told)
and add one ``Measure`` to ``METRICS`` (and the metric to the registry in ``metrics.info``). A metric of one's own
needs no edit: write ``@metric(direction="higher")`` above the function and name it as ``FILE.py:NAME``.

Probabilities of choices are the softmax of the summed log-probabilities of the choices of one item, whatever
their number. Three rules hold for every metric:

* An item is left out, and counted in ``left_out``, when a number that the metric needs is absent or not finite.
  A failure is never a score; a group with no usable item has no row.
* The chance level is the best score of a predictor that ignores the question: uniform over the choices, exact
  for items with different numbers of them. Where all items offer the same labels (letters, yes and no: the
  bytes of choice j agree over the items) and the right ones are not balanced (chi-squared, 1 in 1000), it is the
  score of the predictor that knows how often each label is right.
* The standard error is the sample's, s / sqrt(n), but never below that of one Jeffreys prior on n items that
  all agree, so that neither 0 of n nor n of n passes for certainty. Items count as independent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from typing import Literal

import numpy as np
import pandas as pd

from onset.errors import OnsetError, did_you_mean
from onset.metrics import info
from onset.metrics.info import ChanceRule, Direction, Error, MetricInfo
from onset.metrics.items import Answers, Bools, Floats, Ints, arranged
from onset.study.python_file import attribute, is_python

GROUP = "onset.metrics"
"""Entry points of packages that offer metrics."""
OWN_RANK = 50
"""Metrics of one's own stand behind onset's, and before those that are not known."""
NATS_PER_BIT = float(np.log(2.0))
BALANCE_NORMAL_QUANTILE = 3.0902
"""Standard normal quantile of 0.999: balance of labels is doubted at 1 in 1000."""


@dataclass(frozen=True)
class Measure:
    """How a metric of the registry is computed: one number an item, averaged over the items of a (run, step, task)."""

    name: str
    applies: Literal["choice", "open", "both"]
    of: Callable[[Answers], Floats]
    """The value of each item; NaN leaves the item out."""
    usual: bool = True
    """Whether it is measured when no metric is named."""

    @property
    def info(self) -> MetricInfo:
        """Direction, range, chance rule and label: the registry's."""
        known = info.info(self.name)
        return replace(known, chance="constant_answer") if self.name == "pass@1" else known


def _accuracy(answers: Answers) -> Floats:
    return answers.best(answers.logprob)


def _accuracy_per_byte(answers: Answers) -> Floats:
    size = np.where(answers.bytes > 0, answers.bytes, np.nan)
    return answers.best(answers.logprob / size)


def _accuracy_unconditional(answers: Answers) -> Floats:
    return answers.best(answers.logprob - answers.logprob_uncond)


def _exact_match(answers: Answers) -> Floats:
    return answers.correct


def _correct_choice_prob(answers: Answers) -> Floats:
    return np.exp(answers.gold(answers.log_probability))


def _brier(answers: Answers) -> Floats:
    # sum_j (y_j - p_j)^2 = sum_j p_j^2 - 2 p_gold + 1; computed per choice to stay exact near 0.
    error = np.exp(answers.log_probability)
    error[answers.gold_row] = -np.expm1(answers.gold(answers.log_probability))
    return answers.total(error**2)


def _choice_log_loss(answers: Answers) -> Floats:
    return -answers.gold(answers.log_probability)


def _gold_bits_per_byte(answers: Answers) -> Floats:
    size = answers.gold(answers.bytes)
    return -answers.gold(answers.logprob) / (NATS_PER_BIT * np.where(size > 0, size, np.nan))


def pass_at(k: int) -> Measure:
    """pass@k: the chance that one of k samples of an item is right, estimated without bias from its n >= k samples.

    1 - C(n - c, k) / C(n, k), where c of the n are right (Chen et al. 2021, arXiv 2107.03374, equation 1). Items with
    fewer than k samples are left out. Chance of pass@1 is that of the best constant answer.
    """

    def of(answers: Answers) -> Floats:
        n, wrong = answers.sampled, answers.sampled - answers.sampled_correct
        missed = np.ones(len(n))
        for place in range(k):  # the quotient of the two binomials, factor by factor
            missed *= np.clip(wrong - place, 0.0, None) / np.where(n > place, n - place, np.nan)
        return np.where(n >= k, 1.0 - missed, np.nan)

    return Measure(f"pass@{k}", "open", of, usual=k == 1)


def _coverage(answers: Answers) -> Floats:
    return np.where(np.isnan(answers.sampled), np.nan, (answers.sampled_correct > 0).astype(np.float64))


METRICS: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure("accuracy", "choice", _accuracy),
        Measure("exact_match", "open", _exact_match),
        Measure("correct_choice_prob", "choice", _correct_choice_prob),
        Measure("brier", "choice", _brier),
        Measure("choice_log_loss", "choice", _choice_log_loss),
        Measure("gold_bits_per_byte", "both", _gold_bits_per_byte),
        pass_at(1),
        Measure("coverage", "open", _coverage),
        Measure("accuracy_per_byte", "choice", _accuracy_per_byte, usual=False),
        Measure("accuracy_unconditional", "choice", _accuracy_unconditional, usual=False),
    )
}
"""The measures by name; ``usual=False`` are computed only when named."""
USUAL = tuple(name for name, one in METRICS.items() if one.usual)


def metric(
    *,
    direction: Direction | None,
    low: float = -np.inf,
    high: float = np.inf,
    continuous: bool | None = None,
    chance: ChanceRule | None = None,
    applies: Literal["choice", "open", "both"] = "both",
    label: str = "",
    unit: str = "",
) -> Callable[[Callable[[Answers], Floats]], Measure]:
    """Make a metric of one's own of a function from ``Answers`` to one number an item; it bears the function's name.

    The arguments are what the registry knows of a metric (``MetricInfo``). NaN leaves an item out.
    """

    def made(of: Callable[[Answers], Floats]) -> Measure:
        error: Error = "bounded" if np.isfinite(high - low) else "unknown"
        name = of.__name__
        info.register(MetricInfo(name, direction, low, high, continuous, error, chance, OWN_RANK, label, unit))
        return Measure(name, applies, of, usual=False)

    return made


def lookup(reference: str) -> Measure:
    """The measure of a name of ``METRICS``, of ``pass@K``, of an entry point ``onset.metrics``, or of ``FILE.py:NAME``.

    Raises OnsetError for a name that is not known, and for an object that ``@metric`` has not made.
    """
    if reference in METRICS:
        return METRICS[reference]
    if (samples := samples_of(reference)) is not None:
        return pass_at(samples)
    points = metadata.entry_points(group=GROUP)
    if is_python(reference):
        _, found = attribute(reference, default="metric")
    elif reference in points.names:
        found = points[reference].load()
    else:
        raise OnsetError(
            f"no metric is called '{reference}'",
            advice=f"{did_you_mean(reference, [*METRICS, *points.names])}; a metric of your own is FILE.py:NAME",
        )
    if not isinstance(found, Measure):
        raise OnsetError(
            "this is no metric", where=reference, advice="write @onset.metrics.measures.metric(...) above it"
        )
    return found


def samples_of(reference: str) -> int | None:
    """The k of ``pass@k``; None for any other metric."""
    found = re.fullmatch(r"pass@([1-9]\d{0,5})", reference)
    return None if found is None else int(found[1])


def check_samples(references: Sequence[str], samples: int) -> None:
    """Raise OnsetError for a ``pass@k`` of more samples than are drawn."""
    for name in references:
        if (wanted := samples_of(name)) is not None and wanted > samples:
            raise OnsetError(
                f"{name} needs {wanted} samples of each answer, and {samples} are drawn",
                advice=f"draw at least {wanted}: --samples, or samples in the study's task",
            )


COLUMNS = ("run", "step", "task", "metric", "score", "stderr", "chance", "n_examples", "left_out")


def measure(
    rows: pd.DataFrame, metrics: Sequence[str] | None = None, *, constant_answer: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """Scores of item rows, one row a (run, step, task, metric).

    ``rows`` has the columns of ``store.tables.ITEMS`` for any number of runs, steps and tasks, in any order.
    ``metrics`` are references as for ``lookup``; by default the usual ones. A metric that does not apply to a task
    (accuracy of free answers), or for which no item has the numbers, has no row. Columns of the result: ``run, step,
    task, metric, score, stderr, chance, n_examples, left_out``; chance is NaN where there is none; ``left_out`` counts
    the items that could not be scored. ``constant_answer`` has, by task, the score of the best constant free answer
    (``Task.constant_answer``): it is the chance of ``exact_match``, which is 0 for a task that is not in it.

    Raises OnsetError, naming the item, when an item has not exactly one right choice, a choice twice or missing.
    """
    chosen = _named(metrics)
    answers = arranged(rows)
    parts = [part for metric in chosen if (part := _scores(metric, answers, constant_answer or {})) is not None]
    if not parts:
        return pd.DataFrame({name: pd.Series(dtype=_dtype(name)) for name in COLUMNS})
    result = pd.concat(parts, ignore_index=True)
    order = np.argsort(result.pop("_group").to_numpy(), kind="stable")
    return result.iloc[order].reset_index(drop=True)[list(COLUMNS)]


def item_values(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The value of each item under one metric: columns ``run, step, task, item, value``; NaN where left out.

    For bootstraps over items and for looking at single questions. Errors as in ``measure``.
    """
    answers = arranged(rows)
    known = _named([metric])[0]
    values = _values(known, answers)
    keep = _applies(known, answers)
    frame = answers.groups.iloc[answers.group[keep]].reset_index(drop=True)
    return frame.assign(item=answers.item[keep], value=values[keep])


def _named(metrics: Sequence[str] | None) -> list[Measure]:
    if metrics is None:
        return [METRICS[name] for name in USUAL]
    return [lookup(name) for name in dict.fromkeys(metrics)]


def _dtype(column: str) -> str:
    if column in ("step", "n_examples", "left_out"):
        return "int64"
    return "float64" if column in ("score", "stderr", "chance") else "str"


# Scores ------------------------------------------------------------------------------------------------------------


def _applies(metric: Measure, answers: Answers) -> Bools:
    """Items that the metric is meant for."""
    if metric.applies == "both":
        return np.ones(len(answers.start), dtype=np.bool_)
    return answers.is_choice if metric.applies == "choice" else ~answers.is_choice


def _values(metric: Measure, answers: Answers) -> Floats:
    with np.errstate(invalid="ignore", over="ignore"):
        values = metric.of(answers)
    return np.where(np.isfinite(values), values, np.nan)


def _scores(metric: Measure, answers: Answers, constant: Mapping[str, float]) -> pd.DataFrame | None:
    values = _values(metric, answers)
    meant = _applies(metric, answers)
    told = meant & ~np.isnan(values)
    n = np.bincount(answers.group[told], minlength=len(answers.groups))
    shown = np.flatnonzero(n)
    if not len(shown):
        return None
    left_out = np.bincount(answers.group[meant & ~told], minlength=len(answers.groups))
    score = _mean(values, answers.group, told, n)
    squares = _mean((values - score[answers.group]) ** 2, answers.group, told, n)
    frame = answers.groups.iloc[shown].reset_index(drop=True)
    return frame.assign(
        metric=metric.name,
        score=score[shown],
        stderr=_stderr(metric, score, squares, n)[shown],
        chance=_chance(metric, answers, told, n, constant)[shown],
        n_examples=n[shown].astype(np.int64),
        left_out=left_out[shown].astype(np.int64),
        _group=shown,
    )


def _mean(values: Floats, group: Ints, told: Bools, n: Ints) -> Floats:
    sums = np.bincount(group[told], weights=values[told], minlength=len(n))
    mean: Floats = np.divide(sums, n, out=np.full(len(n), np.nan), where=n > 0)
    return mean


def _stderr(metric: Measure, score: Floats, squares: Floats, n: Ints) -> Floats:
    """Standard error of a mean: the sample's, floored by the Jeffreys rule of the module's head.

    The floor is span * sqrt(a b / ((a + b)^2 (a + b + 1))) with a = 1/2, b = n + 1/2: the standard deviation of
    the posterior of a proportion when 0 of n were seen. One item of an unbounded metric has no standard error.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        sample = np.sqrt(squares / (n - 1))
        floor = np.sqrt(0.5 * (n + 0.5) / ((n + 1.0) ** 2 * (n + 2.0)))
        span = np.abs(score) if metric.info.span is None else np.full(len(n), metric.info.span)
        error = np.fmax(sample, floor * span)
    return np.where((n == 1) & (metric.info.span is None), np.nan, error)


# Chance ------------------------------------------------------------------------------------------------------------


def _chance(metric: Measure, answers: Answers, told: Bools, n: Ints, constant: Mapping[str, float]) -> Floats:
    """Best expected score of a predictor that ignores the question, one entry a group."""
    if metric.info.chance is None:
        return np.full(len(n), np.nan)
    if metric.info.chance == "constant_answer":
        known = answers.groups["task"].map(lambda task: constant.get(task, 0.0)).to_numpy(dtype=np.float64)
        return np.where(n > 0, known, np.nan)
    k = answers.choices.astype(np.float64)
    uniform = {"guess": 1.0 / k, "brier": 1.0 - 1.0 / k, "log": np.log(k)}[metric.info.chance]
    return _mean(_label_chance(metric.info.chance, answers, told, uniform), answers.group, told, n)


def _label_chance(rule: str, answers: Answers, told: Bools, uniform: Floats) -> Floats:
    """The uniform chance of each item, or that of the labels' shares where they are fixed and not balanced.

    Labels are judged apart for each (group, number of choices).
    """
    width = int(answers.choices.max()) + 1
    stratum = answers.group * width + answers.choices
    names, where = np.unique(stratum, return_inverse=True)
    position = answers.choice[answers.gold_row]
    cells = np.bincount((where * width + position)[told], minlength=len(names) * width).reshape(len(names), width)
    k = (names % width).astype(np.float64)
    size = cells.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        chi_squared = np.where(size > 0, (cells**2).sum(axis=1) * k / size - size, 0.0)
        share = cells / size[:, None]
        surprise = -np.where(share > 0, share * np.log(share), 0.0).sum(axis=1)
    biased = chi_squared > _balance_limit(k)
    if biased.any():
        biased &= _fixed_labels(answers, where, len(names), width)
    known = {"guess": share.max(axis=1), "brier": 1.0 - (share**2).sum(axis=1), "log": surprise}[rule]
    chance: Floats = np.where(biased[where], known[where], uniform)
    return chance


def _balance_limit(k: Floats) -> Floats:
    """The 0.999 quantile of chi-squared with k - 1 degrees of freedom (Wilson and Hilferty 1931)."""
    freedom = np.maximum(k - 1.0, 1.0)
    spread = 2.0 / (9.0 * freedom)
    limit: Floats = freedom * (1.0 - spread + BALANCE_NORMAL_QUANTILE * np.sqrt(spread)) ** 3
    return limit


def _fixed_labels(answers: Answers, where: Ints, strata: int, width: int) -> Bools:
    """Strata in which choice j has one size in bytes over all items: the same labels each time."""
    cell = np.repeat(where, answers.choices) * width + answers.choice
    low = np.full(strata * width, np.inf)
    high = np.full(strata * width, -np.inf)
    size = np.nan_to_num(answers.bytes, nan=-1.0)  # an unknown size is no label
    np.minimum.at(low, cell, size)
    np.maximum.at(high, cell, size)
    same = ((low == high) & (low > 0)) | np.isinf(low)
    fixed: Bools = same.reshape(strata, width).all(axis=1)
    return fixed
