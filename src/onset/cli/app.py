"""The Typer application that every module of commands adds to."""

from __future__ import annotations

import typer

app = typer.Typer(
    name="onset",
    help="Tell when the abilities of a language model set in as its pre-training loss falls.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
