"""What every worker does, whoever started it: carry one piece out, keep to its threads, end with its parent."""

from __future__ import annotations

import os
import socket
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onset.errors import OnsetError
from onset.work.piece import Control, Ledger, Piece, Runner
from onset.work.resources import Slot


def attempt(run: Runner, ledger: Ledger, piece: Piece, slot: Slot, control: Control) -> OnsetError | None:
    """Carry a piece out in this process; what went wrong is returned, a bug reported as one."""
    try:
        run(ledger, piece, slot, control)
    except OnsetError as error:
        return error
    except Exception as error:  # noqa: BLE001 - a bug in one piece must be told, not lose the others
        return OnsetError(
            f"{type(error).__name__}: {error}",
            where=piece.key,
            advice="this is a fault of onset: please report it with the lines below\n" + traceback.format_exc(),
        )
    return None


def limit_threads(threads: int) -> None:
    """So many threads for torch in this process."""
    import torch

    torch.set_num_threads(threads)


def end_with_parent(parent: int) -> None:
    """End this process once its parent is gone: one that was killed cannot end its workers."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def enter(folder: str, token: Path | None) -> OnsetError | None:
    """Go to the folder where the command was given; returns an error where this node does not see what it must."""
    try:
        os.chdir(folder)  # paths of a study's files may be relative to where the command was given
    except OSError:
        if token is not None:  # else nothing is shared, and a file that is not here is told by who reads it
            return _unseen(Path(folder))
    return None if token is None or token.exists() else _unseen(token.parent)


def _unseen(folder: Path) -> OnsetError:
    return OnsetError(
        f"the node {socket.gethostname()} does not see this folder",
        where=folder,
        advice="a cluster needs the study, and where it is started, on a file system that all its nodes share",
    )


@contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """These variables of the environment within; afterwards those of before."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
