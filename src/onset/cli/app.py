"""The Typer application that every module of commands adds to."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    name="onset",
    help="Tell when the abilities of a language model set in as its pre-training loss falls.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        from onset import __version__

        typer.echo(f"onset {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Tell when the abilities of a language model set in as its pre-training loss falls."""
