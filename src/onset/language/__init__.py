"""The language of pages, figures and summaries: messages translated by gettext, English where nothing else is chosen.

Catalogues stand in ``<language>/LC_MESSAGES``: ``onset.po`` is edited by hand, ``onset.mo`` is made from it by
``make messages`` and read by the standard library's ``gettext``. Results and JSON are English in every language:
only what is shown to a reader is translated.
"""

from __future__ import annotations

import gettext
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

from onset.errors import OnsetError

LANGUAGES = {"en": "English", "zh": "中文"}
"""The languages by code, each by its own name."""

FOLDER = Path(__file__).parent
DOMAIN = "onset"

_current: ContextVar[str] = ContextVar("language", default="en")


@contextmanager
def use(language: str) -> Iterator[None]:
    """Show everything in that language inside the ``with``; raises OnsetError for one that is not known."""
    if language not in LANGUAGES:
        raise OnsetError(f"no language is called '{language}'", where="--language", advice=f"one of {list(LANGUAGES)}")
    token = _current.set(language)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> str:
    """The code of the language in use."""
    return _current.get()


def _(message: str, **values: Any) -> str:
    """A message in the language in use, its ``{names}`` filled in."""
    found = catalogue(current()).gettext(message) if message else ""
    return found.format(**values) if values else found


def plural(one: str, many: str, count: int, **values: Any) -> str:
    """A message for one or for several; ``{count}`` is filled in with the other names."""
    return catalogue(current()).ngettext(one, many, count).format(count=count, **values)


def forms(one: str, many: str) -> tuple[str, str]:
    """Two forms of a message that is shown elsewhere: marks them for translation."""
    return one, many


def noted(message: str) -> str:
    """The message itself: marks a text for translation where it is not shown yet."""
    return message


def listed(parts: list[str]) -> str:
    """Names in a row, with the comma of the language."""
    return ("、" if current() == "zh" else ", ").join(parts)


@cache
def catalogue(language: str) -> gettext.NullTranslations:
    """The messages of a language; English is the messages themselves."""
    if language == "en":
        return gettext.NullTranslations()
    return gettext.translation(DOMAIN, FOLDER, languages=[language])
