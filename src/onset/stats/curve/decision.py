"""The verdict: every cut-off of the decision in one table, and the sentence that goes with it.

| verdict | when |
|---|---|
| ``at_chance`` | log Bayes factor for an ability below 0, and the upper bound of what the curve reaches at the lowest loss is small (``HIDDEN``) |
| ``smooth`` | an ability is shown (``ABILITY``) and smooth curves are favoured as clearly (``SMOOTH``), or the score is above chance from the highest losses on |
| ``emergent`` | an ability is shown, curves with a threshold are favoured (``THRESHOLD``), chance is known and is the level above, and every check below passes |
| ``inconclusive`` | everything else; the sentence says what would tell |

Checks of ``emergent``: enough checkpoints and runs on both sides of the threshold (``CHECKPOINTS``, ``RUNS``); scores
above it not clear of chance (``LEVEL``); scores below it clear with the items counted once (``CLEAR``), without the best checkpoint and in two runs; the log
Bayes factors stand with any one run and any one checkpoint left out (``WITHOUT_RUN``, ``WITHOUT_CHECKPOINT``); the
interval of the threshold is no wider than ``WIDEST`` of the losses that the rise was seen over.
"""  # noqa: E501

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from onset.results import Threshold, Verdict

ABILITY = math.log(10.0)
"""Log Bayes factor for an ability: strong evidence (Jeffreys 1961; Kass and Raftery 1995)."""
THRESHOLD = math.log(5.0)
"""Log Bayes factor for a threshold: five to one. With three to one, the lowest that these scales call positive, 2.5 %
of 600 planted curves were called emergent falsely (docs/statistics.md)."""
SMOOTH = -math.log(3.0)
"""Log Bayes factor for a threshold from which on smooth curves are favoured: positive evidence the other way. Between
the two the verdict would hang on the prior: on which corners still count as sharp, and how many smooth forms there are.
"""
HIDDEN = 0.1
"""Upper bound of the excess over chance at the lowest loss, as a share of all there is, that `at_chance` may hide."""
CHECKPOINTS, RUNS = 3, 2
"""Least checkpoints, and runs where there are several, on either side of a threshold."""
CLEAR = 2.0
"""Standard errors from chance, the choice of items counted as one draw for all."""
LEVEL = 2.5
"""Standard errors by which the scores above a threshold may exceed chance, the choice of items counted as one draw."""
WITHOUT_RUN, WITHOUT_CHECKPOINT = -1.0, 0.0
"""Least log Bayes factor for a threshold with one run, or one checkpoint, left out. A run is much of the data, so that
without it the rest may say less; a checkpoint is not."""
WIDEST = 0.5
"""Widest interval of a threshold, as a share of the losses seen or of the rise span, whichever is less."""


@dataclass(frozen=True)
class Evidence:
    """What the verdict is decided from; losses in their unit, scores in theirs."""

    chance: float | None
    unit: str
    log_bf_ability: float
    log_bf_threshold: float
    upper_bound: float
    """Of the excess over chance at the lowest loss, as a share of all there is."""
    upper_score: float
    """The same as a score."""
    end_bound: float = math.inf
    """The same of the scores at the lowest losses themselves, whatever the form of the curve."""
    end_score: float = math.nan
    floor: float | None = None
    """Level of the scores above the onset where it is not chance, as a score."""
    below_chance: bool = False
    """Whether that level is worse than chance."""
    reaches: bool = True
    """Whether the curve is above chance at the lowest loss, where its level above the onset is below chance."""
    from_the_start: bool = False
    """Whether the score exceeds chance at the highest losses already."""
    beyond_errors: float = math.nan
    """Standard errors from chance of the mean score of checkpoints far above the onset."""
    onset: tuple[float, float, float] | None = None
    threshold: tuple[float, float, float] | None = None
    """Median and interval, given that there is one."""
    width: float | None = None
    """Onset width, where an onset loss is told."""
    rise_span: float = math.nan
    losses: tuple[float, float] = (math.nan, math.nan)
    """Lowest and highest seen."""
    n_runs: int = 1
    checkpoints: tuple[int, int] = (0, 0)
    """Above and below the threshold."""
    runs: tuple[int, int] = (0, 0)
    level_errors: float = 0.0
    """Standard errors from chance of the mean score above the threshold."""
    clear_of_chance: float = 0.0
    """Standard errors of the scores below the threshold together, without the best checkpoint."""
    clear_runs: int = 0
    """Runs whose scores below the threshold are clear of chance by themselves."""
    without_run: tuple[float, float] | None = None
    """Least log Bayes factors (ability, threshold) with one run left out."""
    decisive_run: str = ""
    without_checkpoint: tuple[float, float] | None = None
    onset_by_run: tuple[tuple[str, float], ...] = ()
    """Onset losses of runs that set in at different ones."""
    runs_above_chance: tuple[str, ...] = field(default=())
    """Runs whose own mean score is clear of chance, where no curve is shown."""


