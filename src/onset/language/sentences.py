"""Sentences that the statistics have written, in the language in use.

Results hold finished English sentences with numbers in them. ``language.patterns`` has the pattern of each: a sentence
that fits one is written anew by the pattern's translation, and one that fits none stays English.
"""

from __future__ import annotations

import re
from functools import cache

from onset import language
from onset.language.patterns import PATTERNS

_JOINTS = ((r"(?<=[.:]) (?=[A-Z])", ""), (r"; ", "；"), (r", (?=[a-z])", "，"))
"""Where sentences and clauses are joined, and how the parts are joined in Chinese."""


def told(text: str) -> str:
    """The text in the language in use, sentence by sentence, else clause by clause."""
    if language.current() == "en" or not text:
        return text
    found = _told(text)
    return text if found is None else found


def untranslated(text: str) -> bool:
    """Whether a text of the statistics has no translation in the language in use."""
    return language.current() != "en" and bool(text) and _told(text) is None


def _told(text: str) -> str | None:
    whole = _matched(text)
    if whole is not None:
        return whole
    for joint, joined in _JOINTS:
        parts = re.split(joint, text)
        if len(parts) > 1:
            made = [_told(part) for part in parts]
            if None not in made:
                return joined.join(str(part) for part in made)
    return None


def _matched(text: str) -> str | None:
    for pattern, wanted in _patterns(language.current()):
        found = pattern.fullmatch(text)
        if found is not None:
            inner = {name: _told(value) or value for name, value in found.groupdict().items()}
            return wanted.format(**inner)
    return None


@cache
def _patterns(code: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    """Patterns with the texts that take their place; those with more fixed letters are tried first."""
    known = language.catalogue(code)
    fixed = sorted(PATTERNS, key=lambda pattern: -len(re.sub(r"\{\w+\}", "", pattern)))
    return tuple((_pattern(pattern), known.gettext(pattern)) for pattern in fixed)


def _pattern(message: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", message)
    made = "".join(f"(?P<{part}>.+?)" if place % 2 else re.escape(part) for place, part in enumerate(parts))
    return re.compile(made, re.DOTALL)
