"""Cells of the page's tables: what each shows, and what it is sorted by."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from onset.language import _
from onset.plots import words
from onset.results import SizeEffect


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table; ``sort`` is a number in columns of numbers, NaN for a missing one."""

    text: str
    sort: str | float
    note: str = ""
    """In small print below it; each line stands on its own."""
    kind: str = ""


Row = tuple[Cell, ...]

NOTHING = Cell("", math.nan)


def number(given: Any, places: int = 2) -> Cell:
    """A number with so many decimals."""
    found = value(given)
    return Cell(words.number(found, places), found)


def whole(given: Any) -> Cell:
    """A whole number with thousands apart."""
    found = value(given)
    return NOTHING if math.isnan(found) else Cell(f"{found:,.0f}", found)


def count(given: Any) -> Cell:
    """A count for readers, such as 1.5 B."""
    found = value(given)
    return Cell(words.count(found), found)


def share(given: Any) -> Cell:
    """A share in percent."""
    found = value(given)
    return NOTHING if math.isnan(found) else Cell(f"{100 * found:.0f} %", found)


def between(given: Any, low: Any, high: Any, show: Any = words.number) -> Cell:
    """A value with its interval below it; ``show`` makes a text of a number."""
    found = value(given)
    if math.isnan(found):
        return NOTHING
    ends = [show(value(end)) or "∞" for end in (low, high)]
    return Cell(show(found) or "∞", found, _("{low} to {high}", low=ends[0], high=ends[1]))


def text(given: Any) -> Cell:
    """Words."""
    return Cell(plain(given), plain(given))


def task(name: str) -> Cell:
    """A task by its title, and by its own name where that is another."""
    title = words.title(name)
    return Cell(title.text, title.text, "" if title.text == name else name)


def size_effect(effect: SizeEffect | None) -> Cell:
    """What ten times the parameters change at equal loss, and along the loss where that was asked."""
    if effect is None or effect.pp_per_decade is None:
        return NOTHING
    note = _("{low} to {high}", low=words.number(effect.low, 1), high=words.number(effect.high, 1))
    if (along := effect.along_loss) is not None:
        nats = words.number(along.nats_per_decade, 2, sign=True)
        low, high = words.number(along.low), words.number(along.high)
        note += "\n" + _("curve {nats} nats, {low} to {high}", nats=nats, low=low, high=high)
    shown = words.number(effect.pp_per_decade, 1, sign=True)
    return Cell(shown, effect.pp_per_decade, note, words.effect(effect.verdict))


def value(given: Any) -> float:
    """A number, NaN for a missing one."""
    return math.nan if given is None or pd.isna(given) else float(given)


def plain(given: Any) -> str:
    """A text, empty for a missing one."""
    return "" if given is None or (isinstance(given, float) and math.isnan(given)) else str(given)


def right(given: Any) -> bool | None:
    """Whether an answer was right; None where that is not known."""
    return None if given is None or pd.isna(given) else bool(given)
