"""Without these a changed corpus could pass for the old one, or terabytes be read at every load of a study."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from onset.errors import OnsetError
from onset.study import fingerprints


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Files that were read, with a cache of the test's own in which files of any size are kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(fingerprints, "LEAST_BYTES", 0)
    monkeypatch.setattr(fingerprints, "SETTLED_NS", -1)
    found: list[str] = []
    digest = hashlib.file_digest

    def counted(stream: Any, kind: str) -> Any:
        found.append(Path(stream.name).name)
        return digest(stream, kind)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    return found


def test_a_file_is_read_once_until_it_changes(read: list[str], tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("one")
    first = fingerprints.sha256(file)
    assert fingerprints.sha256(file) == first == hashlib.sha256(b"one").digest()
    assert read == ["a.txt"]
    before = file.stat()
    file.write_text("two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert fingerprints.sha256(file) == hashlib.sha256(b"two").digest(), "same size, and a time that was set back"


def test_what_was_changed_just_now_is_not_kept(
    read: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprints, "SETTLED_NS", 10**12)
    file = tmp_path / "a.txt"
    file.write_text("one")
    fingerprints.sha256(file)
    fingerprints.sha256(file)
    assert read == ["a.txt", "a.txt"]


def test_a_damaged_cache_is_no_cache_and_an_absent_file_an_error(read: list[str], tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("one")
    fingerprints.sha256(file)
    fingerprints.cache_file().write_text("[1, 2")
    assert fingerprints.sha256(file) == hashlib.sha256(b"one").digest()
    with pytest.raises(OnsetError, match="cannot read"):
        fingerprints.sha256(tmp_path / "absent.txt")
