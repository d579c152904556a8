"""The one place where JSON and TOML that came from elsewhere are read: study files, records, configs, results.

What is not whole, nested deeper than ``DEPTH``, larger than ``WHOLE``, names a key twice, or is no plain file is one
OnsetError that says where and what to do. Numbers that are counts go through ``count``.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from onset.errors import OnsetError

DEPTH = 100
"""Levels of lists and tables within each other; deeper ones are an attack or a mistake."""
WHOLE = 2**30
"""Bytes of a JSON or TOML file, and of a text that is read at once."""
LARGEST = 2**63 - 1
"""The largest count, which 64 bits hold."""

CUT = "it may be cut short: fetch or write it again"
"""What to do about a file that does not parse, where the reader knows nothing better."""

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class _TwiceError(ValueError):
    """A key that stands twice in one object: which of the two is meant cannot be known."""


def plain_file(path: str | Path, *, what: str = "file", advice: str = "check the path") -> Path:
    """The path of a file that can be read without waiting; a pipe, a device and a folder are none.

    Raises OnsetError for them, for what is not there, and for a path that the system cannot hold.
    """
    try:
        mode = os.stat(path).st_mode
        str(path).encode("utf-8")
    except FileNotFoundError as error:
        raise OnsetError(f"there is no such {what}", where=path, advice=advice) from error
    except UnicodeEncodeError as error:
        raise OnsetError("the path is not UTF-8", where=path, advice="rename the file") from error
    except (OSError, ValueError) as error:
        raise _unreadable(path, error, advice) from error
    if stat.S_ISDIR(mode):
        raise OnsetError(f"this is a folder, not a {what}", where=path, advice=advice)
    if not stat.S_ISREG(mode):
        raise OnsetError(
            "this is a pipe, a device or a socket, not a file", where=path, advice="write it to a file first"
        )
    return Path(path)


def there(path: str | Path) -> bool:
    """Whether something is at a path. Raises OnsetError for a path that the system cannot hold or follow."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        raise _unreadable(path, error, "check the path") from error
    return True


def text(path: str | Path, *, advice: str = "check the file and its rights", most: int = WHOLE) -> str:
    """The text of a UTF-8 file, without its byte order mark. Raises OnsetError for one above ``most`` bytes."""
    path = plain_file(path, advice=advice)
    try:
        with open(path, "rb") as handle:
            data = handle.read(most + 1)
    except (OSError, MemoryError) as error:
        raise _unreadable(path, error, advice) from error
    if len(data) > most:
        raise OnsetError(
            f"the file is larger than {most / 1e6:,.0f} MB", where=path, advice="split it, or check what it is"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise OnsetError(f"not UTF-8 text: {error.reason} at byte {error.start}", where=path, advice=advice) from error


def json_file(path: str | Path, *, advice: str = CUT) -> Any:
    """The value of a JSON file."""
    return json_text(text(path, advice=advice), where=path, advice=advice)


def json_object(path: str | Path, *, advice: str = CUT) -> dict[str, Any]:
    """The object of a JSON file; any other value is refused."""
    return json_dict(text(path, advice=advice), where=path, advice=advice)


def json_dict(given: str | bytes, *, where: object, advice: str = CUT) -> dict[str, Any]:
    """The object that a JSON text holds; any other value is refused."""
    found = json_text(given, where=where, advice=advice)
    if not isinstance(found, dict):
        raise OnsetError(f"not a JSON object but {_kind(found)}", where=where, advice=advice)
    return found


def json_text(given: str | bytes, *, where: object, advice: str = CUT) -> Any:
    """The value of a JSON text. ``NaN`` and ``Infinity`` are read, as trainers write them: see ``count``."""
    try:
        given = given.decode("utf-8-sig") if isinstance(given, bytes) else given
        found = json.loads(given, object_pairs_hook=_once)
        if given.count("[") + given.count("{") > DEPTH and depth(found) > DEPTH:
            raise RecursionError
        if _SURROGATE.search(given):
            json.dumps(found, ensure_ascii=False).encode("utf-8")
    except RecursionError as error:
        raise _too_deep(where) from error
    except UnicodeEncodeError as error:
        raise OnsetError(
            "the JSON holds half of a character (a lone surrogate)", where=where, advice="write it as UTF-8"
        ) from error
    except _TwiceError as error:
        raise OnsetError(f"the JSON has the key '{error}' twice", where=where, advice="keep one of them") from error
    except (ValueError, MemoryError) as error:
        raise OnsetError(f"not valid JSON: {error}", where=where, advice=advice) from error
    return found


def json_lines(path: str | Path, *, advice: str = CUT) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON Lines file with the numbers of their lines, empty lines left out."""
    for number, line in enumerate(text(path, advice=advice).split("\n"), start=1):
        if line.strip():
            yield number, json_dict(line, where=f"{path}, line {number}", advice=advice)


def toml_file(path: str | Path, *, advice: str = "check the path") -> dict[str, Any]:
    """The tables of a TOML file."""
    return toml_text(text(path, advice=advice), where=path)


def toml_text(given: str, *, where: object) -> dict[str, Any]:
    """The tables of a TOML text."""
    try:
        found = tomllib.loads(given)
    except RecursionError as error:
        raise _too_deep(where) from error
    except (ValueError, MemoryError) as error:
        raise OnsetError(f"not valid TOML: {error}", where=where, advice="mend the line that is named") from error
    if depth(found) > DEPTH:
        raise _too_deep(where)
    return found


def depth(value: Any) -> int:
    """Levels of lists and tables within each other, without recursion."""
    levels, level = 0, [value]
    while level:
        holders = [one for one in level if isinstance(one, dict | list)]
        if not holders:
            return levels
        levels += 1
        level = [inner for one in holders for inner in (one.values() if isinstance(one, dict) else one)]
    return levels


def count(value: Any, name: str, *, where: object, least: int = 0) -> int:
    """A value that is a whole number within 64 bits; a text of digits counts, infinity does not."""
    try:
        number = float(value)
        whole = int(value) if not isinstance(value, str) or value.strip().isdigit() else int(number)
    except (TypeError, ValueError, OverflowError):
        number, whole = math.nan, 0
    if isinstance(value, bool) or not math.isfinite(number) or not least <= whole <= LARGEST:
        raise OnsetError(
            f"{name} {shown(value)} is no count", where=where, advice=f"give a whole number from {least} to 2^63 - 1"
        )
    return whole


def shown(value: Any) -> str:
    """A foreign value as a message names it, not its whole content."""
    return _kind(value) if isinstance(value, dict | list) else repr(value)[:60]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        raise _TwiceError(next(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
    return made


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _too_deep(where: object) -> OnsetError:
    return OnsetError(f"nested deeper than {DEPTH} levels", where=where, advice="check what this file is")


def _unreadable(path: object, error: BaseException, advice: str) -> OnsetError:
    said = getattr(error, "strerror", None) or str(error) or "out of memory"
    return OnsetError(f"cannot read: {said}", where=path, advice=advice)
