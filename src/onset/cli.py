"""The door: ``onset COMMAND``. Each command imports what it needs, so that help is quick.

Exit 0 done, 1 an OnsetError (one message: what, where, what to do), 2 wrong usage, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onset.errors import OnsetError
from onset.options import (
    Bin,
    Data,
    Device,
    Dtype,
    Engine,
    Json,
    Level,
    Logs,
    Loss,
    Models,
    Out,
    PerStep,
    Remote,
    StudyName,
    Tokens,
    Workers,
)
from onset.printing import print_findings, print_frame, print_json, records, terminal

if TYPE_CHECKING:
    import pandas as pd

    from onset.study.cost import Method
    from onset.study.spec import Run, Study
    from onset.work.engines import local as engines
    from onset.work.jobs.foreign import Bench
    from onset.work.names import Subject

WATCH_SECONDS = 5.0
"""How often ``eval --watch`` looks for new checkpoints."""

app = typer.Typer(
    name="onset",
    help="Tell when the abilities of a language model set in as its pre-training loss falls.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.command()
def demo(out: Out = Path("out/demo"), workers: Workers = None) -> None:
    """Run the embedded study end to end: train a family, ask it twelve tasks, write the findings and a page."""
    _run(_load("demo"), out, workers, "local")


@app.command()
def plan(
    study: StudyName,
    rate: Annotated[
        float | None, typer.Option(help="FLOP/s at which the machine meant trains; else measured here for a moment.")
    ] = None,
    cards: Annotated[
        list[int] | None, typer.Option("--cards", min=1, help="Memory on each of so many GPUs; may be repeated.")
    ] = None,
    card_gb: Annotated[float, typer.Option(min=1, help="Gigabytes of each of those GPUs.")] = 80.0,
    as_json: Json = False,
) -> None:
    """Say what a study would cost, before it does: params, tokens, FLOPs, steps, memory, disk, hours."""
    from onset.study import plan as planning
    from onset.study.files import outline
    from onset.train.precision import method
    from onset.work.resources import cores

    loaded, absent = outline(study)
    vocab = {}
    for name, spec in loaded.tokenizers.items():
        if spec.vocab is None:
            from onset.data.tokenizer import Tokenizer

            vocab[name] = Tokenizer.load(Path(spec.path or "")).vocab
        else:
            vocab[name] = spec.vocab

    def measured(run: Run) -> float:
        from onset.train.calibration import measured_rate

        return cores() * measured_rate(run, vocab[run.tokenizer], precision=loaded.precision)

    def on(device: str) -> Callable[[Run], Method]:
        return lambda run: method(run, vocab[run.tokenizer], device=device, precision=loaded.precision)

    rows = planning.plan_rows(loaded, (lambda run: rate) if rate else measured, vocab, on("cpu"))
    seats = planning.card_rows(loaded, vocab, cards or (), int(card_gb * 1e9), on("cuda"))
    if as_json:
        told = {"study": loaded.name, "rate": rate, "runs": rows, "cards": seats, "absent": absent}
        print_json(told)
        return
    from onset.work.text_tables import cards_table, plan_table

    terminal().print(plan_table(rows))
    if seats:
        terminal().print(cards_table(seats))
    source = f"{rate:.3g} FLOP/s, as given" if rate else f"measured now: {cores()} cores, one training each"
    typer.echo(f"time: of training alone, at {source}")
    for row in seats:
        if not row["fits"]:
            typer.echo(f"does not fit on {row['cards']} cards: {row['missing']}")
    for one in [*planning.plan_notes(loaded, rows), *absent]:
        typer.echo(f"note: {one}")


@app.command()
def run(
    study: StudyName,
    out: Annotated[str, typer.Option("--out", help="The study's folder, or a store's URL (s3://...).")],
    workers: Workers = None,
    engine: Engine = "local",
    log: Logs = None,
    ray_address: Annotated[
        str | None, typer.Option(help="ray: the cluster, HOST:PORT or auto; else this machine.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Cores of each process; by default shared out.")] = None,
    processes: Annotated[int, typer.Option(min=1, help="Processes that share each training on CPUs (FSDP).")] = 1,
    gpus: Annotated[
        float | None, typer.Option(min=0, help="GPUs of each training: 0.25 puts four on one, 4 shares one out.")
    ] = None,
) -> None:
    """Do all that a study owes: text, trainings, evaluations, findings, page. Run again to resume."""
    from onset.work.engines.local import choose_engine

    loaded = _load(study)
    chosen = choose_engine(
        engine, workers, len(loaded.runs), out=out, threads=threads, processes=processes, gpus=gpus,
        address=ray_address,
    )  # fmt: skip
    _run(loaded, out, workers, chosen, tuple(log or ()))


@app.command()
def status(out: Annotated[str, typer.Argument(metavar="DIR")], as_json: Json = False) -> None:
    """Say what a study has done and what it owes."""
    from onset.study.files import parse
    from onset.work.study import kept, status_rows

    folder = kept(out, logs=True)
    specification = folder / "study.toml"
    if not specification.exists():
        raise OnsetError("no study here", where=specification, advice="give the folder of 'onset run ... --out'")
    rows = status_rows(parse(specification.read_text(encoding="utf-8"), where=specification), folder)
    if as_json:
        print_json(rows)
        return
    from onset.work.text_tables import status_table

    terminal().print(status_table(rows))


@app.command()
def tasks(
    task: Annotated[str | None, typer.Argument(help="One task; without it, the whole catalogue.")] = None,
    data: Data = None,
    requests: Annotated[Path | None, typer.Option(help="Write exactly what a model is asked, as JSON lines.")] = None,
    as_json: Json = False,
) -> None:
    """List the catalogue, or write what a task asks."""
    from onset.tasks import catalogue

    if task is not None and requests is not None:
        count = catalogue.write_requests(catalogue.find([task], data)[0], requests)
        typer.echo(f"{count} requests of {task} in {requests}")
        return
    frame = catalogue.listing(data)
    if task is not None:
        frame = frame[frame["task"] == catalogue.find([task], data)[0].name]
    print_frame(frame if as_json else frame.drop(columns="note"), as_json)


@app.command("eval")
def evaluate(
    models: Models,
    tasks: Annotated[str, typer.Option("--tasks", help="Tasks of the catalogue, joined by commas.")],
    out: Out,
    data: Data = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many items of each task.")] = None,
    shots: Annotated[int | None, typer.Option(min=0, help="Examples in the prompt, where it should differ.")] = None,
    tokens: Tokens = None,
    tokens_per_step: PerStep = None,
    dtype: Dtype = "float32",
    device: Device = "cpu",
    allow_bin: Bin = False,
    trust_remote_code: Remote = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes, each with its own model.")] = 1,
    watch: Annotated[bool, typer.Option(help="Go on scoring checkpoints as they appear, until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Ask any causal language model tasks; what is there already is not asked again."""
    from onset.work.jobs.foreign import Bench, Loading

    names = tuple(tasks.replace(",", " ").split())
    loading = Loading(dtype, device, allow_bin, trust_remote_code)

    def make(found: tuple[Subject, ...]) -> Bench:
        return Bench(found, names, data=data, shots=shots, limit=limit, loading=loading)

    _bench(models, out, (tokens, tokens_per_step), make, workers, watch, as_json)


