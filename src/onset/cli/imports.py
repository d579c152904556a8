"""``onset import``: the command that turns results of other programs into a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from onset.cli.app import app
from onset.cli.printing import say


@app.command("import")
def import_table(
    sources: Annotated[
        list[str], typer.Argument(metavar="SCORES...", help="Files, folders or patterns; FORMAT:PATH names a format.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The table of observations: .csv, .csv.gz or .parquet.")],
    losses: Annotated[list[str] | None, typer.Option(help="Sources of losses; repeat, or name several.")] = None,
    tokens_per_step: Annotated[list[str] | None, typer.Option(help="NUMBER for all runs, or RUN=NUMBER.")] = None,
    params: Annotated[list[str] | None, typer.Option(help="Size, NUMBER or RUN=NUMBER (7B is a number).")] = None,
    runs: Annotated[str | None, typer.Option(help="Pattern of file names: '{run}-{params}-{x}xC.csv'.")] = None,
    restarts: Annotated[str | None, typer.Option(help="Pattern of restarted runs: '{run}-run-{restart}'.")] = None,
    rename: Annotated[list[str] | None, typer.Option(help="OLD=NEW names of runs; OLD may have a *.")] = None,
    metric: Annotated[str | None, typer.Option(help="Metric of scores whose name gives none.")] = None,
    score: Annotated[list[str] | None, typer.Option(help="Pattern of columns that are scores.")] = None,
    loss_columns: Annotated[list[str] | None, typer.Option(help="Pattern of columns that are losses.")] = None,
    loss: Annotated[
        list[str] | None, typer.Option(help="The loss to stand on, NAME[:UNIT]; a further one is for runs without it.")
    ] = None,
    chance: Annotated[list[str] | None, typer.Option(help="TASK=NUMBER: what guessing gets right.")] = None,
    questions: Annotated[list[str] | None, typer.Option(help="TASK=NUMBER: how many questions a task has.")] = None,
    gap: Annotated[float, typer.Option(min=1.0, help="Largest factor between neighbours of interpolated losses.")] = 2,
    seq_length: Annotated[int | None, typer.Option(min=1, help="Tokens a sample, for logs that count samples.")] = None,
    family: Annotated[str | None, typer.Option(help="Family of all runs.")] = None,
    columns: Annotated[list[str] | None, typer.Option("--column", help="Tables: NEW=OLD; or one TOML file.")] = None,
    items: Annotated[Path | None, typer.Option(help="Write single questions there, as item rows (.parquet).")] = None,
    records: Annotated[Path | None, typer.Option(help="Write records of Every Eval Ever into this folder too.")] = None,
    set_aside: Annotated[
        bool, typer.Option(help="Leave contradicting rows out, counted, instead of refusing.")
    ] = False,
) -> None:
    """Turn others' results into a table of observations: scores, joined to the losses of their checkpoints."""
    from onset.adapters.command import import_sources

    given: Any = columns
    if columns and len(columns) == 1 and columns[0].endswith(".toml"):
        given = columns[0]
    told = import_sources(
        sources, losses or [], out, items=items, records=records, set_aside=set_aside, tokens_per_step=tokens_per_step,
        params=params, runs=runs, restarts=restarts, rename=rename, metric=metric, score=score,
        loss_columns=loss_columns, loss=loss, gap=gap, seq_length=seq_length, family=family, columns=given,
        chance=chance, questions=questions,
    )  # fmt: skip
    for line in told:
        say(line)
