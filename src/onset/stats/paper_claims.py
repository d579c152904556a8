"""The six claims of Du et al. 2024 (arXiv 2403.15796), judged one by one on a table: holds, fails or undecided.

Each claim is asked of every task under its headline metric, with the same tests as the findings, and counted. A count
speaks against a claim only where it is more than tests at their level err by chance; what no test can tell is not
counted for either side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from onset.metrics import info as scales
from onset.stats import extrapolation as beforehand
from onset.stats.findings import Analysis, Finding
from onset.stats.predictors import predictors

Judgement = Literal["holds", "fails", "undecided"]

STATEMENTS = (
    "At equal loss models score the same, whatever their size and number of training tokens: one curve for all.",
    "Against training compute the scores do not fall on one curve.",
    "Some abilities rise from the start as the loss falls; others stay at chance down to a loss of their own.",
    "The turning points stay under continuous metrics as under accuracy.",
    "An emergent ability cannot be foreseen by extrapolating from models of higher loss.",
    "The loss on the whole mix foresees the tasks of each of its languages.",
)
"""The claims in our words, in the paper's order."""

ERR = 0.05
"""Share of tests that may err: more than that, by a binomial test at the same level, speaks against a claim."""
WORSE = 0.05
"""R² by which a language's own loss may be better than the loss on the whole mix, and the claim still holds."""


@dataclass(frozen=True)
class Claim:
    """One claim and what the table says of it."""

    number: int
    statement: str
    verdict: Judgement
    why: str


def claims(analysis: Analysis) -> list[Claim]:
    """The six claims on the analysis' first loss axis; axes must have been compared for the sixth."""
    if not analysis.findings:
        return []
    axis = analysis.findings[0].loss_name
    of_axis = [finding for finding in analysis.findings if finding.loss_name == axis]
    found = headlines(of_axis)
    obs = analysis.observations[analysis.observations.loss_name == axis]
    judged = (
        _one_curve(found), _not_of_compute(found), _two_kinds(found), _turns(of_axis),
        _unforeseen(found, obs, analysis.level), _both_languages(analysis, found, analysis.level),
    )  # fmt: skip
    return [
        Claim(number, statement, verdict, why)
        for number, (statement, (verdict, why)) in enumerate(zip(STATEMENTS, judged, strict=True), start=1)
    ]


def with_claims(analysis: Analysis) -> Analysis:
    """The analysis with ``extra["claims"]``: one entry a claim with its verdict and the numbers behind it."""
    return replace(analysis, extra={**analysis.extra, "claims": [asdict(claim) for claim in claims(analysis)]})


def headlines(findings: Sequence[Finding]) -> list[Finding]:
    """One finding a task, under the metric that stands for it."""
    by_task: dict[str, dict[str, Finding]] = {}
    for finding in findings:
        by_task.setdefault(finding.task, {})[finding.metric] = finding
    return [of_task[scales.headline(list(of_task))] for of_task in by_task.values()]


def _unlikely(count: int, of: int) -> bool:
    """Whether so many of so many tests are more than err by chance."""
    return count > 0 and float(stats.binomtest(count, of, ERR, alternative="greater").pvalue) <= ERR + 1e-9


def _counted(within: int, beyond: int, asked: int) -> Judgement:
    """``holds`` where most are shown within and no more are beyond than tests err, ``fails`` where more are."""
    if _unlikely(beyond, asked):
        return "fails"
    return "holds" if 2 * within > asked else "undecided"


def _one_curve(found: Sequence[Finding]) -> tuple[Judgement, str]:
    """Claim 1: effects of size and of tokens at equal loss."""
    told, verdicts = [], []
    for name, words in (("params", "size"), ("tokens", "training tokens")):
        effects = [effect for finding in found if (effect := _effect(finding, name))]
        if not effects:
            told.append(f"of {words} nothing can be said: no task shows an ability over several of them")
            continue
        within, beyond = _count(effects, "collapses"), _count(effects, "size_matters")
        verdicts.append(_counted(within, beyond, len(effects)))
        told.append(
            f"ten times the {'parameters' if name == 'params' else 'tokens'} move {within} of {len(effects)} scores "
            f"within the margin, {beyond} beyond it, {len(effects) - within - beyond} cannot be told; {_mean(effects)}"
        )
    if "fails" in verdicts:
        return "fails", "; ".join(told)
    return ("holds" if verdicts and set(verdicts) == {"holds"} else "undecided"), "; ".join(told)


