"""``onset design``: what a planned family would tell, before it is trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onset.cli.app import app
from onset.cli.options import Json, Level, Loss
from onset.cli.printing import print_frame, print_json, progress_bar, say
from onset.errors import OnsetError

if TYPE_CHECKING:
    import pandas as pd

    from onset.results import Design

TABLES = (".csv", ".gz", ".parquet")


@app.command()
def design(
    planned: Annotated[
        str | None, typer.Argument(metavar="[STUDY|TABLE]", help="What is planned, or a table of smaller runs.")
    ] = None,
    believed: Annotated[
        Path | None, typer.Option(metavar="TABLE|DIR", help="Smaller runs that losses and curves are learnt from.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Without a table: the loss at which an ability is believed to set in.")
    ] = None,
    curve: Annotated[str, typer.Option(help="With --threshold: emergent, or smooth about that loss.")] = "emergent",
    chance: Annotated[float, typer.Option(min=0, max=0.99, help="With --threshold: score by chance.")] = 0.25,
    top: Annotated[float, typer.Option(min=0.01, max=1, help="With --threshold: the highest score.")] = 0.8,
    pace: Annotated[float, typer.Option(min=0.001, help="With --threshold: nats within which it rises.")] = 0.3,
    law: Annotated[str | None, typer.Option(help="Loss by size and tokens: hoffmann2022 or besiroglu2024.")] = None,
    sizes: Annotated[str | None, typer.Option(help="Parameters of the runs, joined by commas: 1e8,3e8.")] = None,
    tokens: Annotated[str | None, typer.Option(help="Tokens that each size is trained on, joined by commas.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each size and number of tokens.")] = 1,
    checkpoints: Annotated[int, typer.Option(min=1, help="Checkpoints of each run.")] = 12,
    items: Annotated[float | None, typer.Option(min=10, help="Questions of each task.")] = None,
    task: Annotated[str | None, typer.Option(help="Of a table: this task only.")] = None,
    metric: Annotated[str | None, typer.Option(help="Of a table: under this metric.")] = None,
    loss: Loss = None,
    width: Annotated[float, typer.Option(help="Widest interval of a threshold, in the unit of the loss.")] = 0.1,
    effect: Annotated[float, typer.Option(help="Size effect to be found, pp a decade.")] = 3.0,
    margin: Annotated[float, typer.Option(help="Within so many pp a decade no size effect is shown.")] = 1.0,
    error: Annotated[float, typer.Option(help="Largest miss of the forecast, pp.")] = 3.0,
    budget: Annotated[float | None, typer.Option(help="FLOPs: choose a family that costs so much.")] = None,
    rate: Annotated[float | None, typer.Option(help="FLOP/s at which one GPU trains, for GPU-hours.")] = None,
    draws: Annotated[int, typer.Option(min=4, help="Simulated tables behind each share.")] = 20,
    additions: Annotated[bool, typer.Option(help="Tell what one thing more would add.")] = True,
    level: Level = 0.95,
    seed: Annotated[int, typer.Option(help="Of the simulated tables.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="Write design.json, tables and a figure.")] = None,
    as_json: Json = False,
) -> None:
    """Say what a planned family would tell, before it is trained: power for a threshold, a size effect, a forecast."""
    from onset.stats.design import family as families
    from onset.stats.design.power import Asked
    from onset.stats.design.power import design as simulated
    from onset.work.design import believe, observed_family, plan_family, stated_items, write

    table = planned is not None and (planned.endswith(TABLES) or (Path(planned) / "runs").is_dir())
    source = believed or (Path(planned) if planned and table else None)
    if (source is None) == (threshold is None):
        raise OnsetError(
            "what is believed is to be given once", where="--believed, --threshold",
            advice="a table of smaller runs (--believed TABLE), or the loss of an onset (--threshold 2.2)",
        )  # fmt: skip
    belief, told = believe(
        source if source is not None else float(threshold or 0), task=task, metric=metric, loss=loss, law=law,
        curve=curve, chance=chance, top=top, pace=pace, seed=seed,
    )  # fmt: skip
    study = planned if planned and not table else None
    count = items or (stated_items(study) if study else None) or told
    if study:
        family = plan_family(study, items=count)
    elif sizes or source is None:
        family = plan_family(
            numbers(sizes, "--sizes"), tokens=numbers(tokens, "--tokens"), seeds=seeds, checkpoints=checkpoints,
            items=count,
        )  # fmt: skip
    else:
        family = observed_family(source, count, loss)
    choice = list(families.of_budget(budget, checkpoints=checkpoints, items=count)) if budget else []
    asked = Asked(width=width, effect=effect, margin=margin, error=error, level=level)
    with progress_bar("simulating") as progress:
        found = simulated(
            family, belief, asked=asked, draws=draws, budget=choice, additions=additions, rate=rate, seed=seed,
            progress=progress,
        )  # fmt: skip
    if out is not None:
        write(found, out)
    if as_json:
        print_json(found.to_json())
        return
    _told(found, out)


def _told(found: Design, out: Path | None) -> None:
    """The tables for a person."""
    hours = f", {found.flops / found.rate / 3600:.3g} GPU-hours" if found.rate else ""
    chosen = ", chosen among families of this budget" if found.chosen else ""
    say(f"{found.family}: {len(found.runs)} runs, {found.flops:.3g} FLOPs{hours}{chosen}")
    print_frame(found.runs.round({"gpu_hours": 2}).dropna(axis="columns", how="all"), as_json=False)
    say(f"probability of an answer ({found.draws} simulated tables; {found.level:.0%} intervals):")
    print_frame(_shares(found.summary()), as_json=False)
    say("power against cost, over all tasks:")
    wide = _shares(found.families).pivot_table(
        index=["family", "flops"], columns="question", values="power", aggfunc="first", sort=False
    )
    print_frame(wide.reset_index(), as_json=False)
    if len(found.additions):
        say("what one thing more would add: percent by which intervals get narrower")
        print_frame(found.additions.round(1), as_json=False)
    for note in found.notes:
        say(f"note: {note}")
    if out is not None:
        say(f"figure: {out / 'figures' / 'power_against_cost.svg'}")


def _shares(frame: pd.DataFrame) -> pd.DataFrame:
    """Power with its interval as one text."""
    told = [
        f"{power:.0%} [{low:.0%}, {high:.0%}]"
        for power, low, high in zip(frame["power"], frame["low"], frame["high"], strict=True)
    ]
    return frame.assign(power=told).drop(columns=["low", "high"])


def numbers(text: str | None, where: str) -> list[float]:
    """Numbers joined by commas, such as 1e8,3e8; raises OnsetError where one is none."""
    try:
        return [float(part) for part in (text or "").split(",") if part.strip()]
    except ValueError as error:
        raise OnsetError(f"'{text}' are no numbers joined by commas", where=where, advice="such as 1e8,3e8") from error
