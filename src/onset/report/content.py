"""What a page says, before it is set: its findings in words and numbers, what was run, questions and answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from onset.plots import frames, words
from onset.plots.facts import StudyFacts
from onset.plots.frames import Panel, Points
from onset.report import cells
from onset.report.cells import Row
from onset.results import Analysis, Finding, LossInterval


@dataclass(frozen=True, slots=True)
class FindingRow:
    """A finding in the summary table and in words."""

    task: str
    title: str
    ability: str
    metric: str
    metric_label: str
    loss: str
    headline: bool
    """Whether this is the task's headline metric."""
    main: bool
    """Whether it is that on the first loss axis."""
    verdict: str
    verdict_label: str
    numbers: Row
    sentence: str
    why: str


def finding_rows(book: Sequence[tuple[Points, list[Panel]]], analysis: Analysis) -> list[FindingRow]:
    """The findings in the order of the panels, the first loss axis before the others."""
    several = len(book) > 1
    rows = []
    for index, (points, panels) in enumerate(book):
        first = frames.headline_keys(panels)
        ranges = _ranges(analysis, points)
        for panel in panels:
            finding = panel.finding
            key = (finding.task, finding.metric)
            rows.append(
                FindingRow(
                    finding.task, panel.title.text, panel.title.ability, finding.metric,
                    words.metric_label(finding.metric), finding.loss_name, key in first,
                    key in first and index == 0, finding.verdict, words.VERDICTS[finding.verdict], _numbers(finding),
                    words.sentence(finding, ranges.get(key, points.seen), analysis.level, name_loss=several),
                    finding.why,
                )
            )  # fmt: skip
    return rows


def _ranges(analysis: Analysis, points: Points) -> dict[tuple[str, str], words.Seen]:
    """The losses seen by each (task, metric) on one loss axis."""
    rows = frames.of_loss(analysis.observations, points.loss_name)
    grouped = rows.groupby(["task", "metric"], sort=False)["loss"].agg(["max", "min"])
    return {
        (str(task), str(metric)): words.Seen(float(high), float(low), points.seen.unit)
        for (task, metric), high, low in zip(grouped.index, grouped["max"], grouped["min"], strict=True)
    }


NUMBERS = ("onset loss", "onset width", "threshold", "size effect (pp per decade)", "chance", "Spearman", "Pearson")
"""What the columns of ``FindingRow.numbers`` are called."""


def _numbers(finding: Finding) -> Row:
    """The cells of ``NUMBERS``."""
    width = finding.width
    return (
        _loss(finding.onset),
        cells.NOTHING if width is None else cells.between(width.nats, width.low, width.high),
        _loss(finding.threshold),
        cells.size_effect(finding.size_effect),
        cells.number(finding.chance), cells.number(finding.spearman), cells.number(finding.pearson),
    )  # fmt: skip


def _loss(found: LossInterval | None) -> cells.Cell:
    if found is None:
        return cells.NOTHING
    value, low, high = words.losses(found)
    return cells.Cell(value, found.loss, f"{low} to {high}")


NAMED = 4
"""Tasks that the first paragraph names; of more it gives the number."""


def lead(panels: Sequence[Panel], unit: str) -> str:
    """The findings in a few sentences, each task under its headline metric."""
    shown = [panel for panel in panels if panel.finding.onset is not None]
    found = [panel for panel in panels if panel.finding.threshold is not None]
    have = "has" if len(found) == 1 else "have"
    named = _names([panel.title.text for panel in found])
    told = [
        f"{len(shown)} of {len(panels)} abilities exceed chance within the losses seen{_span(shown, unit)}.",
        f"{len(found)} of them {have} a threshold{named}.",
    ]
    others = {
        "smooth": ("improves without one", "improve without one"),
        "at_chance": ("is not above chance", "are not above chance"),
        "inconclusive": ("is inconclusive as to a threshold", "are inconclusive as to a threshold"),
    }
    for verdict, forms in others.items():
        of = [panel.title.text for panel in panels if panel.finding.verdict == verdict]
        if of:
            told.append(f"{len(of)} {forms[len(of) > 1]}{_names(of)}.")
    sizes = [panel.finding.size_effect.verdict for panel in panels if panel.finding.size_effect is not None]
    if sizes:
        counts = [f"{sizes.count(verdict)} {label}" for verdict, label in words.EFFECTS.items() if verdict in sizes]
        told.append(f"Size at equal loss, on the {len(sizes)} where it can be asked: {', '.join(counts)}.")
    return " ".join(told)