@app.command()
def loss(
    models: Models,
    text: Annotated[
        list[str], typer.Option("--text", help="FILE, LANGUAGE:FILE (en, zh), or hub:NAME; repeat for several.")
    ],
    out: Out,
    reference: Annotated[Path | None, typer.Option(help="Text that unigrams are counted on, to normalise by.")] = None,
    stride: Annotated[int | None, typer.Option(min=1, help="Tokens a window adds; else the whole context.")] = None,
    most_changed: Annotated[
        float, typer.Option(min=0, max=1, help="Share of a text's bytes that a tokenizer may drop or change.")
    ] = 0.01,
    overlap: Annotated[
        Path | None, typer.Option(help="A study's folder: say how much of the texts its training data holds.")
    ] = None,
    level: Level = 0.95,
    as_json: Json = False,
    tokens: Tokens = None,
    tokens_per_step: PerStep = None,
    dtype: Dtype = "float32",
    device: Device = "cpu",
    allow_bin: Bin = False,
    trust_remote_code: Remote = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes, each with its own model.")] = 1,
) -> None:
    """Measure the loss of any causal language model on texts, and compare models by the same documents."""
    from onset.data.heldout_text import texts_of
    from onset.work.jobs.foreign import Bench, Loading
    from onset.work.jobs.losses import Measuring, compared

    texts, made = texts_of(text), []
    loading, measuring = (
        Loading(dtype, device, allow_bin, trust_remote_code),
        Measuring(reference, stride, most_changed, overlap),
    )

    def make(found: tuple[Subject, ...]) -> Bench:
        made.append(Bench(found, texts=texts, loading=loading, measuring=measuring))
        return made[-1]

    def show() -> pd.DataFrame:
        places = {f"{one.rundir.name}@{one.step}": (one.rundir, one.step) for one in made[-1].subjects}
        return compared(places, list(texts), level)

    _bench(models, out, (tokens, tokens_per_step), make, workers, as_json=as_json, compare=show)


