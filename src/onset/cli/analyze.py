"""``onset analyze | report | forecast | query``: commands that read tables and studies, and train nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onset.cli.app import app
from onset.cli.options import Csv, Json, Level, Loss, Out
from onset.cli.printing import print_findings, print_frame, print_json, progress_bar, records
from onset.errors import OnsetError


@app.command()
def analyze(
    source: Annotated[
        Path, typer.Argument(metavar="TABLE|DIR", help="Observations (CSV, CSV.gz, Parquet) or a study.")
    ],
    out: Out,
    level: Level = 0.95,
    delta: Annotated[
        float, typer.Option(min=0.001, max=0.5, help="Excess over chance at which the onset loss is read.")
    ] = 0.02,
    loss: Loss = None,
    margin: Annotated[
        float | None,
        typer.Option(min=0.01, help="Size effects within so many percentage points count as none (default 1)."),
    ] = None,
    loss_margin: Annotated[
        float | None,
        typer.Option(min=0.0001, help="The same along the loss, in nats per decade; else the score alone counts."),
    ] = None,
    set_aside: Annotated[
        bool, typer.Option(help="Leave contradicting rows out, counted, instead of refusing.")
    ] = False,
    factor: Annotated[
        list[str] | None,
        typer.Option(help="Put levels of a factor together: COLUMN=GROUP:LEVEL,LEVEL; repeat for several."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write findings.json, results/, report.html and figures/ from a table or a study's folder."""
    from onset.work.findings import report

    with progress_bar("analysing") as progress:
        analysis, page = report(
            source, out, level=level, delta=delta, loss=loss, margin=margin, loss_margin=loss_margin,
            set_aside=set_aside, groups=factor or (), progress=progress,
        )  # fmt: skip
    if as_json:
        print_json(analysis.to_json())
        return
    for note in analysis.notes:
        typer.echo(f"note: {note}")
    print_findings(analysis, page)


@app.command("report")
def report_again(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder with findings.json and results/.")],
    as_json: Json = False,
) -> None:
    """Make report.html and figures/ again from findings.json and results/; nothing is fitted."""
    from onset.work.findings import report_again as again

    analysis, page = again(folder)
    if as_json:
        print_json(analysis.to_json())
        return
    print_findings(analysis, page)


@app.command()
def forecast(
    source: Annotated[Path, typer.Argument(metavar="TABLE|DIR", help="Observations or a study's folder.")],
    targets: Annotated[Path, typer.Option(help="CSV: a column loss, or params and tokens; optional task, metric.")],
    out: Out,
    level: Level = 0.95,
    loss: Loss = None,
    as_json: Json = False,
) -> None:
    """Predict scores and onsets with intervals, and back-test such predictions on the same table."""
    from onset.work.findings import write_forecast

    with progress_bar("analysing") as progress:
        made, tested, page = write_forecast(source, targets, out, level=level, loss=loss, progress=progress)
    if as_json:
        summary = None if isinstance(tested, OnsetError) else records(tested.summary())
        print_json({"scores": records(made.scores), "onsets": records(made.onsets), "backtest": summary})
        return
    print_frame(made.summary(), as_json=False)
    if len(made.onsets):
        print_frame(made.onsets, as_json=False)
    if isinstance(tested, OnsetError):
        typer.echo(f"no back-test: {tested.what}")
    else:
        typer.echo("back-test on this table, the smaller sizes predicting the larger:")
        print_frame(tested.summary(), as_json=False)
    typer.echo(f"report: {page}")


@app.command()
def query(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A study's folder.")],
    sql: Annotated[str, typer.Argument(metavar="SQL", help="Over the views items, losses and observations.")],
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Run SQL over a study's items, losses and observations."""
    from onset.store.query import query as ask

    if as_json and as_csv:
        raise typer.BadParameter("give --json or --csv, not both")
    found = ask(folder, sql)
    if as_csv:
        typer.echo(found.to_csv(index=False), nl=False)
    else:
        print_frame(found, as_json)