def _not_of_compute(found: Sequence[Finding]) -> tuple[Judgement, str]:
    """Claim 2: the effect of size at equal compute, and what each foresees of a size that was left out."""
    asked = [(_effect(finding, "params"), finding.extra.get("size_at_equal_compute")) for finding in found]
    pairs = [(at_loss, at_compute) for at_loss, at_compute in asked if at_loss and _known(at_compute)]
    if not pairs:
        return "undecided", "no task shows an ability over several sizes with known compute"
    at_compute = [pair[1] for pair in pairs if pair[1] is not None]
    within, beyond = _count(at_compute, "collapses"), _count(at_compute, "size_matters")
    verdict: Judgement = "undecided"
    if _unlikely(beyond, len(pairs)) and 2 * beyond > len(pairs):
        verdict = "holds"
    elif 2 * within > len(pairs) and not _unlikely(beyond, len(pairs)):
        verdict = "fails"
    why = (
        f"at equal compute ten times the parameters move {beyond} of {len(pairs)} scores beyond the margin in points, "
        f"{within} within it; {_mean(at_compute)}, against {_size([pair[0] for pair in pairs if pair[0]])} points at "
        "equal loss"
    )
    return verdict, f"{why}; {_foresight(found)}"


def _foresight(found: Sequence[Finding]) -> str:
    both = [
        (by_loss, by_compute)
        for finding in found
        if finding.verdict in ("emergent", "smooth")
        and (by_loss := finding.predictors.get("loss", {}).get("r2_left_out")) is not None
        and (by_compute := finding.predictors.get("flops", {}).get("r2_left_out")) is not None
    ]
    if not both:
        return "no size could be left out"
    wins = sum(by_loss > by_compute for by_loss, by_compute in both)
    medians = np.median(np.array(both), axis=0)
    p = float(stats.binomtest(wins, len(both), 0.5).pvalue)
    return (
        f"a left-out size is foreseen better by loss on {wins} of {len(both)} tasks (median R² {medians[0]:.2f} "
        f"against {medians[1]:.2f}; sign test p = {p:.2g})"
    )


def _two_kinds(found: Sequence[Finding]) -> tuple[Judgement, str]:
    """Claim 3: abilities with and without a threshold, and how far apart the thresholds are."""
    states = {name: [one for one in found if one.verdict == name] for name in ("emergent", "smooth", "at_chance")}
    emergent, rising = len(states["emergent"]), len(states["smooth"])
    verdict: Judgement = "undecided"
    if emergent and rising:
        verdict = "holds"
    elif max(emergent, rising) > len(found) / 2:
        verdict = "fails"
    told = (
        f"of {len(found)} tasks {emergent} have a threshold, {rising} rise from the start, "
        f"{len(states['at_chance'])} stay at chance, {len(found) - sum(map(len, states.values()))} are unresolved"
    )
    where = sorted(
        ((one.threshold, one.task) for one in states["emergent"] if one.threshold), key=lambda pair: pair[0].value
    )
    if len(where) > 1:
        first, last = where[-1], where[0]
        apart = sum(
            one[0].high < other[0].low or other[0].high < one[0].low
            for place, one in enumerate(where)
            for other in where[place + 1 :]
        )
        told += (
            f"; thresholds from {first[0].value:.3g} [{first[0].low:.3g}, {first[0].high:.3g}] ({first[1]}) to "
            f"{last[0].value:.3g} [{last[0].low:.3g}, {last[0].high:.3g}] ({last[1]}), {apart} of "
            f"{math.comb(len(where), 2)} pairs of intervals apart"
        )
    return verdict, told


def _turns(findings: Sequence[Finding]) -> tuple[Judgement, str]:
    """Claim 4: where the turn of each task is, from all its metrics."""
    turned = {finding.task: finding.extra.get("turns", {}).get("verdict") for finding in findings}
    emergent = [one.task for one in headlines(findings) if one.verdict == "emergent"]
    of = {kind: sum(turned.get(task) == kind for task in emergent) for kind in ("model", "metric")}
    if not emergent:
        return "undecided", "no task has a threshold under its headline metric"
    verdict: Judgement = "undecided"
    if 2 * of["model"] > len(emergent) and not of["metric"]:
        verdict = "holds"
    elif 2 * of["metric"] > len(emergent):
        verdict = "fails"
    return verdict, (
        f"of {len(emergent)} turns under accuracy or exact match {of['model']} are in the model, {of['metric']} in "
        f"the metric, {len(emergent) - of['model'] - of['metric']} cannot be told"
    )


