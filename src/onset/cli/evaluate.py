"""``onset tasks | eval | loss``: what models are asked, and commands that score them."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onset.cli.app import app
from onset.cli.options import (
    Bin,
    Data,
    Device,
    Dtype,
    IncludePath,
    Json,
    Level,
    Metrics,
    Models,
    Out,
    PerStep,
    Remote,
    Sizes,
    Tokens,
)
from onset.cli.printing import print_frame, print_json, records, say, terminal
from onset.errors import OnsetError

if TYPE_CHECKING:
    import pandas as pd

    from onset.work.jobs.foreign import Loading, ModelsLedger
    from onset.work.names import Subject


class Choice(StrEnum):
    """Which items ``--limit`` takes."""

    first = "first"
    information = "information"


WATCH_SECONDS = 5.0
"""How often ``eval --watch`` looks for new checkpoints."""


@app.command()
def tasks(
    task: Annotated[
        str | None, typer.Argument(help="One task, or a file of your own; without it, the whole catalogue.")
    ] = None,
    data: Data = None,
    requests: Annotated[Path | None, typer.Option(help="Write exactly what a model is asked, as JSON lines.")] = None,
    as_json: Json = False,
) -> None:
    """List the catalogue, or write what a task asks."""
    from onset.tasks import catalogue

    found = None if task is None else catalogue.find([task], data)
    if found is not None and requests is not None:
        if len(found) > 1:
            raise OnsetError(f"'{task}' is {len(found)} tasks", advice="name one to write its requests")
        count = catalogue.write_requests(found[0], requests)
        say(f"{count} requests of {task} in {requests}")
        return
    frame = catalogue.listing(data, tasks=found)
    print_frame(frame if as_json else frame.drop(columns="note"), as_json)


@app.command("eval")
def evaluate(
    models: Models,
    tasks: Annotated[
        str,
        typer.Option("--tasks", help="Names of the catalogue, or files: my_task.toml, rows.jsonl, my_task.py:task."),
    ],
    out: Out,
    data: Data = None,
    metrics: Metrics = None,
    include_path: IncludePath = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many items of each task.")] = None,
    choose: Annotated[
        Choice, typer.Option(help="Which items --limit takes: the first ones, or the most informative ones by --items.")
    ] = Choice.first,
    items: Annotated[
        Path | None, typer.Option(help="A study's results/items.parquet, which 'onset analyze' wrote.")
    ] = None,
    shots: Annotated[int | None, typer.Option(min=0, help="Examples in the prompt, where it should differ.")] = None,
    samples: Annotated[int, typer.Option(min=0, help="Free answers: samples beside the greedy one, for pass@k.")] = 0,
    temperature: Annotated[float, typer.Option(min=0.01, help="Of the samples.")] = 0.8,
    sample_seed: Annotated[int, typer.Option(min=0, help="Of the samples.")] = 0,
    tokens: Tokens = None,
    tokens_per_step: PerStep = None,
    sizes: Sizes = None,
    dtype: Dtype = None,
    device: Device = "auto",
    allow_bin: Bin = False,
    trust_remote_code: Remote = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes, each with its own model.")] = 1,
    watch: Annotated[bool, typer.Option(help="Go on scoring checkpoints as they appear, until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Ask any causal language model tasks; what is there already is not asked again."""
    from onset.metrics.measures import check_samples
    from onset.tasks.task import Sampling
    from onset.work.jobs.foreign import ModelsLedger
    from onset.work.results import with_metrics

    check_samples(split(metrics or ""), samples)
    names, measured = _of_folder(_named(tasks, "--tasks"), include_path), with_metrics(out, split(metrics or ""))
    loading = _loading(dtype, device, allow_bin, trust_remote_code)

    ranked = _ranked(choose, items, limit)
    sampling = Sampling(samples, temperature, sample_seed) if samples else None

    def make(found: tuple[Subject, ...]) -> ModelsLedger:
        return ModelsLedger(
            found,
            names,
            metrics=measured,
            data=data,
            shots=shots,
            limit=limit,
            ranked=ranked,
            sampling=sampling,
            loading=loading,
        )

    _bench(_of_sizes(models, sizes), out, (tokens, tokens_per_step), make, workers, watch, as_json)


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
    begin: Annotated[
        str | None, typer.Option(help="Served models: text that begins documents where the server puts no token there.")
    ] = None,
    level: Level = 0.95,
    as_json: Json = False,
    tokens: Tokens = None,
    tokens_per_step: PerStep = None,
    sizes: Sizes = None,
    dtype: Dtype = None,
    device: Device = "auto",
    allow_bin: Bin = False,
    trust_remote_code: Remote = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes, each with its own model.")] = 1,
    watch: Annotated[bool, typer.Option(help="Go on measuring checkpoints as they appear, until Ctrl-C.")] = False,
) -> None:
    """Measure the loss of any causal language model on texts, and compare models by the same documents."""
    from onset.data.heldout_text import texts_of
    from onset.work.jobs.foreign import ModelsLedger
    from onset.work.jobs.losses import Measuring, compared

    texts, made = texts_of(text, lambda line: say(f"note: {line}", err=True)), []
    loading = _loading(dtype, device, allow_bin, trust_remote_code)
    measuring = Measuring(reference, stride, most_changed, overlap, begin)

    def make(found: tuple[Subject, ...]) -> ModelsLedger:
        made.append(ModelsLedger(found, texts=texts, loading=loading, measuring=measuring))
        return made[-1]

    def show() -> pd.DataFrame:
        places = {f"{one.rundir.name}@{one.step}": (one.rundir, one.step) for one in made[-1].subjects}
        return compared(places, list(texts), level)

    _bench(_of_sizes(models, sizes), out, (tokens, tokens_per_step), make, workers, watch, as_json, show)