@dataclass(frozen=True)
class Decision:
    """The verdict, one sentence, and the checks that failed."""

    verdict: Verdict
    why: str
    failed: tuple[str, ...] = ()


def decide(evidence: Evidence) -> Decision:
    """The verdict by the table of this module."""
    if evidence.log_bf_ability < ABILITY:
        return _without_ability(evidence)
    if evidence.chance is None:
        return _without_chance(evidence)
    if evidence.floor is not None:
        return _with_floor(evidence)
    if evidence.from_the_start:
        return Decision("smooth", "The score exceeds chance at the highest losses seen already; no threshold is seen.")
    if evidence.log_bf_threshold <= SMOOTH:
        return Decision(
            "smooth",
            f"The score exceeds chance{_from(evidence)}{_rise(evidence)}; smooth curves explain it better than curves "
            f"with a threshold (log Bayes factor {evidence.log_bf_threshold:.1f}).",
        )
    if evidence.log_bf_threshold < THRESHOLD:
        return Decision(
            "inconclusive",
            f"The score exceeds chance{_from(evidence)}, but whether it has a threshold is not decided (log Bayes "
            f"factor {evidence.log_bf_threshold:.1f}; {THRESHOLD:.1f} would show one, {SMOOTH:.1f} a smooth curve); "
            "more items, or checkpoints around the onset, would tell.",
        )
    failed = checks(evidence)
    if failed:
        place = "" if evidence.threshold is None else f" near a loss of {evidence.threshold[0]:.3g}"
        return Decision("inconclusive", f"Curves with a threshold{place} are favoured, but {failed[0]}.", failed)
    return Decision("emergent", _emergent(evidence))


def checks(evidence: Evidence) -> tuple[str, ...]:
    """The checks of a threshold that fail, one clause each."""
    several = evidence.n_runs > 1
    above, below = evidence.checkpoints
    found = []
    if below < CHECKPOINTS:
        found.append(f"only {below} checkpoint(s) lie below it; checkpoints at lower losses would tell")
    if above < CHECKPOINTS:
        found.append(f"only {above} checkpoint(s) lie above it; checkpoints at higher losses would tell")
    if evidence.level_errors > LEVEL:
        found.append(
            f"the scores above it exceed chance as well, by {evidence.level_errors:.1f} standard errors; more items "
            "would tell that level from chance"
        )
    if evidence.clear_of_chance < CLEAR:
        found.append("one checkpoint, or the choice of the items, may explain the scores below it; more would tell")
    if several and (evidence.runs[1] < RUNS or evidence.clear_runs < RUNS):
        found.append("one run alone is above chance below it; a second run at such losses would tell")
    if several and evidence.runs[0] < RUNS:
        found.append("one run alone was seen above it; a second run at such losses would tell")
    if several and evidence.without_run is not None and not _stands(evidence.without_run, WITHOUT_RUN):
        found.append(f"the run {evidence.decisive_run} alone decides it; more runs across it would tell")
    if evidence.without_checkpoint is not None and not _stands(evidence.without_checkpoint, WITHOUT_CHECKPOINT):
        found.append("one checkpoint alone decides it; more checkpoints around it would tell")
    if evidence.threshold is not None:
        low, high = evidence.losses
        wide = evidence.threshold[2] - evidence.threshold[1] > WIDEST * min(high - low, evidence.rise_span)
        if wide and evidence.onset_by_run:
            told = ", ".join(f"{name} {loss:.3g}" for name, loss in evidence.onset_by_run)
            found.append(f"runs set in at losses too far apart for one threshold ({told})")
        elif wide:
            found.append("its interval covers half of the losses that it could lie at; more checkpoints would tell")
    return tuple(found)