def _at(panel: Panel) -> float:
    assert panel.finding.onset is not None, "only of panels with an onset loss"
    return panel.finding.onset.loss


def _span(shown: Sequence[Panel], unit: str) -> str:
    if not shown:
        return ""
    ordered = sorted(shown, key=_at, reverse=True)
    first, last = ((words.number(_at(panel)), panel.title.text) for panel in (ordered[0], ordered[-1]))
    if len(shown) == 1:
        return f", from a loss of {first[0]} {unit} on ({first[1]})"
    return f", the first from a loss of {first[0]} ({first[1]}), the last from {last[0]} {unit} ({last[1]})"


def _names(titles: Sequence[str]) -> str:
    return f" ({', '.join(titles)})" if 0 < len(titles) <= NAMED else ""


def fact_list(analysis: Analysis, points: Points, study: StudyFacts | None) -> list[tuple[str, str]]:
    """What was run, as pairs of a name and a value."""
    checkpoints = points.checkpoints
    told = [
        ("Source", analysis.source),
        ("Runs", f"{checkpoints['run'].nunique():,}"),
        ("Sizes", _range(checkpoints["params"], " parameters")),
        ("Checkpoints", f"{len(checkpoints):,}"),
        ("Training tokens", _range(checkpoints["tokens"], "")),
        ("Losses seen", f"{points.seen}, {words.loss_label(points.loss_name).lower()}"),
        ("Tasks", f"{len({finding.task for finding in analysis.findings}):,}"),
        ("Observations", f"{len(analysis.observations):,}"),
    ]
    if study is not None:
        told.insert(0, ("Study", study.name))
        told += _floors(study, points.seen.unit)
        told += [(name, f"{value:,}" if isinstance(value, int | float) else value)
                 for name, value in study.counts.items()]  # fmt: skip
        if study.seconds is not None:
            told.append(("Time taken", words.duration(study.seconds)))
        if study.digest:
            told.append(("Digest", study.digest[:16]))
    return told


def _floors(study: StudyFacts, unit: str) -> list[tuple[str, str]]:
    """The entropy of the held-out text, whole and by language, where it is known."""
    known = {language: value for language, value in study.floor.items() if value is not None}
    whole = known.pop("all", None)
    by_language = ", ".join(f"{words.LANGUAGES.get(name, name)} {words.number(known[name], 3)}" for name in known)
    parts = [f"{words.number(whole, 3)} {unit}" if whole is not None else "", by_language]
    text = "; ".join(part for part in parts if part)
    return [("Entropy of the held-out text", text)] if text else []


def _range(values: pd.Series[float], unit: str) -> str:
    known = values[np.isfinite(values)]
    if known.empty:
        return "not known"
    low, high = words.count(float(known.min())), words.count(float(known.max()))
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"


def item_rows(study: StudyFacts) -> list[dict[str, Any]]:
    """A few questions with what the smallest and the largest model answered."""
    asked = [
        {
            "title": words.title(str(row["task"])).text, "task": str(row["task"]), "item": str(row["item"]),
            "prompt": cells.plain(row["prompt"]), "end": _end(cells.plain(row["prompt"])),
            "gold": cells.plain(row["gold"]),
            "answers": [
                {"who": who, "text": cells.plain(row[column]), "right": cells.right(row[f"{column}_right"])}
                for column, who in (("smallest", study.smallest or "smallest"), ("largest", study.largest or "largest"))
            ],
        }
        for row in study.items.to_dict("records")
    ]  # fmt: skip
    return sorted(asked, key=lambda item: words.title(item["task"]).rank)


PROMPT = 600
"""Longer prompts show their last lines, where the question is; their examples unfold."""


def _end(prompt: str) -> str:
    """The last whole lines of a long prompt; a short one is its own end."""
    if len(prompt) <= PROMPT:
        return prompt
    tail = prompt[-PROMPT:]
    return tail[tail.find("\n") + 1 :]


def notes(analysis: Analysis) -> list[str]:
    """What was left out or changed when the table was read."""
    told = [*analysis.observations.attrs.get("notes", ()), *analysis.notes]
    return list(dict.fromkeys(str(note) for note in told))
