"""A folder kept in a store (s3://, gs://, abfs:// or any URL that fsspec knows), and a machine's copy of it.

What is at the URL counts. A file goes there whole. A folder that appears whole here (a checkpoint, a resume state,
tokens) goes there file by file and its list, ``.whole``, last: without its list it is not there. Nothing is renamed,
locked or mapped into memory at the store, which object stores cannot do.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from onset import reading
from onset.errors import OnsetError

WHOLE = ".whole"
"""The list of a folder's files in the store: ``{"id": ..., "files": [...]}``; the copy that is the same has it too."""
ELSEWHERE = ".elsewhere"
"""In place of a folder's files, in a copy that needs to know of it only."""
UNIT = re.compile(r"(runs/[^/]+/(?:steps|resume)/\d+|text/[^/.][^/]*(?=/))(?:/|$)")
"""Folders that appear whole, by the beginning of a name."""
OBJECTS = frozenset(("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "oci", "r2", "memory"))
"""Protocols of stores in which what is written appears whole, and that have no folders."""
RESTS = (1.0, 3.0, 9.0)
"""Seconds to wait before a call to the store is tried again: connections break."""

_Found = TypeVar("_Found")


def is_url(out: Path | str) -> bool:
    """Whether ``--out`` means a store, not a folder of this machine."""
    return (found := _protocol(out)) is not None and found != "file"


def study_folder(out: Path | str) -> Path:
    """The folder that ``--out`` means: a path, or ``file://`` before one.

    Raises OnsetError for another URL: only a whole study can be kept in a store.
    """
    if str(out).rstrip(":/") in OBJECTS and ":" in str(out):
        raise OnsetError("this URL names no store", where=out, advice="give one with a bucket: s3://bucket/folder")
    if is_url(out):
        raise OnsetError(
            "this cannot be kept in a store",
            where=str(out),
            advice="give a folder of a (shared) file system; 'onset run' and 'onset status' take URLs",
        )
    return Path(re.sub(r"^file:/+", "/", str(out)))


def url_of(out: Path | str) -> str:
    """A store's URL as fsspec takes it. Of a Path, which makes one stroke of two, the two are made again."""
    text = str(out).rstrip("/")
    return text if "://" in text else text.replace(":/", "://", 1)


def _protocol(out: Path | str) -> str | None:
    found = re.match(r"([a-z][a-z0-9+.-]+):/", str(out))
    return None if found is None else found.group(1)


def unit_of(name: str) -> str | None:
    """The folder that appears whole of which the file is a part, or None."""
    found = UNIT.match(name)
    return None if found is None else found.group(1)


class Store:
    """Files by name below a URL. Raises OnsetError for what does not work after some tries."""

    def __init__(self, url: str) -> None:
        bucket = re.match(r"([a-z][a-z0-9+.-]+)://(/*)(?=[^/])", url)
        if bucket is None or (bucket[2] and bucket[1] in OBJECTS - {"memory"}):  # 's3:' would be a folder here
            raise OnsetError("this URL names no store", where=url, advice="give one with a bucket: s3://bucket/folder")
        self.url = url.rstrip("/")

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url}  # connections stay behind

    @cached_property
    def _at(self) -> tuple[Any, str]:
        try:
            from fsspec.core import url_to_fs

            filesystem, root = url_to_fs(self.url, use_listings_cache=False)
        except ImportError as error:
            raise OnsetError(f"the store's library is not installed: {error}", where=self.url) from error
        except (ValueError, TypeError) as error:
            raise OnsetError(
                f"no store answers to this URL: {error}",
                where=self.url,
                advice="give one that fsspec knows (s3://, gs://, abfs://, ...), or a folder",
            ) from error
        return filesystem, root.rstrip("/")

    def names(self, below: str = "") -> dict[str, int]:
        """Bytes of every file by its name, of those below a folder's name."""
        filesystem, root = self._at

        def listed() -> dict[str, int]:
            filesystem.invalidate_cache()
            try:
                found = filesystem.find(f"{root}/{below}".rstrip("/"), detail=True)
            except FileNotFoundError:
                return {}
            return {path[len(root) + 1 :]: int(info["size"] or 0) for path, info in found.items()}

        return self._patiently(listed)

    def read(self, name: str) -> bytes | None:
        """A small file's content, or None where there is none."""
        filesystem, root = self._at

        def content() -> bytes | None:
            try:
                return bytes(filesystem.cat_file(f"{root}/{name}"))
            except FileNotFoundError:
                return None

        return self._patiently(content)

    def write(self, name: str, content: bytes) -> None:
        """Write a small file whole."""
        filesystem, _ = self._at
        self._patiently(lambda: self._made(name, lambda path: filesystem.pipe_file(path, content)))

    def send(self, file: Path, name: str) -> None:
        """Copy a file of this machine to the store; FileNotFoundError where it is gone."""
        filesystem, _ = self._at
        self._patiently(lambda: self._made(name, lambda path: filesystem.put_file(str(file), path)))

    def fetch(self, name: str, file: Path) -> bool:
        """Copy a file of the store to this machine, whole or not at all; False where it is gone."""
        filesystem, root = self._at
        beside = file.with_name(f".{file.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.part")

        def fetched() -> bool:
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                filesystem.get_file(f"{root}/{name}", str(beside))
            except FileNotFoundError:
                return False
            os.replace(beside, file)
            return True

        try:
            return self._patiently(fetched)
        finally:
            beside.unlink(missing_ok=True)

    def remove(self, names: Iterable[str]) -> None:
        """Remove files; one that is gone already is no fault."""
        filesystem, root = self._at

        def removed(name: str) -> None:
            try:
                filesystem.rm_file(f"{root}/{name}")
            except FileNotFoundError:
                return

        for name in names:
            self._patiently(lambda name=name: removed(name))  # type: ignore[misc]

    def _made(self, name: str, write: Callable[[str], object]) -> None:
        """Let a file appear whole: an object does by itself, elsewhere it is written beside its place and renamed."""
        filesystem, root = self._at
        path = PurePosixPath(f"{root}/{name}")
        if _protocol(self.url) in OBJECTS:
            write(str(path))
            return
        filesystem.makedirs(str(path.parent), exist_ok=True)
        beside = str(path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part"))
        write(beside)
        filesystem.mv(beside, str(path))

    def _patiently(self, call: Callable[[], _Found]) -> _Found:
        for rest in (*RESTS, None):
            try:
                return call()
            except FileNotFoundError:  # of this machine: dropped by who works here
                raise
            except PermissionError as error:
                raise self._told(error) from error
            except OSError as error:
                if rest is None:
                    raise self._told(error) from error
                time.sleep(rest)
        raise AssertionError("the last try returns or raises")

    def _told(self, error: OSError) -> OnsetError:
        return OnsetError(
            f"the store cannot be read or written: {error}",
            where=self.url,
            advice="look at the connection and the rights, then run the same command again: what is there stays",
        )


class Copy:
    """A machine's copy of a store's folder, or of parts of it."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store, self.folder = store, folder

    def fetch_file(self, name: str) -> None:
        """Let the copy have the file as it is in the store: absent where it is absent."""
        if not self.store.fetch(name, self.folder / name):
            (self.folder / name).unlink(missing_ok=True)

    def fetch_unit(self, unit: str) -> bool:
        """Let the copy have a folder as it is in the store, whole; False where the store does not have it whole."""
        content = self.store.read(f"{unit}/{WHOLE}")
        here = self.folder / unit
        if content is None:
            return False
        if (here / WHOLE).is_file() and (here / WHOLE).read_bytes() == content:
            return True
        beside = here.with_name(f".{here.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.part")
        try:
            for file in _listed(content):
                if not self.store.fetch(f"{unit}/{file}", beside / file):
                    return False
            (beside / WHOLE).write_bytes(content)
            self.drop_unit(unit)
            os.rename(beside, here)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        return True

    def note_unit(self, unit: str) -> None:
        """Let the copy know that the store has a folder, without what is in it."""
        here = self.folder / unit
        if here.is_dir():
            return
        beside = here.with_name(f".{here.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.part")
        beside.mkdir(parents=True)
        (beside / ELSEWHERE).touch()
        os.rename(beside, here)

    def drop_unit(self, unit: str) -> None:
        """Remove a folder of the copy, never leaving half of it."""
        here = self.folder / unit
        if here.is_dir():
            gone = here.with_name(f".{here.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.part")
            os.rename(here, gone)
            shutil.rmtree(gone, ignore_errors=True)

    def send_unit(self, unit: str) -> None:
        """Bring a folder of the copy into the store, its list last; an older one of the name is replaced."""
        here = self.folder / unit
        files = sorted(path.relative_to(here).as_posix() for path in here.rglob("*") if path.is_file())
        files = [file for file in files if not file.startswith(".")]
        self.remove_unit(unit)
        try:
            for file in files:
                self.store.send(here / file, f"{unit}/{file}")
        except FileNotFoundError:  # dropped meanwhile; what was sent of it counts for nothing
            return
        content = json.dumps({"id": uuid.uuid4().hex, "files": files}).encode()
        self.store.write(f"{unit}/{WHOLE}", content)
        if here.is_dir():  # else it was dropped meanwhile, which the next look will tell
            (here / WHOLE).write_bytes(content)

    def remove_unit(self, unit: str) -> None:
        """Remove a folder from the store, its list first, so that what is left of it counts for nothing."""
        names = self.store.names(unit)
        self.store.remove(sorted(names, key=lambda name: not name.endswith(f"/{WHOLE}")))


def _listed(content: bytes) -> list[str]:
    """The files that a folder's list names. Raises OnsetError for what is no such list."""
    try:
        files = reading.json_dict(content, where=WHOLE)["files"]
    except (OnsetError, KeyError) as error:
        raise OnsetError(f"a folder's list in the store was edited: {error}", where=WHOLE) from error
    if not isinstance(files, list) or any(
        not isinstance(file, str) or ".." in PurePosixPath(file).parts or file.startswith("/") for file in files
    ):
        raise OnsetError("a folder's list in the store names files outside it", where=WHOLE)
    return list(files)


def units_in(names: Iterable[str]) -> set[str]:
    """The folders that are whole among a store's files."""
    return {unit for name in names if name.endswith(f"/{WHOLE}") and (unit := unit_of(name)) is not None}
