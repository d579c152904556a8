"""What a page says, before it is set: its findings in words and numbers, what was run, questions and answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from onset.language import _, plural
from onset.language.sentences import told as in_language
from onset.plots import frames, words
from onset.plots.facts import StudyFacts
from onset.plots.frames import Panel, Points
from onset.plots.sentences import sentence
from onset.report import cells
from onset.report.cells import Row
from onset.results import Analysis, Finding, LossInterval, TaskQuality
from onset.results.text import duration


@dataclass(frozen=True, slots=True)
class FindingRow:
    """A finding in the table, in the details of its task and in words."""

    task: str
    title: str
    ability: str
    metric: str
    metric_label: str
    loss: str
    headline: bool
    """Whether this is the task's headline metric."""
    main: bool
    """Whether it is that on the first loss measure."""
    verdict: str
    verdict_label: str
    where: str
    """Its threshold, or else its onset loss, with the interval; empty without either."""
    at_end: bool
    """Whether that is the highest or the lowest loss fitted: the onset may lie beyond."""
    numbers: Row
    details: Row
    sentence: str
    why: str
    asked: str
    """What befell the questions; empty where nothing did."""


def finding_rows(book: Sequence[tuple[Points, list[Panel]]], analysis: Analysis) -> list[FindingRow]:
    """The findings in the order of the panels, the first loss measure before the others."""
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
                    key in first and index == 0, finding.verdict, words.verdict(finding.verdict),
                    where(finding), _at_end(finding), _numbers(finding), _details(finding),
                    sentence(finding, ranges.get(key, points.seen), analysis.level, name_loss=several),
                    in_language(finding.why), in_language(finding.asked),
                )
            )  # fmt: skip
    return rows


def where(finding: Finding) -> str:
    """The threshold, or else the onset loss, with its interval; empty without either."""
    found = finding.threshold or finding.onset
    return "" if found is None else words.place(found)


def _at_end(finding: Finding) -> bool:
    onset = finding.onset
    return finding.threshold is None and onset is not None and (onset.open_above or onset.open_below)


def _ranges(analysis: Analysis, points: Points) -> dict[tuple[str, str], words.Seen]:
    """The losses seen by each (task, metric) on one loss measure."""
    rows = frames.of_loss(analysis.observations, points.loss_name)
    grouped = rows.groupby(["task", "metric"], sort=False)["loss"].agg(["max", "min"])
    return {
        (str(task), str(metric)): words.Seen(float(high), float(low), points.seen.unit)
        for (task, metric), high, low in zip(grouped.index, grouped["max"], grouped["min"], strict=True)
    }


def columns() -> tuple[str, ...]:
    """What the columns of ``FindingRow.numbers`` are called."""
    return (
        _("onset loss"), _("threshold"), _("size effect (pp per decade)"), _("signal to noise"), _("monotonicity"),
        _("agreement of a continuous metric"),
    )  # fmt: skip


def _numbers(finding: Finding) -> Row:
    return (
        _loss(finding.onset), _loss(finding.threshold), cells.size_effect(finding.size_effect),
        *quality(finding.quality),
    )  # fmt: skip


def quality(found: TaskQuality | None) -> Row:
    """How well a task tells models apart: signal to noise, monotonicity, the continuous metric that agrees best."""
    if found is None:
        return cells.NOTHING, cells.NOTHING, cells.NOTHING
    agreement = cells.number(found.proxy_agreement)
    proxy = words.metric_label(found.proxy) if found.proxy else ""
    return (
        replace(cells.number(found.signal_to_noise, 1), note=_("noise {pp} pp", pp=words.number(found.noise_pp, 1))),
        cells.number(found.monotonicity), replace(agreement, note=proxy),
    )  # fmt: skip


def detail_columns() -> tuple[str, ...]:
    """What the columns of ``FindingRow.details`` are called."""
    return (
        _("onset loss"), _("onset width"), _("threshold"), _("log Bayes factor"), _("size effect (pp per decade)"),
        _("chance"), "Spearman", "Pearson", _("questions"), _("points"), _("runs"),
    )  # fmt: skip


def _details(finding: Finding) -> Row:
    width, factor = finding.width, finding.log_bayes_factor
    return (
        _loss(finding.onset),
        cells.NOTHING if width is None else cells.between(width.nats, width.low, width.high),
        _loss(finding.threshold),
        cells.number(None if factor is None else factor.threshold, 1),
        cells.size_effect(finding.size_effect), cells.number(finding.chance), cells.number(finding.spearman),
        cells.number(finding.pearson), cells.whole(finding.n_examples), cells.whole(finding.n_points),
        cells.whole(finding.n_runs),
    )  # fmt: skip


