"""The six claims of Du et al. 2024 (arXiv 2403.15796), judged one by one on a table: holds, fails or inconclusive.

Each claim is asked of every task under its headline metric, with the same tests as the findings, and counted. A count
speaks against a claim only where it is more than tests at their level err by chance; what no test can tell is not
counted for either side. A claim about tasks in general needs ``FEWEST_TASKS`` of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from onset.results import Analysis, Claim, Finding, Interval
from onset.results.text import interval
from onset.stats.prediction import extrapolation
from onset.stats.predictors import predictors
from onset.stats.thinning import thinned
from onset.tables.distinct import plain

Judgement = Literal["holds", "fails", "inconclusive"]

STATEMENTS = (
    "At equal loss models score the same, whatever their size and number of training tokens: one curve for all.",
    "Against training compute the scores do not fall on one curve.",
    "Some abilities rise from the start as the loss falls; others stay at chance down to a loss of their own.",
    "Thresholds under accuracy are confirmed by continuous metrics.",
    "An emergent ability cannot be predicted by extrapolating from models of higher loss.",
    "The loss on the whole mix predicts the tasks of each of its languages.",
)
"""The claims in our words, in the paper's order."""

FEWEST_TASKS = 5
"""With fewer tasks (or emergent abilities) claims 3 and 5 are inconclusive: two tasks say nothing of tasks."""
FEWEST_OF_A_KIND = 2
"""Tasks with a threshold, and tasks without one, that claim 3 needs to hold."""
ERR = 0.05
"""Share of tests that may err: more than that, by a binomial test at the same level, speaks against a claim."""
WORSE = 0.05
"""R² by which a language's own loss may be better than the loss on the whole mix, and the claim still holds."""


def claims(analysis: Analysis) -> tuple[Claim, ...]:
    """The six claims on the analysis' first loss measure; measures must have been compared for the sixth."""
    if not analysis.findings:
        return ()
    name = analysis.findings[0].loss_name
    found = analysis.headlines(name)
    obs = analysis.observations[analysis.observations.loss_name == name]
    judged = (
        _one_curve(found), _not_of_compute(found), _two_kinds(found), _confirmed(analysis, found),
        _unpredicted(found, obs, analysis.level), _both_languages(analysis, found, analysis.level),
    )  # fmt: skip
    return tuple(
        Claim(number=number, statement=statement, verdict=verdict, why=why)
        for number, (statement, (verdict, why)) in enumerate(zip(STATEMENTS, judged, strict=True), start=1)
    )


def with_claims(analysis: Analysis) -> Analysis:
    """The analysis with its ``claims``: one entry a claim with its verdict and the numbers behind it."""
    return analysis.model_copy(update={"claims": claims(analysis)})


def _unlikely(count: int, of: int) -> bool:
    """Whether so many of so many tests are more than err by chance."""
    return count > 0 and float(stats.binomtest(count, of, ERR, alternative="greater").pvalue) <= ERR + 1e-9


def _counted(within: int, beyond: int, asked: int) -> Judgement:
    """``holds`` where most are shown within and no more are beyond than tests err, ``fails`` where more are."""
    if _unlikely(beyond, asked):
        return "fails"
    return "holds" if 2 * within > asked else "inconclusive"


def _one_curve(found: Sequence[Finding]) -> tuple[Judgement, str]:
    """Claim 1: effects of size and of tokens at equal loss."""
    told, verdicts = [], []
    for name, words in (("params", "parameters"), ("tokens", "training tokens")):
        effects = [effect for finding in found if (effect := _effect(finding, name))]
        if not effects:
            told.append(f"of {words} nothing can be said: no task shows an ability over several of them")
            continue
        equivalent, differs = _count(effects, "equivalent"), _count(effects, "differs")
        verdicts.append(_counted(equivalent, differs, len(effects)))
        told.append(
            f"ten times the {words}: {equivalent} of {len(effects)} scores are equivalent (within the margin), "
            f"{differs} differ, {len(effects) - equivalent - differs} are inconclusive; {_mean(effects)}"
        )
    if "fails" in verdicts:
        return "fails", "; ".join(told)
    return ("holds" if verdicts and set(verdicts) == {"holds"} else "inconclusive"), "; ".join(told)


