"""Is a threshold confirmed by continuous metrics? One verdict per task, over all the metrics of the same items.

Accuracy and exact match are discontinuous: they can jump where the model improves smoothly (Schaeffer et al.
2023). A threshold that continuous metrics show as well is the model's own. A continuous metric counts only from
its chance level on, the best score of a predictor that ignores the question: a Brier score that falls to
0.75 from above it (four choices) has shown no ability (Du et al. 2024).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from onset.errors import OnsetError
from onset.metrics.info import info
from onset.results import Finding, MetricComparison
from onset.results.text import interval

Comparison = Literal["model", "metric", "inconclusive"]

SENTENCES: Mapping[Comparison, str] = {
    "model": "confirmed by continuous metrics",
    "metric": "absent under continuous metrics",
    "inconclusive": "inconclusive",
}


def compare_metrics(findings: Sequence[Finding]) -> tuple[MetricComparison, ...]:
    """One comparison for each task and loss measure, in the order of the findings."""
    keys = dict.fromkeys((finding.task, finding.loss_name) for finding in findings)
    return tuple(
        compare_task([finding for finding in findings if (finding.task, finding.loss_name) == key]) for key in keys
    )


def compare_task(findings: Sequence[Finding]) -> MetricComparison:
    """Whether the threshold of one task stands under continuous metrics (one task, one loss measure).

    ``model``: a discontinuous metric has a threshold, and so have the continuous metrics that can tell. ``metric``: it
    has one, and they are better than chance above it without a threshold. Else ``inconclusive``.
    """
    if len({(finding.task, finding.loss_name) for finding in findings}) != 1:
        raise OnsetError("findings of one task and one loss measure are compared", advice="call it once for each task")
    discontinuous = [finding for finding in findings if info(finding.metric).continuous is False]
    continuous = [finding for finding in findings if info(finding.metric).continuous]
    if not discontinuous or not continuous:
        missing = "a continuous metric" if discontinuous else "a discontinuous metric, such as accuracy"
        return _comparison(findings[0], "inconclusive", f"the task was not measured by {missing}")
    emergent = [finding for finding in discontinuous if finding.verdict == "emergent"]
    if not emergent:
        states = ", ".join(f"{finding.metric} is {finding.verdict.replace('_', ' ')}" for finding in discontinuous)
        return _comparison(findings[0], "inconclusive", f"there is no threshold to confirm: {states}")
    return _weighed(emergent[0], continuous)


def _weighed(jump: Finding, others: Sequence[Finding]) -> MetricComparison:
    """The verdict once the discontinuous metric has a threshold."""
    model = [finding for finding in others if finding.verdict == "emergent"]
    # Without a chance level a metric falls with the loss from the start: that is fluency, not yet the ability.
    metric = [finding for finding in others if finding.verdict == "smooth" and finding.chance is not None]
    silent = [finding for finding in others if finding not in model and finding not in metric]
    parts = [f"{jump.metric} has a threshold at {_at(jump)}"]
    parts += [f"{finding.metric} has one at {_at(finding)}" for finding in model]
    parts += [f"{finding.metric} exceeds chance without a threshold" for finding in metric]
    parts += [f"{finding.metric} does not tell ({_reason(finding)})" for finding in silent]
    verdict: Comparison = "inconclusive"
    if model and not metric:
        verdict = "model"
    elif metric and not model:
        verdict = "metric"
    return _comparison(jump, verdict, "; ".join(parts))


def _at(finding: Finding) -> str:
    where = finding.threshold
    return interval(where.loss, where.low, where.high) if where else "an unstated loss"


def _reason(finding: Finding) -> str:
    if finding.verdict == "smooth":
        return "no known chance level, so a smooth curve is no ability"
    return finding.verdict.replace("_", " ")


def _comparison(finding: Finding, verdict: Comparison, why: str) -> MetricComparison:
    return MetricComparison(
        task=finding.task, loss_name=finding.loss_name, verdict=verdict, sentence=SENTENCES[verdict], why=why
    )