def _unforeseen(found: Sequence[Finding], obs: pd.DataFrame, level: float) -> tuple[Judgement, str]:
    """Claim 5: what the models above each threshold foretell of the lowest losses, and what came."""
    made = [
        told
        for finding in found
        if finding.verdict == "emergent" and finding.threshold
        for told in [beforehand.foretell(_rows(obs, finding), finding.threshold, level)]
        if told is not None
    ]
    if not made:
        return "undecided", "no emergent ability has enough checkpoints above its threshold to extrapolate from"
    missed = sum(told.missed for told in made)
    verdict: Judgement = "undecided"
    if 2 * missed > len(made) and _unlikely(missed, len(made)):
        verdict = "holds"
    elif 2 * missed < len(made) and not _unlikely(missed, len(made)):
        verdict = "fails"
    foretold, seen = np.median([told.foretold for told in made]), np.median([told.seen for told in made])
    return verdict, (
        f"straight or bent lines through the models above the threshold foretell too little at the lowest losses on "
        f"{missed} of {len(made)} emergent abilities, the seen score above the {level:.0%} prediction interval "
        f"(median gain over chance foretold {foretold:.1f} points, seen {seen:.1f})"
    )


def _both_languages(analysis: Analysis, found: Sequence[Finding], level: float) -> tuple[Judgement, str]:
    """Claim 6: R² of a left-out size by the loss on the whole mix, and by the loss on the task's own language."""
    placed = analysis.placed
    axis, unit = found[0].loss_name, found[0].extra.get("loss_unit")
    if placed is None or placed.empty or "@" in axis:
        return "undecided", "the table has no loss on a mix beside the losses of its languages"
    placed = placed[placed.loss_unit == unit]
    told, verdicts = [], []
    for language in sorted(set(placed.language) - {""}):
        pairs = _by_both(placed[placed.language == language], found, axis, f"{axis}@{language}")
        if len(pairs) < 2:
            continue
        gain = pairs[:, 1] - pairs[:, 0]
        reach = float(stats.t.ppf(0.5 + level / 2, len(gain) - 1)) * float(gain.std(ddof=1)) / math.sqrt(len(gain))
        low, high = gain.mean() - reach, gain.mean() + reach
        verdicts.append("holds" if high < WORSE else "fails" if low > WORSE else "undecided")
        told.append(
            f"{language}: median R² {np.median(pairs[:, 0]):.2f} by the whole loss over {len(pairs)} tasks, their own "
            f"language's loss adds {gain.mean():+.3f} [{low:+.3f}, {high:+.3f}]"
        )
    if len(verdicts) < 2:
        return "undecided", "; ".join(told) or "no two languages have tasks that can tell losses apart"
    if "fails" in verdicts:
        return "fails", "; ".join(told)
    return ("holds" if set(verdicts) == {"holds"} else "undecided"), "; ".join(told)


def _by_both(placed: pd.DataFrame, found: Sequence[Finding], axis: str, own: str) -> np.ndarray[Any, Any]:
    """R² of a left-out size on both axes, one row a task that has an ability and both."""
    able = {(one.task, one.metric) for one in found if one.verdict in ("emergent", "smooth")}
    rows = []
    for pair, of_task in placed.groupby(["task", "metric"], sort=True):
        if pair not in able:
            continue
        r2 = [predictors(of_task[of_task.loss_name == name])["loss"]["r2_left_out"] for name in (axis, own)]
        if None not in r2:
            rows.append(r2)
    return np.array(rows, dtype=float).reshape(len(rows), 2)


def _rows(obs: pd.DataFrame, finding: Finding) -> pd.DataFrame:
    return obs[(obs.task == finding.task) & (obs.metric == finding.metric)]


def _known(effect: Mapping[str, Any] | None) -> bool:
    return effect is not None and effect["points"] is not None


def _effect(finding: Finding, name: str) -> Mapping[str, Any] | None:
    effect = finding.extra.get("effects", {}).get(name)
    return effect if _known(effect) else None


def _count(effects: Sequence[Mapping[str, Any]], verdict: str) -> int:
    return sum(effect["verdict"] == verdict for effect in effects)


def _mean(effects: Sequence[Mapping[str, Any]]) -> str:
    """The mean effect; its interval takes the errors of all tasks as one, which can only be too wide."""
    mean: Callable[[str], float] = lambda name: float(np.mean([effect[name] for effect in effects]))  # noqa: E731
    return f"mean {mean('points'):+.1f} points [{mean('low'):+.1f}, {mean('high'):+.1f}], median size {_size(effects)}"


def _size(effects: Sequence[Mapping[str, Any]]) -> str:
    return f"{np.median([abs(effect['points']) for effect in effects]):.1f}"
