"""Items from rows of any shape: which field is the question, which are the choices, and what the answer holds."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from onset.errors import OnsetError
from onset.tasks.sources import whole
from onset.tasks.task import Item, Row

Answer = Literal["index", "index1", "letter", "text"]
"""How a row names its right choice."""
_FIELD = re.compile(r"\{([^{}]+)\}")


class Fields(BaseModel):
    """Where the parts of an item stand in a row: a field, ``a.b`` inside of one, or text with ``{field}`` in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = "id"
    question: str = "question"
    context: str = "context"
    choices: str | tuple[str, ...] = "choices"
    """A field that holds a list, or the fields of the choices one by one."""
    answer: str = "answer"
    answers: str = "answers"
    """Free answers: a field that holds a text or a list, the reference first."""
    rationale: str = "rationale"
    subject: str = "subject"


def item_of(fields: Fields, answer_is: Answer, free: bool, row: Row) -> Item:
    """The item of a row. Raises KeyError for a needed field that the row lacks, OnsetError for one of another kind."""
    question, context = _optional(row, fields.question), _optional(row, fields.context)
    if not question and not context:
        _text(row, fields.question)  # raises KeyError where both are absent
    choices = () if free else _choices(row, fields)
    given = _value(row, fields.answers) if free else None
    return Item(
        id=str(_value(row, fields.id)),
        question=question,
        choices=choices,
        gold=None if free else _gold(_value(row, fields.answer), choices, answer_is),
        answers=tuple(
            str(one).strip() for one in (given if isinstance(given, list | tuple) else (given,) if free else ())
        ),
        context=context,
        rationale=_optional(row, fields.rationale),
        subject=_optional(row, fields.subject),
    )


def _choices(row: Row, fields: Fields) -> tuple[str, ...]:
    if not isinstance(fields.choices, str):
        return tuple(_text(row, one) for one in fields.choices)
    found = _value(row, fields.choices)
    if not isinstance(found, list | tuple):
        raise OnsetError(
            f"the field '{fields.choices}' is not a list",
            where=f"row '{row.get('id', '?')}'",
            advice="name a field that holds a list, or the fields of the choices: choices = ['a', 'b']",
        )
    return tuple(str(one).strip() for one in found)


def _gold(given: Any, choices: tuple[str, ...], answer_is: Answer) -> int | None:
    """The 0-based index of the right choice; None where the row names none of them (the item is then not asked)."""
    if answer_is == "text":
        text = str(given).strip()
        return choices.index(text) if choices.count(text) == 1 else None
    if answer_is == "letter":
        letter = str(given).strip().upper()
        return string.ascii_uppercase.index(letter) if len(letter) == 1 and letter in string.ascii_uppercase else None
    found = whole(given)
    return None if found is None else found - (answer_is == "index1")


def _value(row: Row, place: str) -> Any:
    """What stands at a place of a row. Raises KeyError."""
    if "{" in place:
        return _FIELD.sub(lambda found: str(_value(row, found[1])), place)
    if place in row:
        return row[place]
    value: Any = row
    for part in place.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise KeyError(place)
        value = value[part]
    return value


def _text(row: Row, place: str) -> str:
    return str(_value(row, place)).strip()


def _optional(row: Row, place: str) -> str:
    """The text of a field; empty where the row has none of that plain name."""
    try:
        value = _value(row, place)
    except KeyError:
        if "{" in place:
            raise
        return ""
    return "" if value is None else str(value).strip()
