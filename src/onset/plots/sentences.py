"""Findings in sentences: what one would write in a paper, and only what the data shows."""

from __future__ import annotations

import math

from onset.language import _
from onset.language.sentences import told as in_language
from onset.plots.words import Seen, ends, losses, metric_label, number, percent, place
from onset.results import Finding, SizeEffect


def sentence(finding: Finding, seen: Seen, level: float = 0.95, *, name_loss: bool = False) -> str:
    """What one would write in a paper: only what the data shows, nothing read off an extrapolation.

    ``seen`` are the losses of the finding's points; ``name_loss`` says on which text the loss is.
    """
    verdict = _VERDICTS[finding.verdict](finding, _in_text(finding.metric), seen, level)
    clauses = [verdict, _onset(finding, level), _size(finding.size_effect)]
    told = _("; ").join(clause for clause in clauses if clause)
    if name_loss:
        told = _("On {task} and the loss '{loss}', {told}.", task=finding.task, loss=finding.loss_name, told=told)
    else:
        told = _("On {task}, {told}.", task=finding.task, told=told)
    if finding.verdict in ("smooth", "inconclusive") and finding.why:
        return _("{sentence} {reason}", sentence=told, reason=in_language(finding.why))
    return told


def _in_text(metric: str) -> str:
    """A metric's name within a sentence: in small letters, but for names."""
    label = metric_label(metric)
    return label if metric in ("correct_choice_prob", "brier") or label == metric else label[0].lower() + label[1:]


def _emergent(finding: Finding, score: str, seen: Seen, level: float) -> str:
    chance = _chance(finding)
    if finding.threshold is None:
        return _("{score} exceeds chance{chance} below a loss that could not be estimated", score=score, chance=chance)
    value = losses(finding.threshold)[0]
    low, high = ends(finding.threshold)
    values = {"score": score, "chance": chance, "loss": value, "unit": seen.unit, "level": percent(level), "low": low,
              "high": high}  # fmt: skip
    if finding.direction == "higher":
        return _(
            "{score} is at or below chance{chance} at losses above {loss} {unit} ({level} interval {low} to {high}) "
            "and rises below it",
            **values,
        )
    return _(
        "{score} is at chance or worse{chance} at losses above {loss} {unit} ({level} interval {low} to {high}) "
        "and falls below it",
        **values,
    )


def _smooth(finding: Finding, score: str, seen: Seen, level: float) -> str:
    if finding.spearman is None:
        return _("{score} changes with the loss from {seen}, and no threshold is supported", score=score, seen=seen)
    return _(
        "{score} changes with the loss (Spearman {rank}) from {seen}, and no threshold is supported",
        score=score, rank=number(finding.spearman), seen=seen,
    )  # fmt: skip


def _at_chance(finding: Finding, score: str, seen: Seen, level: float) -> str:
    return _(
        "{score} is not shown to exceed chance{chance} at any loss seen ({seen}), and what lower losses would bring is "
        "not known",
        score=score, chance=_chance(finding), seen=seen,
    )  # fmt: skip


def _inconclusive(finding: Finding, score: str, seen: Seen, level: float) -> str:
    return _(
        "it is inconclusive whether {score} has a threshold within the losses seen ({seen})", score=score, seen=seen
    )


_VERDICTS = {"emergent": _emergent, "smooth": _smooth, "at_chance": _at_chance, "inconclusive": _inconclusive}


def _chance(finding: Finding) -> str:
    known = finding.chance is not None and math.isfinite(finding.chance)
    return _(" ({chance})", chance=number(finding.chance)) if known else ""


def _onset(finding: Finding, level: float) -> str:
    """The clause on the onset loss and width; empty where they were not estimated."""
    if finding.onset is None:
        return ""
    excess, at = f"{100 * finding.delta:g}", place(finding.onset)
    if finding.onset.open_above:
        told = _(
            "it exceeds chance by {excess} pp at the highest losses fitted already, {place}", excess=excess, place=at
        )
    elif finding.onset.open_below:
        told = _("it exceeds chance by {excess} pp at the lowest losses alone, {place}", excess=excess, place=at)
    else:
        told = _("it exceeds chance by {excess} pp at a loss of {place}", excess=excess, place=at)
    if (width := finding.width) is not None:
        told += _(", with an onset width of {width} [{low}, {high}]", width=number(width.nats), low=number(width.low),
                  high=number(width.high))  # fmt: skip
    return told


def _size(effect: SizeEffect | None) -> str:
    """The clause on size at equal loss; empty where it was not estimated."""
    if effect is None or effect.pp_per_decade is None:
        return ""
    margin = f"{effect.margin:g} pp"
    told = _(
        "at equal loss ten times the parameters change it by {pp} pp [{low}, {high}]",
        pp=number(effect.pp_per_decade, 1, sign=True), low=number(effect.low, 1), high=number(effect.high, 1),
    )  # fmt: skip
    if (along := effect.along_loss) is not None:
        margin += "" if along.margin is None else _(" or {margin} nats", margin=f"{along.margin:g}")
        told += _(
            ", its curve by {nats} nats [{low}, {high}]",
            nats=number(along.nats_per_decade, 3, sign=True), low=number(along.low, 3), high=number(along.high, 3),
        )  # fmt: skip
    if effect.verdict == "equivalent":
        return told + _(", which is equivalent to none (within ±{margin})", margin=margin)
    if effect.verdict == "differs":
        return told + _(", which differs from none by more than {margin}", margin=margin)
    return told + _(", which is inconclusive against a margin of {margin}", margin=margin)