@app.command()
def analyze(
    source: Annotated[
        Path, typer.Argument(metavar="TABLE|DIR", help="Observations (CSV, CSV.gz, Parquet) or a study.")
    ],
    out: Out,
    level: Level = 0.95,
    loss: Loss = None,
    margin: Annotated[
        float | None,
        typer.Option(min=0.01, help="Size effects within so many points count as none (the study's, or 1)."),
    ] = None,
    loss_margin: Annotated[
        float | None,
        typer.Option(min=0.0001, help="The same along the loss, in nats a decade; else points alone count."),
    ] = None,
    set_aside: Annotated[
        bool, typer.Option(help="Leave contradicting rows out, counted, instead of refusing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write findings.json, report.html and figures/ from a table or a study's folder."""
    from onset.work.findings import report

    analysis, page = report(
        source, out, level=level, loss=loss, margin=margin, loss_margin=loss_margin, set_aside=set_aside
    )
    if as_json:
        print_json(analysis.to_json())
        return
    for note in analysis.extra.get("notes", []):
        typer.echo(f"note: {note}")
    print_findings(analysis.summary(), page)


@app.command()
def forecast(
    source: Annotated[Path, typer.Argument(metavar="TABLE|DIR", help="Observations or a study's folder.")],
    targets: Annotated[Path, typer.Option(help="CSV: a column loss, or params and tokens; optional task, metric.")],
    out: Out,
    level: Level = 0.95,
    loss: Loss = None,
    as_json: Json = False,
) -> None:
    """Foresee scores and onsets with intervals, and back-test such forecasts on the same table."""
    from onset.work.findings import foresee

    made, tested, page = foresee(source, targets, out, level=level, loss=loss)
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
        typer.echo("back-test on this table, the smaller sizes foreseeing the larger:")
        print_frame(tested.summary(), as_json=False)
    typer.echo(f"report: {page}")


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


@app.command()
def query(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A study's folder.")],
    sql: Annotated[str, typer.Argument(metavar="SQL", help="Over the views items, losses and observations.")],
    as_json: Json = False,
) -> None:
    """Run SQL over a study's items, losses and observations."""
    from onset.store.query import query as ask

    print_frame(ask(folder, sql), as_json)


def _load(study: str) -> Study:
    from onset.study.files import load

    return load(study)


def _run(
    study: Study, out: Path | str, workers: int | None, engine: str | engines.Engine, logs: tuple[str, ...] = ()
) -> None:
    from onset.work.study import publish, run_study

    console = terminal(stderr=True)
    outcome = run_study(study, out, workers=workers, engine=engine, logs=logs, console=console)
    console.print(f"{outcome.done} done, {outcome.owed} owed", highlight=False)
    told = "\n".join(outcome.problems)
    try:
        print_findings(*_found(outcome.folder))
        publish(study, out)
    except OnsetError as error:  # what went wrong before is why there is nothing to find
        if not told:
            raise
        told += f"\nno findings: {error.what}"
    if told or outcome.owed:
        told = told or "some pieces are still owed"
        raise OnsetError(
            f"the study is not whole:\n{told}",
            where=out,
            advice="mend the cause and run the same command again: what is done stays done",
        )


def _found(out: Path) -> tuple[pd.DataFrame, Path]:
    """The summary of a study's findings and its page: those that stand, or made now."""
    from onset.work.cached import standing

    if (kept := standing(out)) is not None:
        return kept
    from onset.work.findings import report

    with terminal(stderr=True).status("analysing"):
        analysis, page = report(out, out)
    return analysis.summary(), page


def _bench(
    models: list[str],
    out: Path,
    tokens: tuple[Path | None, int | None],
    make: Callable[[tuple[Subject, ...]], Bench],
    workers: int,
    watch: bool = False,
    as_json: bool = False,
    compare: Callable[[], pd.DataFrame] | None = None,
) -> None:
    """Carry out an evaluation of models, once or again and again while checkpoints appear, and show what it gave."""
    import time

    from onset.work.jobs.foreign import carry_out
    from onset.work.names import known, subjects
    from onset.work.results import json_rows, results, results_table

    told = known(tokens[0])
    bench = make(())
    while True:
        bench.subjects = subjects(models, out, told, tokens[1], waiting=watch)
        if bench.subjects:
            done, problems = carry_out(bench, workers, terminal(stderr=True))
            if problems or not watch:
                break
        time.sleep(WATCH_SECONDS)
    found = results(bench)
    gaps = None if compare is None else compare()
    if as_json:
        rows = json_rows(found)
        print_json(rows if gaps is None else {"losses": rows, "differences": records(gaps)})
    else:
        if len(found.scores) or len(found.losses):
            terminal().print(results_table(found))
        if gaps is not None and len(gaps):
            typer.echo("bits per byte less those of the first model, by the same documents:")
            print_frame(gaps, as_json=False)
        typer.echo(f"{done} sets of weights done; rows in {out}")
        for note in found.notes:
            typer.echo(f"note: {note}")
    if problems:
        raise OnsetError("\n".join(problems), where=out, advice="what is done stays done: run the same command again")


def main() -> None:
    """Entry point: one message for an OnsetError, no traceback."""
    try:
        app()
    except OnsetError as error:
        typer.echo(f"onset: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        typer.echo("onset: stopped; the same command goes on from here", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
