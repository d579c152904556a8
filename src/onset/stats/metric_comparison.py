"""Is the turn in the model or in the metric? One verdict per task, over all the metrics of the same items.

Accuracy and exact match are discontinuous: they can jump where the model improves smoothly (Schaeffer et al.
2023). A turn that continuous metrics show as well is the model's own. A continuous metric counts only from
its chance level on, the best score of a predictor that ignores the question: a Brier score that falls to
0.75 from above it (four choices) has shown no ability (Du et al. 2024).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict

from onset.errors import OnsetError
from onset.metrics.info import info
from onset.stats.findings import Finding

TurnVerdict = Literal["model", "metric", "cannot_tell"]

SENTENCES: Mapping[TurnVerdict, str] = {
    "model": "the turn is in the model",
    "metric": "the turn is in the metric",
    "cannot_tell": "cannot tell",
}


class Turn(TypedDict):
    """Where the turn is, and why; ``sentence`` is the verdict in words."""

    verdict: TurnVerdict
    sentence: str
    why: str


def turn(findings: Sequence[Finding]) -> Turn:
    """Where the turn of one task is, from its findings under several metrics (one task, one loss).

    ``model``: accuracy (or exact match) has a threshold, and so have the continuous metrics that can speak.
    ``metric``: it has one, and they are better than chance before it without a turn. Else ``cannot_tell``.
    """
    if len({(finding.task, finding.loss_name) for finding in findings}) > 1:
        raise OnsetError("turn takes the findings of one task and one loss", advice="call it once for each task")
    jumps = [finding for finding in findings if info(finding.metric).continuous is False]
    smooth = [finding for finding in findings if info(finding.metric).continuous]
    if not jumps or not smooth:
        missing = "a discontinuous metric, such as accuracy" if not jumps else "a continuous metric"
        return _told("cannot_tell", f"the task was not measured by {missing}")
    turned = [finding for finding in jumps if finding.verdict == "emergent"]
    if not turned:
        states = ", ".join(f"{finding.metric} is {finding.verdict}" for finding in jumps)
        return _told("cannot_tell", f"there is no established turn to explain: {states}")
    return _weighed(turned[0], smooth)


def _weighed(jump: Finding, others: Sequence[Finding]) -> Turn:
    """The verdict once the discontinuous metric has a threshold."""
    model = [finding for finding in others if finding.verdict == "emergent"]
    # Without a chance level a metric falls with the loss from the start: that is fluency, not yet the ability.
    metric = [finding for finding in others if finding.verdict == "smooth" and finding.chance is not None]
    silent = [finding for finding in others if finding not in model and finding not in metric]
    parts = [f"{jump.metric} turns at {_at(jump)}"]
    parts += [f"{finding.metric} turns at {_at(finding)}" for finding in model]
    parts += [f"{finding.metric} is beyond chance without a turn" for finding in metric]
    parts += [f"{finding.metric} says nothing ({_silence(finding)})" for finding in silent]
    verdict: TurnVerdict = "cannot_tell"
    if model and not metric:
        verdict = "model"
    elif metric and not model:
        verdict = "metric"
    return _told(verdict, "; ".join(parts))


def _at(finding: Finding) -> str:
    where = finding.threshold
    return f"{where.value:.3g} [{where.low:.3g}, {where.high:.3g}]" if where else "an unstated loss"


def _silence(finding: Finding) -> str:
    if finding.verdict == "smooth":
        return "no known chance level, so a smooth course is no ability"
    return finding.verdict.replace("_", " ")


def _told(verdict: TurnVerdict, why: str) -> Turn:
    return Turn(verdict=verdict, sentence=SENTENCES[verdict], why=why)
