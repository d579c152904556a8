"""``onset compare``: paired differences of models on the same items."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onset.cli.app import app
from onset.cli.evaluate import split
from onset.cli.options import Json, Level, Metrics
from onset.cli.printing import print_frame, print_json, say


@app.command()
def compare(
    models: Annotated[
        list[str],
        typer.Argument(metavar="SCORED...", help="Folders of eval or run, runs of them, or RUN@STEP; the first is A."),
    ],
    out: Annotated[Path | None, typer.Option("--out", help="Write comparison.json, comparison.csv, flips.csv.")] = None,
    metrics: Metrics = None,
    level: Level = 0.95,
    rate: Annotated[float, typer.Option(min=0, max=1, help="Share of false discoveries allowed over tasks.")] = 0.05,
    seed: Annotated[int, typer.Option(help="Of the permutation test.")] = 0,
    as_json: Json = False,
) -> None:
    """Compare models or checkpoints on the same items: differences with intervals, and the items that flipped."""
    from onset.metrics.measures import USUAL
    from onset.work.compare import compare_scored, write

    named = [*USUAL, *split(metrics)] if metrics else None
    found = compare_scored(models, named, level=level, rate=rate, seed=seed)
    if out is not None:
        write(found, out)
    if as_json:
        print_json(found.to_json())
        return
    say(f"differences from {found.reference}, on the same items:")
    print_frame(found.summary(), as_json=False)
    told = int(found.rows["differs"].sum())
    say(f"{told} of {len(found.rows)} differ, at a false discovery rate of {found.rate:.0%} for each metric")
    if out is not None:
        say(f"items that flipped: {out / 'flips.csv'}")
    for note in found.notes:
        say(f"note: {note}")
