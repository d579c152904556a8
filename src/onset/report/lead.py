"""The first paragraph of a page: what was found, in a few short sentences that are true of the data at hand.

What was found comes first; nothing is said of a group that is empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onset import language
from onset.language import _, forms, plural
from onset.plots import words
from onset.plots.frames import Panel
from onset.results import LossInterval, SizeEffect

NAMED = 2
"""Tasks of a group that the first paragraph names; of more it gives the number."""

LATE = 0.5
"""An ability sets in late where its onset loss, with its interval, lies in the lower half of the losses seen."""

NARROW = 0.1
"""A rise is narrow where the onset width is at most so much of the losses seen."""


def lead(panels: Sequence[Panel], seen: words.Seen) -> str:
    """The findings in a few sentences, each task under its headline metric; ``seen`` are the losses of all points."""
    if len(panels) == 1:
        told = [_single(panels[0], seen)]
    elif any(panel.finding.threshold is not None for panel in panels):
        told = [_thresholds(panels, seen.unit), _others(panels)]
    else:
        told = [_exceeding(panels, seen), _others(panels)]
    told += [_narrow(panels, seen), _sizes(panels)]
    return ("" if language.current() == "zh" else " ").join(part for part in told if part)


def _single(panel: Panel, seen: words.Seen) -> str:
    """What was found on the one task of a table."""
    finding = panel.finding
    if finding.threshold is not None:
        return _(
            "The task is emergent: no better than chance until the loss falls to a threshold of {loss} {unit}.",
            loss=_between(finding.threshold), unit=seen.unit,
        )  # fmt: skip
    onset = _onset(panel)
    if onset is None:
        improves = finding.verdict == "smooth"
        return _("The score improves as the loss falls; no threshold is shown.") if improves else _none(seen)
    if onset.open_above:
        return _("The score exceeds chance at the highest losses seen already; no threshold is shown.")
    return _("The score exceeds chance from a loss of {loss} {unit} on; no threshold is shown.",
             loss=_between(onset), unit=seen.unit)  # fmt: skip


def _between(found: LossInterval) -> str:
    return f"{words.losses(found)[0]} [{', '.join(words.ends(found))}]"


def _thresholds(panels: Sequence[Panel], unit: str) -> str:
    """How many tasks are emergent, and at which losses."""
    found = [(threshold.loss, panel) for panel in panels if (threshold := panel.finding.threshold) is not None]
    ordered = sorted(found, key=lambda one: one[0], reverse=True)
    (high, first), (low, last) = ordered[0], ordered[-1]
    values = {"total": len(panels), "high": words.number(high), "first": first.title.text, "unit": unit,
              "low": words.number(low), "last": last.title.text}  # fmt: skip
    if len(ordered) == 1:
        return _(
            "1 of {total} tasks is emergent: no better than chance until the loss falls to a threshold of {high} "
            "{unit} ({first}).",
            **values,
        )
    if len(ordered) == len(panels):
        return _(
            "All {total} tasks are emergent: no better than chance until the loss falls to a threshold, from {high} "
            "({first}) down to {low} {unit} ({last}).",
            **values,
        )
    return _(
        "{count} of {total} tasks are emergent: no better than chance until the loss falls to a threshold, from {high} "
        "({first}) down to {low} {unit} ({last}).",
        count=len(ordered), **values,
    )  # fmt: skip


def _exceeding(panels: Sequence[Panel], seen: words.Seen) -> str:
    """Of tasks none of which has a threshold: how many exceed chance, and from which losses on."""
    found = [(onset, panel) for panel in panels if (onset := _onset(panel)) is not None]
    ordered = sorted(found, key=lambda one: one[0].loss, reverse=True)
    improve = sum(panel.finding.verdict == "smooth" for panel in panels)
    if not ordered and not improve:
        return _none(seen)
    total = len(panels)
    if not ordered:
        return _("{told}.", told=_improve(improve, total))
    (highest, first), (lowest, last) = ordered[0], ordered[-1]
    told = _exceed(len(ordered), total)
    if lowest.open_above:
        return _("{told} at the highest losses seen already.", told=told)
    values = {"told": told, "high": words.number(highest.loss), "first": first.title.text, "unit": seen.unit,
              "low": words.number(lowest.loss), "last": last.title.text}  # fmt: skip
    if len(ordered) == 1:
        return _("{told}: {first}, from a loss of {high} {unit} on.", **values)
    if highest.open_above:
        return _(
            "{told}: first {first}, at the highest losses seen already, last {last}, from {low} {unit} on.", **values
        )
    return _("{told}: first {first}, from a loss of {high} on, last {last}, from {low} {unit} on.", **values)


def _improve(count: int, total: int) -> str:
    if count == total:
        return _("All {total} tasks improve as the loss falls", total=total)
    return plural(
        "{count} of {total} tasks improves as the loss falls", "{count} of {total} tasks improve as the loss falls",
        count, total=total,
    )  # fmt: skip


def _exceed(count: int, total: int) -> str:
    if count == total:
        return _("All {total} tasks exceed chance", total=total)
    return plural(
        "{count} of {total} tasks exceeds chance", "{count} of {total} tasks exceed chance", count, total=total
    )


def _none(seen: words.Seen) -> str:
    return _("No ability is shown to set in at the losses seen ({seen}).", seen=seen)


def _onset(panel: Panel) -> LossInterval | None:
    """The onset loss of a task whose chance is known: below it the score exceeds chance."""
    return panel.finding.onset if panel.finding.chance is not None else None


def _others(panels: Sequence[Panel]) -> str:
    """The tasks that are not emergent, by verdict; empty where there are none."""
    of = {verdict: [p.title.text for p in panels if p.finding.verdict == verdict] for verdict in _CLAUSES}
    count = sum(map(len, of.values()))
    if not count:
        return ""
    clauses = [
        plural(*clause, len(of[verdict]), names=_names(of[verdict]) if len(of[verdict]) < count else "")
        for verdict, clause in _CLAUSES.items()
        if of[verdict]
    ]
    *before, last = clauses
    told = _("{before} and {last}", before=_(", ").join(before), last=last) if before else last
    if count < len(panels):
        return _("Of the others, {told}.", told=told)
    if of["smooth"] or any(_onset(panel) for panel in panels):
        return _("None is shown to stay at chance down to a threshold of the loss: {told}.", told=told)
    return _("{told}.", told=told)


_CLAUSES = {
    "smooth": forms("{count} rises smoothly{names}", "{count} rise smoothly{names}"),
    "inconclusive": forms("{count} is inconclusive{names}", "{count} are inconclusive{names}"),
    "at_chance": forms("{count} is not above chance{names}", "{count} are not above chance{names}"),
}
"""By verdict, in the order in which they are told."""


def _narrow(panels: Sequence[Panel], seen: words.Seen) -> str:
    """Abilities without a threshold that are at chance until late and then rise within a narrow range of losses."""
    span = seen.high - seen.low
    middle = seen.low + LATE * span
    named = [
        panel.title.text
        for panel in panels
        if panel.finding.threshold is None and (onset := panel.finding.onset) and (width := panel.finding.width)
        and not onset.open_above and onset.high <= middle and width.nats <= NARROW * span
    ]  # fmt: skip
    if not named:
        return ""
    if len(panels) == 1:
        return _("It sets in late, though, and rises within a narrow range of losses.")
    if len(named) <= NAMED:
        return plural(
            "{names} sets in late all the same and rises within a narrow range of losses.",
            "{names} set in late all the same and rise within a narrow range of losses.",
            len(named), names=_(" and ").join(named),
        )  # fmt: skip
    return _(
        "{count} of the tasks without a threshold set in late all the same and rise within a narrow range of losses.",
        count=len(named),
    )  # fmt: skip


def _sizes(panels: Sequence[Panel]) -> str:
    """What size changes at equal loss; empty where that was asked of no task."""
    asked = [
        effect for p in panels if (effect := p.finding.size_effect) is not None and effect.pp_per_decade is not None
    ]
    if not asked:
        return ""
    count = {verdict: sum(effect.verdict == verdict for effect in asked) for verdict in words.EFFECTS}
    same, differs, open_ = count["equivalent"], count["differs"], count["inconclusive"]
    values: dict[str, Any] = {"margin": _margin(asked[0]), "total": len(asked)}
    if not same and not differs:
        return _("Whether model size matters at equal loss is inconclusive.")
    if same == len(asked):
        return _sizes_of_all(len(panels), **values)
    if differs == len(asked):
        told = _("At equal loss, ten times the parameters change every score compared by more than {margin}", **values)
    elif not same:
        told = _(
            "At equal loss, ten times the parameters change {differs} of {total} scores by more than {margin}",
            differs=differs, **values,
        )  # fmt: skip
    else:
        told = _(
            "At equal loss, ten times the parameters leave {same} of {total} scores the same within {margin}",
            same=same, **values,
        )  # fmt: skip
        told += _(" and change {differs} by more", differs=differs) if differs else ""
    rest = plural("; {count} is inconclusive", "; {count} are inconclusive", open_) if open_ else ""
    return _("{told}.", told=told + rest)


def _sizes_of_all(tasks: int, *, margin: str, total: int) -> str:
    if total == tasks:
        return _("At equal loss, ten times the parameters leave every score the same within {margin}.", margin=margin)
    return plural(
        "At equal loss, ten times the parameters leave the one score compared the same within {margin}.",
        "At equal loss, ten times the parameters leave all {count} scores compared the same within {margin}.",
        total, margin=margin,
    )  # fmt: skip


def _margin(effect: SizeEffect) -> str:
    """Within what an effect counts as none."""
    along = effect.along_loss
    nats = "" if along is None or along.margin is None else _(" or {margin} nats", margin=f"{along.margin:g}")
    return _("{margin} pp", margin=f"{effect.margin:g}") + nats


def _names(titles: Sequence[str]) -> str:
    return _(" ({names})", names=language.listed(list(titles))) if 0 < len(titles) <= NAMED else ""
