"""One bad or hostile input, and what is common to the makers of them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

Want = Literal["refused", "accepted", "either"]

LONG = "x" * 5000
ESCAPE = "\x1b]0;title\x07\x1b[31mred"
DEEP = 10_000


@dataclass(frozen=True)
class Case:
    """An input: files, the arguments of ``onset`` that read them, and what is wanted."""

    kind: str
    name: str
    arguments: tuple[str, ...]
    make: Callable[[Path], object]
    """Writes the files into an empty folder, which is the working directory then."""
    want: Want = "refused"
    """Refused with advice; accepted; or either, where an acceptance has to pass the check."""
    check: Callable[[Path, str], str | None] | None = None
    """What is wrong with an acceptance, given the folder and what was printed; None where nothing is."""
    timeout: float = 60.0
    changes: tuple[str, ...] = ()
    """Files that the command is meant to change."""
    largest_file: int | None = None
    """Bytes that a file may reach, as on a full disk."""


def drawn(strategy: st.SearchStrategy[Any], number: int, seed: int) -> list[Any]:
    """Examples of a strategy, the same for the same seed."""
    found: list[Any] = []

    @seeded(seed)
    @settings(
        max_examples=number, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(strategy)
    def draw(value: Any) -> None:
        found.append(value)

    draw()
    return found[:number]


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in nested lists and tables, by its keys."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield (*at, key)
        yield from places(one, (*at, key))


def altered(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    """A copy with another value at a place; ``...`` takes the place away."""
    copy = json.loads(json.dumps(value))
    holder = copy
    for key in at[:-1]:
        holder = holder[key]
    if new is ...:
        del holder[at[-1]]
    else:
        holder[at[-1]] = new
    return copy


WRONG: tuple[Any, ...] = (None, [], {}, "word", "", -1, 1e308, float("inf"), float("nan"), 10**30, True, ..., [[[]]])
"""Values of the wrong kind or size; ``...`` is a key that is not there."""


def alterations(value: Any, number: int, seed: int) -> list[tuple[str, Any]]:
    """Copies of a JSON value, each with one wrong value at one place, and the names of them."""
    rng = random.Random(seed)
    spots = list(places(value))
    found = {}
    while len(found) < min(number, len(spots) * len(WRONG)):
        at, new = rng.choice(spots), rng.choice(WRONG)
        name = ".".join(map(str, at)) + " " + ("absent" if new is ... else repr(new)[:20])
        found[name] = altered(value, at, new)
    return list(found.items())


def broken_texts(text: str) -> dict[str, bytes]:
    """Ways in which a file of JSON or TOML can be no such file."""
    data = text.encode()
    return {
        "empty": b"",
        "cut short": data[: len(data) // 2],
        "zeros": b"\0" * 200,
        "Latin-1": data[:20] + b"\xe9\xff" + data[20:],
        "UTF-16": text.encode("utf-16"),
        "a list": b"[1, 2]",
        "a number": b"7",
        "null": b"null",
        "nested 10,000 deep": b"[" * DEEP + b"]" * DEEP,
        "objects 10,000 deep": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
        "nested 300 deep": b'{"a":' * 300 + b"1" + b"}" * 300,
        "a number of 10,000 digits": b'{"a": ' + b"1" * 10_000 + b"}",
    }