def _not_of_compute(found: Sequence[Finding]) -> tuple[Judgement, str]:
    """Claim 2: the effect of size at equal compute, and how well each predicts a size that was held out."""
    pairs = [
        (at_loss, (finding.size_at_equal_compute.pp_per_decade, finding.size_at_equal_compute.verdict))
        for finding in found
        if (at_loss := _effect(finding, "params"))
        and finding.size_at_equal_compute is not None
        and finding.size_at_equal_compute.pp_per_decade is not None
    ]
    if not pairs:
        return "inconclusive", "no task shows an ability over several sizes with known compute"
    verdicts = [verdict for _, (_, verdict) in pairs]
    equivalent, differs = verdicts.count("equivalent"), verdicts.count("differs")
    verdict: Judgement = "inconclusive"
    if _unlikely(differs, len(pairs)) and 2 * differs > len(pairs):
        verdict = "holds"
    elif 2 * equivalent > len(pairs) and not _unlikely(differs, len(pairs)):
        verdict = "fails"
    at_compute = float(np.median([abs(pp) for _, (pp, _) in pairs]))
    why = (
        f"at equal compute ten times the parameters change {differs} of {len(pairs)} scores by more than the margin "
        f"and leave {equivalent} equivalent (median {at_compute:.1f} pp, against "
        f"{_median([one for one, _ in pairs])} pp at equal loss)"
    )
    return verdict, f"{why}; {_held_out(found)}"


def _held_out(found: Sequence[Finding]) -> str:
    both = [
        (loss.r2_held_out, compute.r2_held_out)
        for finding in found
        if finding.verdict in ("emergent", "smooth")
        and (loss := finding.predictors.get("loss")) is not None
        and (compute := finding.predictors.get("flops")) is not None
        and loss.r2_held_out is not None
        and compute.r2_held_out is not None
    ]
    if not both:
        return "no size could be held out"
    wins = sum(by_loss > by_compute for by_loss, by_compute in both)
    medians = np.median(np.array(both), axis=0)
    p = float(stats.binomtest(wins, len(both), 0.5).pvalue)
    return (
        f"a held-out size is predicted better by loss on {wins} of {len(both)} tasks (median R² {medians[0]:.2f} "
        f"against {medians[1]:.2f}; sign test p = {p:.2g})"
    )


def _two_kinds(found: Sequence[Finding]) -> tuple[Judgement, str]:
    """Claim 3: abilities with and without a threshold, and how far apart the thresholds are."""
    states = {name: [one for one in found if one.verdict == name] for name in ("emergent", "smooth", "at_chance")}
    emergent, smooth = len(states["emergent"]), len(states["smooth"])
    verdict: Judgement = "inconclusive"
    if len(found) >= FEWEST_TASKS:
        if min(emergent, smooth) >= FEWEST_OF_A_KIND:
            verdict = "holds"
        elif min(emergent, smooth) == 0 and max(emergent, smooth) > len(found) / 2:
            verdict = "fails"
    told = (
        f"of {len(found)} tasks {emergent} have a threshold, {smooth} rise without one, {len(states['at_chance'])} are "
        f"not above chance, {len(found) - sum(map(len, states.values()))} are inconclusive"
    )
    if len(found) < FEWEST_TASKS:
        told += f"; fewer than {FEWEST_TASKS} tasks say nothing of tasks in general"
    return verdict, told + _apart(states["emergent"])


def _apart(emergent: Sequence[Finding]) -> str:
    """How far apart the thresholds of one table are, in words; empty with fewer than two."""
    where = sorted(((one.threshold, one.task) for one in emergent if one.threshold), key=lambda pair: pair[0].loss)
    if len(where) < 2:
        return ""
    apart = sum(
        one.high < other.low or other.high < one.low
        for place, (one, _) in enumerate(where)
        for other, _ in where[place + 1 :]
    )
    ends = [f"{interval(one.loss, one.low, one.high)} ({task})" for one, task in (where[-1], where[0])]
    pairs = math.comb(len(where), 2)
    return f"; thresholds from {ends[0]} to {ends[1]}, {apart} of {pairs} pairs of intervals do not overlap"


def _confirmed(analysis: Analysis, found: Sequence[Finding]) -> tuple[Judgement, str]:
    """Claim 4: which thresholds stand under the continuous metrics of the same items."""
    compared = {(one.task, one.loss_name): one.verdict for one in analysis.metric_comparisons}
    emergent = [one for one in found if one.verdict == "emergent"]
    if not emergent:
        return "inconclusive", "no task has a threshold under its headline metric"
    verdicts = [compared.get((one.task, one.loss_name)) for one in emergent]
    confirmed, absent = verdicts.count("model"), verdicts.count("metric")
    verdict: Judgement = "inconclusive"
    if 2 * confirmed > len(emergent) and not absent:
        verdict = "holds"
    elif 2 * absent > len(emergent):
        verdict = "fails"
    return verdict, (
        f"of {len(emergent)} thresholds under discontinuous metrics {confirmed} are confirmed by continuous metrics, "
        f"{absent} are absent under them, {len(emergent) - confirmed - absent} are inconclusive"
    )