def _loss(found: LossInterval | None) -> cells.Cell:
    if found is None:
        return cells.NOTHING
    value, low, high = words.losses(found)
    if found.open_above:
        note = _("{low} or above", low=low) if found.low < found.loss else ""
        return cells.Cell(_("at or above {loss}", loss=value), found.loss, note)
    if found.open_below:
        return cells.Cell(_("at or below {loss}", loss=value), found.loss, _("{high} or below", high=high))
    low, high = words.ends(found)
    return cells.Cell(value, found.loss, _("{low} to {high}", low=low, high=high))


def seen_in(panel: Panel, sentence: str) -> str:
    """What the picture of a panel shows, for those who do not see it."""
    count = len(panel.points)
    curve = panel.curve.dropna(subset=["score"])
    if not len(curve):
        return plural("{count} checkpoint. {sentence}", "{count} checkpoints. {sentence}", count, sentence=sentence)
    first, last = curve.iloc[-1], curve.iloc[0]
    return plural(
        "{count} checkpoint; the curve goes from {score} at a loss of {loss} to {end} at {lowest}. {sentence}",
        "{count} checkpoints; the curve goes from {score} at a loss of {loss} to {end} at {lowest}. {sentence}",
        count, score=words.number(first["score"]), loss=words.number(first["loss"]), end=words.number(last["score"]),
        lowest=words.number(last["loss"]), sentence=sentence,
    )  # fmt: skip


def fact_list(analysis: Analysis, points: Points, study: StudyFacts | None) -> list[tuple[str, str]]:
    """What was run, as pairs of a name and a value."""
    checkpoints = points.checkpoints
    told = [
        (_("Source"), analysis.source),
        (_("Runs"), f"{checkpoints['run'].nunique():,}"),
        (_("Sizes"), _range(checkpoints["params"], _(" parameters"))),
        (_("Checkpoints"), f"{len(checkpoints):,}"),
        (_("Training tokens"), _range(checkpoints["tokens"], "")),
        (_("Losses seen"), f"{points.seen} · {words.loss_label(points.loss_name)}"),
        (_("Tasks"), f"{len({finding.task for finding in analysis.findings}):,}"),
        (_("Observations"), f"{len(analysis.observations):,}"),
    ]
    if study is not None:
        told.insert(0, (_("Study"), study.name))
        told += _floors(study, points.seen.unit)
        told += [(_(name), f"{value:,}" if isinstance(value, int | float) else value)
                 for name, value in study.counts.items()]  # fmt: skip
        if study.seconds is not None:
            told.append((_("Time taken"), duration(study.seconds)))
        if study.digest:
            told.append((_("Digest"), study.digest[:16]))
    return told


def _floors(study: StudyFacts, unit: str) -> list[tuple[str, str]]:
    """The entropy of the held-out text, whole and by language, where it is known."""
    known = {language: value for language, value in study.floor.items() if value is not None}
    whole = known.pop("all", None)
    by_language = ", ".join(f"{_(words.LANGUAGES.get(name, name))} {words.number(known[name], 3)}" for name in known)
    parts = [f"{words.number(whole, 3)} {unit}" if whole is not None else "", by_language]
    text = "; ".join(part for part in parts if part)
    return [(_("Entropy of the held-out text"), text)] if text else []


def _range(values: pd.Series[float], unit: str) -> str:
    known = values[np.isfinite(values)]
    if known.empty:
        return _("not known")
    low, high = words.count(float(known.min())), words.count(float(known.max()))
    return f"{low}{unit}" if low == high else _("{low} to {high}", low=low, high=high) + unit


def item_rows(study: StudyFacts) -> list[dict[str, Any]]:
    """A few questions with what the smallest and the largest model answered."""
    asked = [
        {
            "title": words.title(str(row["task"])).text,
            "task": str(row["task"]),
            "item": str(row["item"]),
            "prompt": cells.plain(row["prompt"]),
            "end": _end(cells.plain(row["prompt"])),
            "gold": cells.plain(row["gold"]),
            "answers": [
                {"who": who, "text": cells.plain(row[column]), "right": cells.right(row[f"{column}_right"])}
                for column, who in (
                    ("smallest", study.smallest or _("smallest")),
                    ("largest", study.largest or _("largest")),
                )
            ],
        }
        for row in study.items.to_dict("records")
    ]
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
    return list(dict.fromkeys(in_language(str(note)) for note in told))
