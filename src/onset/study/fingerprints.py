"""SHA-256 of files, kept in the user's cache by path, size and time of change, so that a corpus is read once.

A file that was changed within the last two seconds is not kept, since it may change again within one tick of the file
system's clock (Git calls such entries racy).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from pathlib import Path

from onset import reading
from onset.errors import OnsetError

LEAST_BYTES = 1 << 24
"""Smaller files are hashed in milliseconds, and not kept."""
SETTLED_NS = 2_000_000_000
"""Nanoseconds since a file's last change from which on it is kept."""


def sha256(file: Path) -> bytes:
    """The digest of a file's content (32 bytes). Raises OnsetError where it cannot be read."""
    try:
        stat = file.stat()
        key, state = str(file.resolve()), [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
        large = stat.st_size >= LEAST_BYTES
        if large and (kept := _kept().get(key)) and kept[:-1] == state:
            return bytes.fromhex(str(kept[-1]))
        with open(file, "rb") as stream:
            made = hashlib.file_digest(stream, "sha256").digest()
        after = file.stat()
    except OSError as error:
        raise OnsetError(f"cannot read: {error.strerror or error}", where=file) from error
    settled = time.time_ns() - max(after.st_mtime_ns, after.st_ctime_ns) > SETTLED_NS
    if large and settled and state == [after.st_size, after.st_mtime_ns, after.st_ctime_ns]:
        _keep(key, [*state, made.hex()])
    return made


def cache_file() -> Path:
    """Where digests are kept."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "onset" / "fingerprints.json"


def _kept() -> dict[str, list[int | str]]:
    """What is kept: path to size, times and digest; nothing where the file is absent or damaged."""
    try:
        found = reading.json_file(cache_file())
    except OnsetError:
        return {}
    entries = found.items() if isinstance(found, dict) else ()
    return {path: entry for path, entry in entries if isinstance(entry, list) and len(entry) == 4}


def _keep(path: str, entry: list[int | str]) -> None:
    """Add an entry. Where nothing can be written, or two processes write at once, a file may be hashed again."""
    with contextlib.suppress(OSError):
        file = cache_file()
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False, encoding="utf-8") as beside:
            json.dump({**_kept(), path: entry}, beside)
        os.replace(beside.name, file)
