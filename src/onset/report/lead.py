"""The first paragraph of a page: what was found, in a few sentences that are true of the data at hand."""

from __future__ import annotations

from collections.abc import Sequence

from onset import language
from onset.language import _, forms, plural
from onset.plots import words
from onset.plots.frames import Panel

NAMED = 4
"""Tasks that the first paragraph names; of more it gives the number."""

LATE = 0.5
"""An ability sets in late where its onset loss, with its interval, lies in the lower half of the losses seen."""

NARROW = 0.1
"""A rise is narrow where the onset width is at most so much of the losses seen."""


def lead(panels: Sequence[Panel], seen: words.Seen) -> str:
    """The findings in a few sentences, each task under its headline metric; ``seen`` are the losses of all points."""
    of = {verdict: [p.title.text for p in panels if p.finding.verdict == verdict] for verdict in words.VERDICTS}
    told = [_thresholds(panels, seen.unit), _exceeding(panels, seen.unit)]
    if not of["emergent"]:
        told.reverse()
    told.append(_narrow(panels, seen))
    for verdict, (one, many) in _others().items():
        if of[verdict]:
            told.append(plural(one, many, len(of[verdict]), names=_names(of[verdict])))
    return _joined([*told, _sizes(panels)])


def _exceeding(panels: Sequence[Panel], unit: str) -> str:
    """How many abilities exceed chance, and from which loss on; empty where chance is not known or nothing does."""
    found = [(onset, panel) for panel in panels if (onset := panel.finding.onset) and panel.finding.chance is not None]
    if not found:
        return ""
    ordered = sorted(found, key=lambda one: one[0].loss, reverse=True)
    (first, top), (last, bottom) = ordered[0], ordered[-1]
    values = {"total": len(panels), "high": words.number(first.loss), "first": top.title.text, "unit": unit,
              "low": words.number(last.loss), "last": bottom.title.text}  # fmt: skip
    if len(ordered) == 1:
        return _("1 of {total} abilities exceeds chance, at a loss of {high} {unit} ({first}).", **values)
    if first.open_above:
        return _(
            "{count} of {total} abilities exceed chance, the first at or above a loss of {high} ({first}), the last at "
            "{low} {unit} ({last}).",
            count=len(ordered), **values,
        )  # fmt: skip
    return _(
        "{count} of {total} abilities exceed chance, the first at a loss of {high} ({first}), the last at {low} {unit} "
        "({last}).",
        count=len(ordered), **values,
    )  # fmt: skip


def _narrow(panels: Sequence[Panel], seen: words.Seen) -> str:
    """Abilities without a threshold that are at chance until late and then rise within a narrow range of losses."""
    span = seen.high - seen.low
    middle = seen.low + LATE * span
    named = [
        panel.title.text
        for panel in panels
        if panel.finding.threshold is None and (onset := panel.finding.onset) and (width := panel.finding.width)
        and onset.high <= middle and width.nats <= NARROW * span
    ]  # fmt: skip
    if not named:
        return ""
    return plural(
        "{count} exceeds chance only in the lower half of the losses seen, and makes half of its rise within a tenth "
        "of them{names}: late and narrow, if without a threshold.",
        "{count} exceed chance only in the lower half of the losses seen, and make half of their rise within a tenth "
        "of them{names}: late and narrow, if without a threshold.",
        len(named), names=_names(named),
    )  # fmt: skip


def _others() -> dict[str, tuple[str, str]]:
    return {
        "smooth": forms("{count} improves without a threshold{names}.", "{count} improve without a threshold{names}."),
        "inconclusive": forms("{count} is inconclusive{names}.", "{count} are inconclusive{names}."),
        "at_chance": forms("{count} is not above chance{names}.", "{count} are not above chance{names}."),
    }


def _thresholds(panels: Sequence[Panel], unit: str) -> str:
    found = [panel for panel in panels if panel.finding.threshold is not None]
    ordered = sorted(found, key=_threshold, reverse=True)
    total = len(panels)
    if not ordered:
        return plural(
            "It is not shown to have a threshold.", "None of the {count} is shown to have a threshold.",
            total,
        )  # fmt: skip
    first, last = ordered[0], ordered[-1]
    values = {"total": total, "unit": unit, "high": words.number(_threshold(first)), "first": first.title.text,
              "low": words.number(_threshold(last)), "last": last.title.text}  # fmt: skip
    if len(ordered) == 1:
        return _("1 of {total} abilities has a threshold, at a loss of {high} {unit} ({first}).", **values)
    return _(
        "{count} of {total} abilities have a threshold, from a loss of {high} ({first}) to {low} {unit} ({last}).",
        count=len(ordered), **values,
    )  # fmt: skip


def _threshold(panel: Panel) -> float:
    assert panel.finding.threshold is not None, "only of panels with a threshold"
    return panel.finding.threshold.loss


def _sizes(panels: Sequence[Panel]) -> str:
    """How many scores size changes at equal loss; empty where that was asked of none."""
    asked = [
        effect for p in panels if (effect := p.finding.size_effect) is not None and effect.pp_per_decade is not None
    ]
    if not asked:
        return ""
    verdicts = [effect.verdict for effect in asked]
    return _(
        "At equal loss ten times the parameters change {equivalent} of {total} scores by no more than {margin} pp and "
        "{differs} by more; {inconclusive} are inconclusive.",
        total=len(asked), margin=f"{asked[0].margin:g}",
        **{verdict: verdicts.count(verdict) for verdict in words.EFFECTS},  # type: ignore[arg-type]
    )  # fmt: skip


def _joined(parts: Sequence[str]) -> str:
    return ("" if language.current() == "zh" else " ").join(part for part in parts if part)


def _names(titles: Sequence[str]) -> str:
    return _(" ({names})", names=language.listed(list(titles))) if 0 < len(titles) <= NAMED else ""