def _ranked(choose: Choice, items: Path | None, limit: int | None) -> Path | None:
    """The table by which questions are chosen; None for the first ones."""
    if choose is Choice.first:
        if items is not None:
            raise OnsetError("--items is given, and --choose is not", advice="add --choose information")
        return None
    if items is None or limit is None:
        missing = "--items" if items is None else "--limit"
        raise OnsetError(f"--choose information needs {missing}", advice="--limit 50 --items out/results/items.parquet")
    return items


def _loading(dtype: str | None, device: str, allow_bin: bool, trust_remote_code: bool) -> Loading:
    """How weights are read: in bfloat16 on CUDA where nothing is said, and in float32 elsewhere."""
    from onset.work.jobs.foreign import Loading
    from onset.work.resources import resolve_device

    place = resolve_device(device)
    usual = "bfloat16" if place.startswith("cuda") else "float32"
    return Loading(dtype or usual, place, allow_bin, trust_remote_code)


def split(words: str) -> tuple[str, ...]:
    """Names that commas join."""
    return tuple(one.strip() for one in words.split(",") if one.strip())


def _named(words: str, option: str) -> tuple[str, ...]:
    """Names that commas join, at least one."""
    if not (found := split(words)):
        raise OnsetError("no name is given", where=f"{option} {words!r}", advice="'onset tasks' lists the names")
    return found


@app.command()
def series(as_json: Json = False) -> None:
    """List public series of models whose training checkpoints are on a hub: onset eval series:NAME."""
    from onset.work.hub import listing

    print_frame(listing(), as_json)


def _of_folder(names: tuple[str, ...], folder: Path | None) -> tuple[str, ...]:
    """The names with the folder of their YAML files written into those of lm-evaluation-harness."""
    if folder is None:
        return names
    if not folder.is_dir():
        raise OnsetError("there is no such folder", where=folder, advice="--include-path names a folder of YAML files")
    start = "harness:"
    return tuple(f"{start}{folder}/{one.removeprefix(start)}" if one.startswith(start) else one for one in names)


def _of_sizes(models: list[str], sizes: str | None) -> list[str]:
    """The models with the sizes of a series written into its name."""
    if sizes is None:
        return models
    if not any(one.startswith("series:") for one in models):
        raise OnsetError(
            "--sizes is for a series", where=models[0], advice="name one, as series:pythia; see onset series"
        )
    given = ",".join(split(sizes))

    def named(model: str) -> str:
        name, at, pattern = model.partition("@")
        return f"{name}:{given}{at}{pattern}" if model.startswith("series:") else model

    return [named(one) for one in models]


def _bench(
    models: list[str],
    out: Path,
    tokens: tuple[Path | None, int | None],
    make: Callable[[tuple[Subject, ...]], ModelsLedger],
    workers: int,
    watch: bool = False,
    as_json: bool = False,
    compare: Callable[[], pd.DataFrame] | None = None,
) -> None:
    """Carry out an evaluation of models, once or again and again while checkpoints appear, and show what it gave."""
    import time

    from onset.work.models import evaluate_models
    from onset.work.names import known, subjects
    from onset.work.results import json_rows, results, results_table

    told = known(tokens[0])
    bench = make(())
    while True:
        bench.subjects = subjects(models, out, told, tokens[1], waiting=watch)
        if bench.subjects:
            done, problems = evaluate_models(bench, workers, terminal(stderr=True))
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
            say("bits per byte less those of the first model, by the same documents:")
            print_frame(gaps, as_json=False)
        say(f"{done} sets of weights done; rows in {out}")
        for note in found.notes:
            say(f"note: {note}")
    if problems:
        raise OnsetError("\n".join(problems), where=out, advice="what is done stays done: run the same command again")