def _stands(left: tuple[float, float], least: float) -> bool:
    ability, threshold = left
    return ability > 0 and threshold > least


def _without_ability(evidence: Evidence) -> Decision:
    if evidence.chance is None:
        return Decision("inconclusive", "The score does not change with loss, and its chance level is unknown.")
    if evidence.floor is not None and not evidence.below_chance:
        return Decision(
            "inconclusive",
            f"The scores stand at {evidence.floor:.3g}, above chance ({evidence.chance:.3g}), at all losses seen "
            "and are not shown to change with the loss; an ability and a fixed rule of answering look alike here.",
        )
    if evidence.runs_above_chance:
        count = len(evidence.runs_above_chance)
        named = ", ".join(evidence.runs_above_chance[:3]) + (", ..." if count > 3 else "")
        rest = "at equal loss others do not" if count < evidence.n_runs else "how they depend on the loss is not shown"
        return Decision(
            "inconclusive",
            f"{count} of {evidence.n_runs} run(s) score above chance ({evidence.chance:.3g}) by more than their error "
            f"({named}), but no curve follows: {rest}.",
        )
    if evidence.log_bf_ability < 0 and evidence.upper_bound <= HIDDEN:
        what = "at" if evidence.floor is None and not evidence.below_chance else "at or below"
        return Decision(
            "at_chance",
            f"The scores are {what} chance ({evidence.chance:.3g}) at all losses seen; at the lowest, more than "
            f"{evidence.upper_score:.3g} is excluded.",
        )
    return Decision(
        "inconclusive",
        f"No score is shown to exceed chance ({evidence.chance:.3g}), but {evidence.upper_score:.3g} at the lowest "
        "loss is not excluded; more items, or lower losses, would tell.",
    )


def _without_chance(evidence: Evidence) -> Decision:
    if evidence.log_bf_threshold <= SMOOTH:
        return Decision("smooth", "The score improves without a threshold; whether it was ever at chance is unknown.")
    return Decision(
        "inconclusive",
        "The chance level is unknown, so that no ability is shown to be absent at high losses; give the chance level.",
    )


def _with_floor(evidence: Evidence) -> Decision:
    assert evidence.floor is not None
    assert evidence.chance is not None
    side = "below" if evidence.below_chance else "above"
    level = f"At high losses the score stands at {evidence.floor:.3g}, {side} chance ({evidence.chance:.3g})"
    if not evidence.reaches:
        return _below_to_chance(evidence, level)
    if evidence.log_bf_threshold <= SMOOTH:
        return Decision("smooth", f"{level}, and it improves from there without a threshold.")
    place = "" if evidence.threshold is None else f" near a loss of {evidence.threshold[0]:.3g}"
    reason = (
        "crossing chance from below is not the onset of an ability"
        if evidence.below_chance
        else "a rule that needs no ability may score so much, and the ability may be there already"
    )
    return Decision("inconclusive", f"{level}, and leaves that level{place}; {reason}.")


