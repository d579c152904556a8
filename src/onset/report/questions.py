"""The page's map of questions: which question is learnt when, and the order of abilities."""

from __future__ import annotations

from typing import Any

from onset.language import _
from onset.plots import questions, theme
from onset.report import cells
from onset.report.tables import Table
from onset.results import Questions


def charts(found: Questions | None) -> dict[str, theme.Chart]:
    """The map by the name that the page has for it; nothing where no question was learnt."""
    shown = questions.on_page(found)
    return {} if shown is None else {"questions": questions.by_loss(shown, width="container")}


def drawn(found: Questions | None) -> tuple[int, int]:
    """Questions on the map, and questions that were learnt."""
    shown = questions.on_page(found)
    if found is None or found.items is None or shown is None or shown.items is None:
        return 0, 0
    return len(shown.items), int((found.items["state"] == "learnt").sum())


def order(found: Questions | None) -> Table:
    """The order of abilities, one row a task."""
    names = (
        _("task"), _("loss at which half are known"), _("learnt"), _("before the next"), _("questions"),
        _("lost again, a question"),
    )  # fmt: skip
    rows = [_row(row) for row in ([] if found is None else found.order.to_dict("records"))]
    return Table(names, 1, rows)


def _row(row: Any) -> cells.Row:
    return (
        cells.task(str(row["task"])), cells.between(row["loss"], row["low"], row["high"]), cells.share(row["learnt"]),
        cells.share(row["before_next"]), cells.whole(row["items"]), cells.number(row["flips"], 1),
    )  # fmt: skip
