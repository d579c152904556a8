"""``onset import``: the command that turns results of other programs into a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from onset.cli.app import app


@app.command("import")
def import_table(
    format: Annotated[str, typer.Argument(metavar="FORMAT", help="table, lm-eval or curves.")],
    path: Annotated[Path, typer.Argument(metavar="PATH")],
    out: Annotated[Path, typer.Option("--out", help="The table of observations: .csv, .csv.gz or .parquet.")],
    columns: Annotated[
        list[str] | None, typer.Option("--column", help="table: NEW=OLD; repeat, or one TOML file.")
    ] = None,
    losses: Annotated[Path | None, typer.Option(help="lm-eval, curves: table of losses, params and tokens.")] = None,
    set_aside: Annotated[
        bool, typer.Option(help="Leave contradicting rows out, counted, instead of refusing.")
    ] = False,
) -> None:
    """Turn others' results into a table of observations."""
    from onset.adapters import import_
    from onset.tables.files import write_table

    given: Any = columns
    if columns and len(columns) == 1 and columns[0].endswith(".toml"):
        given = columns[0]
    frame = import_(format, path, set_aside=set_aside, columns=given or None, losses=losses)
    write_table(frame, out)
    for note in frame.attrs.get("notes", []):
        typer.echo(f"note: {note}")
    typer.echo(f"{len(frame)} observations in {out}")
