"""``onset analyze | report | forecast | query``: commands that read tables and studies, and train nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onset.cli.app import app
from onset.cli.options import Csv, Json, Level, Loss, Out
from onset.cli.printing import print_findings, print_frame, print_json, progress_bar, records, say
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
    smallest_sets: Annotated[
        bool, typer.Option("--smallest-sets", help="Of a study: also find the fewest questions that keep each verdict.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write findings.json, results/, report.html and figures/ from a table or a study's folder."""
    from onset.work.findings import report

    with progress_bar("analysing") as progress:
        analysis, page = report(
            source, out, level=level, delta=delta, loss=loss, margin=margin, loss_margin=loss_margin,
            set_aside=set_aside, groups=factor or (), smallest_sets=smallest_sets, progress=progress,
        )  # fmt: skip
    if as_json:
        print_json(analysis.to_json())
        return
    for note in analysis.notes:
        say(f"note: {note}")
    print_findings(analysis, page)
    if smallest_sets:
        _sets(out)


def _sets(out: Path) -> None:
    """How few questions keep each verdict."""
    from onset.results import load_questions

    found = load_questions(out)
    if found is None or found.smallest.empty:
        say("no questions: sets are looked for in the item rows of a study's folder")
        return
    say("fewest questions that keep the verdict, taken by information (results/items.parquet, column rank):")
    print_frame(found.smallest, as_json=False)


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
    targets: Annotated[
        Path | None, typer.Option(help="CSV: a column loss, or params and tokens; optional run, task, metric.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder that the results go to.")] = None,
    level: Level = 0.95,
    loss: Loss = None,
    schedule: Annotated[
        str | None, typer.Option(help="Learning rate of the runs: constant, cosine, linear or wsd.")
    ] = None,
    seal: Annotated[Path | None, typer.Option(metavar="FILE", help="Seal the forecast into a new file.")] = None,
    key: Annotated[Path | None, typer.Option(help="SSH key that signs the sealed file (ssh-keygen -Y).")] = None,
    opened: Annotated[
        Path | None, typer.Option("--open", metavar="FILE", help="Score a sealed forecast against TABLE|DIR.")
    ] = None,
    sha256: Annotated[str | None, typer.Option(help="With --open: the digest that was published.")] = None,
    ledger: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of sealed forecasts with a track record page.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Predict scores and onsets with intervals, and back-test such predictions; seal them, and open them later."""
    if opened is not None:
        _opened(opened, source, loss, sha256, ledger, as_json)
        return
    if targets is None or out is None:
        raise typer.BadParameter("give --targets and --out, or --open FILE")
    from onset.work.findings import write_forecast

    with progress_bar("analysing") as progress:
        made, tested, page = write_forecast(
            source, targets, out, level=level, loss=loss, schedule=schedule, progress=progress
        )
    digest = None
    if seal is not None:
        from onset.work.sealed import write

        digest = write(made, source.name, seal, key=key, ledger=ledger)
    if as_json:
        summary = None if isinstance(tested, OnsetError) else records(tested.summary())
        follows = [] if isinstance(tested, OnsetError) else records(tested.followers)
        told = {"scores": records(made.scores), "onsets": records(made.onsets), "backtest": summary}
        told["followers"] = follows
        print_json(told | {"notes": list(made.notes), "sealed": digest})
        return
    for note in made.notes:
        say(f"note: {note}")
    print_frame(made.summary(), as_json=False)
    if len(made.onsets):
        print_frame(made.onsets, as_json=False)
    if isinstance(tested, OnsetError):
        say(f"no back-test: {tested.what}")
    else:
        say("back-test on this table, the smaller sizes predicting the larger:")
        print_frame(tested.summary(), as_json=False)
        if len(tested.followers):
            say("which continuous metric each task follows (larger sizes read off a curve of the smaller):")
            print_frame(tested.followers.groupby(["task", "metric"], sort=False).head(2), as_json=False)
    say(f"report: {page}")
    if digest is not None:
        say(f"sealed: {seal}, SHA-256 {digest} (publish it: it shows later that the file is the same)")


def _opened(
    path: Path, results: Path, loss: str | None, sha256: str | None, ledger: Path | None, as_json: bool
) -> None:
    from onset.work.sealed import open_sealed

    found = open_sealed(path, results, loss=loss, sha256=sha256, ledger=ledger)
    if as_json:
        print_json(found.to_json())
        return
    print_frame(found.scores, as_json=False)
    print_frame(found.summary(), as_json=False)
    if found.missing:
        say(f"{found.missing} predictions have no score in the results")
    say(f"SHA-256 {found.sha256}: " + ("as it was sealed" if found.as_sealed else "NOT as it was sealed"))
    say(f"signature: {found.signature}" if found.signature else "not signed")


@app.command()
def query(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A study's folder.")],
    sql: Annotated[str, typer.Argument(metavar="SQL", help="Over the views items, losses and observations.")],
    as_json: Json = False,
    timeout: Annotated[
        float | None, typer.Option(min=0.1, help="Seconds after which the query is stopped (default 60).")
    ] = None,
    as_csv: Csv = False,
) -> None:
    """Run SQL over a study's items, losses and observations."""
    from onset.store.query import query as ask

    if as_json and as_csv:
        raise typer.BadParameter("give --json or --csv, not both")
    found = ask(folder, sql) if timeout is None else ask(folder, sql, timeout)
    if as_csv:
        typer.echo(found.to_csv(index=False), nl=False)
    else:
        print_frame(found, as_json)