def _below_to_chance(evidence: Evidence, level: str) -> Decision:
    """Scores that rise from below chance and are not shown to pass it: being worse than chance is no ability."""
    bound, score = min((evidence.upper_bound, evidence.upper_score), (evidence.end_bound, evidence.end_score))
    if bound <= HIDDEN:
        return Decision(
            "at_chance", f"{level}, and rises to chance; at the lowest losses, more than {score:.3g} is excluded."
        )
    return Decision(
        "inconclusive",
        f"{level}, and rises; that it exceeds chance at the lowest loss is not shown, nor that it does not.",
    )


def _from(evidence: Evidence) -> str:
    if evidence.onset is None:
        return ""
    place = _place(evidence, evidence.onset, 3)
    if evidence.onset[0] >= evidence.losses[1]:
        return f" at the highest losses fitted already, {place}"
    if evidence.onset[0] <= evidence.losses[0]:
        return f" at the lowest losses alone, {place}"
    return f" at losses below {place}"


def _place(evidence: Evidence, found: tuple[float, float, float], digits: int) -> str:
    """A loss with its interval; ends at the highest or the lowest loss that was fitted are open."""
    value, low, high = found
    shown, lower, upper = (f"{end:.{digits}g}" for end in found)
    lowest, highest = evidence.losses
    if value >= highest:
        return f"at or above {shown}" + (f" [{lower} or above]" if low < value else "")
    if value <= lowest:
        return f"at or below {shown}" + (f" [{upper} or below]" if high > value else "")
    lower += " or below" if low <= lowest else ""
    upper += " or above" if high >= highest else ""
    return f"{shown} [{lower}, {upper}]"


def _rise(evidence: Evidence) -> str:
    """How narrow the rise is: a curve without a corner may still be at chance for long and rise within little."""
    if evidence.onset is None or evidence.width is None:
        return ""
    return f", and half of its rise comes within {evidence.width:.2g} {evidence.unit} of there"


def _emergent(evidence: Evidence) -> str:
    assert evidence.threshold is not None
    place = _place(evidence, evidence.threshold, 4)
    single = (
        " There is one run only: what set in at this loss and what merely happened then cannot be told apart."
        if evidence.n_runs == 1
        else ""
    )
    return (
        f"At {'or below ' if evidence.below_chance else ''}chance above a loss of {place} and above chance "
        f"below it (log Bayes factor for a threshold {evidence.log_bf_threshold:.1f}).{single}"
    )


def e_bh(log_bayes_factors: Sequence[float], level: float = 0.05) -> tuple[bool, ...]:
    """Which of several claims the e-BH procedure keeps at a false discovery rate (Wang and Ramdas 2022).

    With e-values e_(1) >= e_(2) >= ..., of m in all, the k largest are kept for the largest k with e_(k) >= m / (level
    k). Valid under any dependence of the curves of a table.
    """
    logs = sorted(log_bayes_factors, reverse=True)
    count = len(logs)
    kept = [k for k, log in enumerate(logs, 1) if log >= math.log(count / (level * k))]
    least = logs[max(kept) - 1] if kept else math.inf
    return tuple(log >= least for log in log_bayes_factors)


def multiplicity_note(results: Sequence[Threshold], level: float = 0.05) -> tuple[str, ...]:
    """How many emergent verdicts of a table e-BH keeps; nothing where there is none."""
    asked = [
        (one.verdict, factor.threshold)
        for one in results
        if (factor := one.log_bayes_factor) is not None and factor.threshold is not None
    ]
    kept = e_bh([log for _, log in asked], level)
    emergent = [keep for (verdict, _), keep in zip(asked, kept, strict=True) if verdict == "emergent"]
    if len(asked) < 2 or not emergent:
        return ()
    return (
        f"{sum(emergent)} of {len(emergent)} emergent verdicts pass e-BH at a false discovery rate of {level:.0%} over "
        f"the {len(asked)} curves that exceed chance.",
    )
