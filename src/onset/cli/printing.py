"""What the commands print: tables for people, JSON for scripts. Imports what it needs, so that help is quick."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from onset.errors import printable

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from rich.console import Console

    from onset.results import Analysis


def say(text: str, *, err: bool = False) -> None:
    """Print a line; control characters that a name or a cell brings along are shown, not obeyed."""
    typer.echo(printable(text), err=err)


def terminal(*, stderr: bool = False) -> Console:
    """Where tables and progress go; a pipe or a file has no width of its own, so nothing is folded there."""
    from rich.console import Console

    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=200)


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, told of steps done and steps in all; nothing where the error stream is no terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = terminal(stderr=True)
    columns = TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, steps: progress.update(task, completed=done, total=steps)


def print_findings(analysis: Analysis, page: Path) -> None:
    """The findings in short, one row a task under its headline metric, and where the rest stands."""
    from onset.work.text_tables import findings_table, headline_findings

    short, total = headline_findings(analysis), len(analysis.findings)
    terminal().print(findings_table(analysis))
    if len(short) < total:
        say(f"{total - len(short)} more findings, under other metrics, are in {page.name} and findings.json")
    say(f"report: {page}")


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
