"""The command line: ``onset COMMAND``. Each command imports what it needs, so that help is quick.

Exit 0 done, 1 an OnsetError (one message: what, where, what to do), 2 wrong usage, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import sys

import typer

from onset.cli import studies, evaluate, compare, analyze, design, imports  # noqa: F401 - help lists commands in this order
from onset.cli.app import app
from onset.errors import OnsetError, absent


__all__ = ["app", "main"]


def main() -> None:
    """Entry point: one message for an OnsetError or a package of an extra that is absent, no traceback."""
    try:
        app()
    except OnsetError as error:
        typer.echo(f"onset: {error}", err=True)
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        if (told := absent(error)) is None:
            raise
        typer.echo(f"onset: {told}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        typer.echo("onset: stopped; the same command goes on from here", err=True)
        sys.exit(130)