def _unpredicted(found: Sequence[Finding], obs: pd.DataFrame, level: float) -> tuple[Judgement, str]:
    """Claim 5: what the models above each threshold predict of the lowest losses, and what was seen."""
    made = [
        told
        for finding in found
        if finding.verdict == "emergent" and finding.threshold
        for told in [extrapolation.foretell(_rows(obs, finding), _interval(finding), level)]
        if told is not None
    ]
    if not made:
        return "inconclusive", "no emergent ability has enough checkpoints above its threshold to extrapolate from"
    missed = sum(told.missed for told in made)
    verdict: Judgement = "inconclusive"
    if len(made) >= FEWEST_TASKS:
        if 2 * missed > len(made) and _unlikely(missed, len(made)):
            verdict = "holds"
        elif 2 * missed < len(made) and not _unlikely(missed, len(made)):
            verdict = "fails"
    predicted, seen = np.median([told.foretold for told in made]), np.median([told.seen for told in made])
    few = (
        ""
        if len(made) >= FEWEST_TASKS
        else f"; fewer than {FEWEST_TASKS} abilities say nothing of abilities in general"
    )
    return verdict, (
        f"extrapolation from the models above the threshold predicts too little at the lowest losses on {missed} of "
        f"{len(made)} emergent abilities, the observed score above the {level:.0%} prediction interval (median excess "
        f"over chance: predicted {predicted:.1f} pp, observed {seen:.1f} pp){few}"
    )


def _interval(finding: Finding) -> Interval:
    assert finding.threshold is not None, "an emergent ability has a threshold"
    return finding.threshold.interval


def _both_languages(analysis: Analysis, found: Sequence[Finding], level: float) -> tuple[Judgement, str]:
    """Claim 6: R² of a held-out size by the loss on the whole mix, and by the loss on the task's own language."""
    placed = analysis.placed
    axis, unit = found[0].loss_name, found[0].loss_unit
    if placed is None or placed.empty or "@" in axis:
        return "inconclusive", "the table has no loss on a mix beside the losses of its languages"
    placed = placed[placed.loss_unit == unit]
    told, verdicts = [], []
    for language in sorted(set(placed.language) - {""}):
        pairs = _by_both(placed[placed.language == language], found, axis, f"{axis}@{language}")
        if len(pairs) < 2:
            continue
        gain = pairs[:, 1] - pairs[:, 0]
        reach = float(stats.t.ppf(0.5 + level / 2, len(gain) - 1)) * float(gain.std(ddof=1)) / math.sqrt(len(gain))
        low, high = gain.mean() - reach, gain.mean() + reach
        verdicts.append("holds" if high < WORSE else "fails" if low > WORSE else "inconclusive")
        told.append(
            f"{language}: median R² {np.median(pairs[:, 0]):.2f} by the whole loss over {len(pairs)} tasks, their own "
            f"language's loss adds {gain.mean():+.3f} [{low:+.3f}, {high:+.3f}]"
        )
    if len(verdicts) < 2:
        return "inconclusive", "; ".join(told) or "no two languages have tasks that can tell losses apart"
    if "fails" in verdicts:
        return "fails", "; ".join(told)
    return ("holds" if set(verdicts) == {"holds"} else "inconclusive"), "; ".join(told)


def _by_both(placed: pd.DataFrame, found: Sequence[Finding], axis: str, own: str) -> np.ndarray[Any, Any]:
    """R² of a held-out size on both axes, one row a task that has an ability and both."""
    able = {(one.task, one.metric) for one in found if one.verdict in ("emergent", "smooth")}
    rows = []
    for pair, of_task in placed.groupby(["task", "metric"], sort=True):
        if pair not in able:
            continue
        r2 = [predictors(of_task[of_task.loss_name == name])["loss"]["r2_held_out"] for name in (axis, own)]
        if None not in r2:
            rows.append(r2)
    return np.array(rows, dtype=float).reshape(len(rows), 2)


def _rows(obs: pd.DataFrame, finding: Finding) -> pd.DataFrame:
    return thinned(plain(obs[(obs.task == finding.task) & (obs.metric == finding.metric)]))


def _effect(finding: Finding, name: str) -> tuple[str, float, float, float] | None:
    """Verdict, effect in pp and its interval of one factor; None where it was not asked."""
    size, factor = finding.size_effect, finding.factor(name)
    values: tuple[str, float | None, float | None, float | None]
    if name == "params" and size is not None:
        values = size.verdict, size.pp_per_decade, size.low, size.high
    elif factor is not None:
        values = factor.verdict, factor.pp, factor.low, factor.high
    else:
        return None
    verdict, pp, low, high = values
    return None if pp is None or low is None or high is None else (verdict, pp, low, high)


def _count(effects: Sequence[tuple[str, float, float, float]], verdict: str) -> int:
    return sum(effect[0] == verdict for effect in effects)


def _mean(effects: Sequence[tuple[str, float, float, float]]) -> str:
    """The mean effect; its interval takes the errors of all tasks as one, which can only be too wide."""
    pp, low, high = np.mean([effect[1:] for effect in effects], axis=0)
    return f"mean {pp:+.1f} pp [{low:+.1f}, {high:+.1f}], median size {_median(effects)} pp"


def _median(effects: Sequence[tuple[str, float, float, float]]) -> str:
    return f"{np.median([abs(effect[1]) for effect in effects]):.1f}"
