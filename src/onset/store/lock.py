"""Advisory locks of the operating system: they end with the process that holds them, however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onset.errors import OnsetError

POLL_SECONDS = 0.1
"""How often a lock that another process holds is tried again."""

NOT_SUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
"""What ``flock`` answers on a file system that has no locks."""


class Locked(OnsetError):
    """Another process holds the lock; a moment later it may be free."""

    def __reduce__(self) -> tuple[object, ...]:
        return (_locked, (self.what, self.where, self.advice))


def _locked(what: str, where: str | None, advice: str | None) -> Locked:
    return Locked(what, where=where, advice=advice)


@contextmanager
def lock_study(folder: Path, patience: float = 0.0) -> Iterator[None]:
    """Hold a study's folder for this process.

    Raises ``Locked`` with the number of the process that still holds it after ``patience`` seconds, and OnsetError
    where the folder cannot be written or its file system has no locks.
    """
    with _hold(folder, patience, "working on this study"):
        yield


@contextmanager
def lock_run(folder: Path, patience: float = 0.0) -> Iterator[None]:
    """Hold a run's folder for this process; raises as ``lock_study`` does."""
    with _hold(folder, patience, "training this run"):
        yield


@contextmanager
def _hold(folder: Path, patience: float, doing: str) -> Iterator[None]:
    """Hold ``folder/.lock``; the file keeps the number of the process that holds it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise _not_writable(folder, error) from error
    try:
        until = time.monotonic() + patience
        while not _try_lock(handle, folder):
            if time.monotonic() >= until:
                holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
                raise Locked(
                    f"another process (number {holder}) is {doing}",
                    where=folder,
                    advice="wait for it to end, or stop it; 'onset status' shows how far it is",
                )
            time.sleep(POLL_SECONDS)
        try:
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
        except OSError as error:  # a full disk
            raise _not_writable(folder, error) from error
        yield
    finally:
        os.close(handle)


def _try_lock(handle: int, folder: Path) -> bool:
    """Whether this process holds the lock now; asking again does no harm."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NOT_SUPPORTED:
            raise
        raise OnsetError(
            f"the file system has no locks: {error.strerror}",
            where=folder,
            advice="mount it with locks (NFS version 4, Lustre with -o flock), or choose another folder with --out",
        ) from error
    return True


def _not_writable(folder: Path, error: OSError) -> OnsetError:
    return OnsetError(
        f"cannot write to the study's folder: {error.strerror}", where=folder, advice="choose another with --out"
    )
