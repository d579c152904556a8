"""``onset demo | plan | run | status``: commands about a whole study."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onset.cli.app import app
from onset.cli.options import Engine, Json, Logs, Out, Port, Serve, StudyName, Workers
from onset.cli.printing import print_findings, print_json, progress_bar, say, terminal
from onset.errors import OnsetError

if TYPE_CHECKING:
    from onset.results import Analysis
    from onset.study.cost import Method
    from onset.study.spec import Run, Study
    from onset.work import engines


@app.command()
def demo(out: Out = Path("out/demo"), workers: Workers = None, serve: Serve = False, port: Port = None) -> None:
    """Run the embedded study end to end: train a family, ask it twelve tasks, write the findings and a page."""
    with _served(out, serve, port):
        _run(_load("demo"), out, workers, "local", evaluations_first=serve)


@app.command()
def plan(
    study: StudyName,
    rate: Annotated[
        float | None, typer.Option(help="FLOP/s at which the machine meant trains; else measured here for a moment.")
    ] = None,
    cards: Annotated[
        list[int] | None,
        typer.Option("--cards", min=1, max=100_000, help="Memory on each of so many GPUs; may be repeated."),
    ] = None,
    card_gb: Annotated[float, typer.Option(min=1, max=1e5, help="Gigabytes of each of those GPUs.")] = 80.0,
    as_json: Json = False,
) -> None:
    """Say what a study would cost, before it does: params, tokens, FLOPs, steps, memory, disk, hours."""
    from onset.study import plan as planning
    from onset.study.files import outline
    from onset.train.precision import method
    from onset.work.ledger import study_tasks
    from onset.work.resources import cores

    if rate is not None and not 0 < rate < float("inf"):
        raise OnsetError(f"a rate of {rate:g} FLOP/s trains nothing", where="--rate", advice="give a number above zero")
    loaded, absent = outline(study)
    study_tasks(loaded)  # a name that is not known is told here, not after hours of training
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
    say(f"time: of training alone, at {source}")
    for row in seats:
        if not row["fits"]:
            say(f"does not fit on {row['cards']} cards: {row['missing']}")
    for one in [*planning.plan_notes(loaded, rows), *absent]:
        say(f"note: {one}")


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
    processes: Annotated[int, typer.Option(min=1, help="Processes that share each training on CPUs.")] = 1,
    gpus: Annotated[
        float | None, typer.Option(min=0, help="GPUs of each training: 0.25 puts four on one, 4 shards one.")
    ] = None,
    evaluate_first: Annotated[
        bool, typer.Option(help="Score a checkpoint before the next training begins, so that scores come early.")
    ] = False,
    serve: Serve = False,
    port: Port = None,
) -> None:
    """Do all that is pending of a study: text, trainings, evaluations, findings, page. Run again to resume."""
    from onset.work.engines import choose_engine

    loaded = _load(study)
    chosen = choose_engine(
        engine, workers, len(loaded.runs), out=out, threads=threads, processes=processes, gpus=gpus,
        address=ray_address,
    )  # fmt: skip
    with _served(out, serve, port):
        _run(loaded, out, workers, chosen, tuple(log or ()), evaluate_first or serve)


@app.command()
def status(out: Annotated[str, typer.Argument(metavar="DIR")], as_json: Json = False) -> None:
    """Say what is done and what is pending: of a study, or of a folder of 'onset eval' or 'onset loss'."""
    from onset.work.status import rows as status_rows
    from onset.work.study import kept

    folder = kept(out, logs=True)
    if not (rows := status_rows(folder)):
        raise OnsetError(
            "no study here", where=folder / "study.toml", advice="give the folder of 'onset run ... --out'"
        )
    if as_json:
        print_json(rows)
        return
    from onset.work.text_tables import status_table

    terminal().print(status_table(rows))


@app.command()
def serve(
    source: Annotated[
        Path, typer.Argument(metavar="DIR|TABLE", help="A study's folder, one of 'onset eval', or a table.")
    ],
    port: Port = None,
    host: Annotated[
        str, typer.Option(help="Address to serve at; others than this machine's need --public.")
    ] = "127.0.0.1",
    public: Annotated[bool, typer.Option("--public", help="Let whoever reaches this machine read the page.")] = False,
    language: Annotated[str, typer.Option(help="Language in which the page opens: en or zh.")] = "en",
) -> None:
    """Show the page of a folder on 127.0.0.1 and renew it as the folder grows, until Ctrl-C."""
    if not source.exists():
        raise OnsetError(
            "there is nothing to serve", where=source, advice="give a study's folder or a table; or 'onset run --serve'"
        )
    from onset.work.live import LivePage
    from onset.work.signals import stop_signals

    with LivePage(source, host=host, port=port, public=public, chosen=language) as page:
        say(f"page: {page.url} (Ctrl-C ends it)")
        with stop_signals() as stop:
            page.wait(stop)


def _served(out: Path | str, wanted: bool, port: int | None) -> AbstractContextManager[object]:
    """The page of a study while it runs, where that is wanted."""
    if not wanted:
        if port is not None:
            raise typer.BadParameter("--port is for --serve")
        return nullcontext()
    from onset.store.object_store import is_url, study_folder
    from onset.work.live import LivePage

    if is_url(out):
        raise OnsetError(
            "a study in a store has no page while it runs", where=out, advice="leave out --serve; or give a folder"
        )
    page = LivePage(study_folder(out), port=port, of_command=True)
    terminal(stderr=True).print(f"page: {page.url}", highlight=False)
    return page


def _load(study: str) -> Study:
    from onset.study.files import load

    return load(study)


def _run(
    study: Study,
    out: Path | str,
    workers: int | None,
    engine: str | engines.Engine,
    logs: tuple[str, ...] = (),
    evaluations_first: bool = False,
) -> None:
    from onset.work.study import publish, run_study

    console = terminal(stderr=True)
    outcome = run_study(
        study, out, workers=workers, engine=engine, logs=logs, evaluations_first=evaluations_first, console=console
    )
    console.print(f"{outcome.done} done, {outcome.pending} pending", highlight=False)
    told = "\n".join(outcome.problems)
    try:
        print_findings(*_found(outcome.folder))
        publish(study, out)
    except OnsetError as error:  # what went wrong before is why there is nothing to find
        if not told:
            raise
        told += f"\nno findings: {error.what}"
    if told or outcome.pending:
        told = told or f"still pending: {outcome.left}"
        raise OnsetError(
            f"the study is not whole:\n{told}",
            where=out,
            advice="mend the cause and run the same command again: what is done stays done",
        )


def _found(out: Path) -> tuple[Analysis, Path]:
    """A study's findings and its page: those that stand, or made now."""
    from onset.work.cached import standing

    if (kept := standing(out)) is not None:
        return kept
    from onset.work.findings import report

    with progress_bar("analysing") as progress:
        return report(out, out, progress=progress)
