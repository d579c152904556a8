"""The command line: ``onset COMMAND``. Each command imports what it needs, so that help is quick.

Exit 0 done, 1 an OnsetError (one message: what, where, what to do), 2 wrong usage, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import typer

from onset.cli import studies, evaluate, compare, analyze, design, imports  # noqa: F401 - help lists commands in this order
from onset.cli.app import app
from onset.errors import OnsetError, absent


STOPPED = 130
"""Exit status after Ctrl-C."""

__all__ = ["app", "main", "refusal"]


def main() -> None:
    """Entry point: one message for an OnsetError or a package of an extra that is absent, no traceback."""
    try:
        app()
    except ModuleNotFoundError as error:
        if (told := absent(error)) is None:
            raise
        _end(told)
    except (OnsetError, BrokenPipeError, OSError, MemoryError, RecursionError, UnicodeEncodeError) as error:
        _end(refusal(error))
    except KeyboardInterrupt:
        _stopped()
    except SystemExit as ended:
        if ended.code == STOPPED:  # Typer has heard Ctrl-C itself
            _stopped()
        raise


def _stopped() -> NoReturn:
    typer.echo("onset: stopped; the same command goes on from here", err=True)
    sys.exit(STOPPED)


def _end(error: OnsetError | None) -> NoReturn:
    if error is None:  # who reads the output has gone away, as head does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    typer.echo(f"onset: {error}", err=True)
    sys.exit(error.exit_code)


def refusal(error: BaseException) -> OnsetError | None:
    """The one message for what the system refuses: a path, a full disk, memory; None for a reader that went away."""
    if isinstance(error, OnsetError):
        return error
    if isinstance(error, BrokenPipeError):
        return None
    if isinstance(error, OSError):
        return OnsetError(
            f"the system says: {error.strerror or error}",
            where=error.filename,
            advice="check the path, its rights and the space on the disk, then run the same command again",
        )
    if isinstance(error, UnicodeEncodeError):
        return OnsetError(
            "a text holds half of a character (a lone surrogate)", where=ascii(error.object[error.start :][:20]),
            advice="write names and paths as UTF-8",
        )  # fmt: skip
    if isinstance(error, MemoryError):
        return OnsetError("the memory does not suffice", where=str(error) or None, advice="give a smaller part of it")
    return OnsetError("something is nested too deep", advice="check files of configuration and results")
