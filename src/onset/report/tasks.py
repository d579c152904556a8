"""The tasks of a page, one after another: their picture, their metrics, their sentences and their questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from onset.plots import words
from onset.plots.figures import Drawing
from onset.plots.frames import Panel
from onset.report import data, static
from onset.report.content import FindingRow, seen_in
from onset.results import Analysis

ORDER = ("emergent", "smooth", "inconclusive", "at_chance")
"""Groups of tasks by verdict, as they stand on the page."""

MANY = 12
"""With more tasks, those that are not above chance stand behind a count."""

STATIC = 64
"""Metrics beside the headline ones are drawn before scripts run where there are no more panels than this."""


@dataclass(frozen=True)
class Picture:
    """A panel as it stands before scripts run."""

    panel: int
    """Its place among the panels of the first loss measure."""
    heading: str
    verdict: str
    subtitle: str
    alt: str
    svg: Markup
    """Empty where scripts alone draw it."""


@dataclass(frozen=True)
class TaskView:
    """A task on the page."""

    index: int
    name: str
    title: str
    ability: str
    row: FindingRow
    """Of its headline metric on the first loss measure."""
    picture: Picture
    rows: list[FindingRow]
    """Of all its metrics and loss measures."""
    metrics: list[Picture]
    """All its metrics on the first loss measure, where there are two or more."""
    spark: Markup
    items: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Group:
    """The tasks of one verdict."""

    verdict: str
    label: str
    tasks: list[TaskView]
    folded: bool


def places(book: Sequence[Drawing]) -> dict[str, int]:
    """The place of each task on the page: those of the first loss measure in the order of its panels."""
    names = [panel.finding.task for drawing in book for panel in drawing.headlines]
    return {name: index for index, name in enumerate(dict.fromkeys(names))}


def views(
    main: Drawing, rows: Sequence[FindingRow], items: Sequence[dict[str, Any]], at: Mapping[str, int], *, drawn: bool
) -> list[TaskView]:
    """The tasks of the first loss measure; their pictures are drawn where ``drawn``."""
    by_key = {(row.task, row.metric): row for row in reversed(rows) if row.loss == main.points.loss_name}
    shared = main.shared("loss")
    panels = static.Panels(shared) if drawn and shared is not None else None
    several = drawn and len(main.panels) <= STATIC
    made = []
    for panel in main.headlines:
        task = panel.finding.task
        of_task = [one for one in main.panels if one.finding.task == task]

        def picture(one: Panel, wanted: bool) -> Picture:
            place = main.panels.index(one)
            svg = panels.draw(one, f"p{place}") if wanted and panels is not None else Markup("")
            row = by_key[one.finding.task, one.finding.metric]
            lower = one.finding.direction == "lower"
            return Picture(place, row.metric_label, row.verdict, data.subtitle(row, lower=lower),
                           seen_in(one, row.sentence), svg)  # fmt: skip

        made.append(
            TaskView(
                at[task], task, panel.title.text, panel.title.ability, by_key[task, panel.finding.metric],
                picture(panel, drawn), [row for row in rows if row.task == task],
                [picture(one, several and one is not panel) for one in of_task] if len(of_task) > 1 else [],
                static.sparkline(panel.curve), [item for item in items if item["task"] == task],
            )
        )  # fmt: skip
    return made


def groups(tasks: Sequence[TaskView]) -> list[Group]:
    """Tasks by verdict; where there are many, those not above chance are folded away behind their count."""
    found = []
    for verdict in ORDER:
        of_verdict = [task for task in tasks if task.row.verdict == verdict]
        if of_verdict:
            folded = verdict == "at_chance" and len(tasks) > MANY
            found.append(Group(verdict, words.verdict(verdict), of_verdict, folded))
    return found


def latex(analysis: Analysis, at: Mapping[str, int]) -> list[str]:
    """LaTeX tables: that of the whole analysis first, then one a task in the order of their places."""
    tables = [analysis.to_latex()]
    for task in sorted(at, key=lambda name: at[name]):
        of_task = tuple(finding for finding in analysis.findings if finding.task == task)
        tables.append(analysis.with_changes(findings=of_task).to_latex())
    return tables
