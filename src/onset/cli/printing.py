"""What the commands print: tables for people, JSON for scripts. Imports what it needs, so that help is quick."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from rich.console import Console


def terminal(*, stderr: bool = False) -> Console:
    """Where tables and progress go; a pipe or a file has no width of its own, so nothing is folded there."""
    from rich.console import Console

    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=200)


def print_findings(summary: pd.DataFrame, page: Path) -> None:
    """The findings in short, one row a task under its published kind of metric, and where the rest stands."""
    from onset.work.text_tables import findings_table, headline

    short = headline(summary)
    terminal().print(findings_table(short))
    if len(short) < len(summary):
        typer.echo(
            f"{len(summary) - len(short)} more findings, under other metrics, are in {page.name} and findings.json"
        )
    typer.echo(f"report: {page}")


def print_frame(frame: pd.DataFrame, as_json: bool) -> None:
    """A frame as a table, or as JSON rows with null for what is missing."""
    from onset.work.text_tables import rows_table

    if as_json:
        print_json(records(frame))
    else:
        terminal().print(rows_table(frame.to_dict(orient="records"), columns=list(frame.columns)))


def records(frame: pd.DataFrame) -> Any:
    """Rows as JSON values; what is missing is null."""
    import json

    return json.loads(frame.to_json(orient="records", force_ascii=False))


def print_json(value: Any) -> None:
    """Any value as indented JSON; what JSON has no form for, as text."""
    import json

    typer.echo(json.dumps(value, ensure_ascii=False, indent=2, default=str))
