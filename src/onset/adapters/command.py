"""What ``onset import`` does: options from text, sources to a table, and the files beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from onset.adapters import FORMS, Collected, Options, collect, import_
from onset.adapters.formats import every_eval_ever
from onset.adapters.join import GAP
from onset.adapters.names import ByRun, Pattern
from onset.adapters.source import Reading
from onset.errors import OnsetError
from onset.study.python_file import is_python
from onset.tables.files import write_table


def import_sources(
    sources: Sequence[str],
    losses: Sequence[str],
    out: Path,
    *,
    items: Path | None = None,
    records: Path | None = None,
    set_aside: bool = False,
    **given: Any,
) -> list[str]:
    """Write the table of observations of the sources, with its table of losses where there are several losses.

    ``given`` are the options of the command as text. Returns what is to be told: notes, and what was written. Raises
    OnsetError for options that cannot be read and for all that ``collect`` refuses.
    """
    given["items"] = items is not None or records is not None
    collected = _collected(list(sources), list(losses), set_aside, given)
    frame = collected.observations
    write_table(frame, out)
    told = [f"note: {note}" for note in frame.attrs.get("notes", [])]
    told.append(f"{len(frame)} observations of {frame.run.nunique()} runs in {out}")
    beside = _beside(out)
    if len(collected.losses):
        write_table(collected.losses, beside)
        told.append(f"{collected.losses.loss_name.nunique()} losses in {beside}")
    elif beside.exists():
        beside.unlink()  # of an earlier import into the same table
    if items is not None:
        if collected.items.empty:
            raise OnsetError("the sources have no single questions to write", advice="leave --items out")
        write_table(collected.items, items)
        told.append(f"{len(collected.items)} item rows in {items}")
    if records is not None:
        own = None if collected.items.empty else collected.items
        told.append(f"{len(every_eval_ever.write(frame, records, items=own))} records in {records}")
    return told


def _collected(sources: list[str], losses: list[str], set_aside: bool, given: dict[str, Any]) -> Collected:
    """By the form that is named first and has its own options (``table``, ``curves``), or by sources."""
    import pandas as pd

    first = sources[0]
    named = len(sources) > 1 and (is_python(first) or not Path(first).exists())
    if named and first in FORMS and (first == "curves" or given.get("columns")):
        if len(sources) > 2:
            raise OnsetError(f"'{first}' reads one table", advice="name the others after --losses")
        options = {"losses": losses[0] if losses else None, "columns": given.get("columns")}
        own = {name: value for name, value in options.items() if value is not None}
        return Collected(import_(first, sources[1], set_aside=set_aside, **own), pd.DataFrame(), pd.DataFrame())
    from onset.adapters import registry

    if named and registry.named(first) is not None:
        sources = [f"{first}:{path}" for path in sources[1:]]
    return collect(sources, losses, options_of(**given), set_aside=set_aside)


def options_of(
    *,
    tokens_per_step: list[str] | None = None,
    params: list[str] | None = None,
    runs: str | None = None,
    restarts: str | None = None,
    rename: list[str] | None = None,
    metric: str | None = None,
    score: Sequence[str] | None = None,
    loss_columns: Sequence[str] | None = None,
    loss: Sequence[str] | None = None,
    gap: float | None = None,
    seq_length: int | None = None,
    family: str | None = None,
    columns: Any = None,
    chance: list[str] | None = None,
    questions: list[str] | None = None,
    items: bool = False,
) -> Options:
    """Options from the texts of the command line; what is None was not given."""
    reading = Reading(
        metric,
        tuple(score or ()),
        tuple(loss_columns or ()),
        Pattern.parse(runs) if runs else None,
        seq_length,
        columns,
        items,
    )
    pattern = Pattern.parse(restarts) if restarts else None
    if pattern is not None and not {"run", "restart"} <= pattern.regex.groupindex.keys():
        raise OnsetError("--restarts needs {run} and {restart}", advice="for instance '{run}-run-{restart}'")
    chances = ByRun.parse(chance, "--chance")
    for value in (chances.everyone or 0.0, *(value for _, value in chances.named)):
        if not value <= 1:
            raise OnsetError(f"--chance: {value:g} is no share", advice="write for instance: mmlu=0.25")
    return Options(
        reading=reading,
        tokens_per_step=ByRun.parse(tokens_per_step, "--tokens-per-step"),
        params=ByRun.parse(params, "--params"),
        rename=_pairs(rename),
        restarts=pattern,
        axes=tuple(loss or ()),
        gap=GAP if gap is None else gap,
        chance=chances,
        questions=ByRun.parse(questions, "--questions"),
        family=family,
    )


def _pairs(rename: Sequence[str] | None) -> tuple[tuple[str, str], ...]:
    found = []
    for text in rename or ():
        old, equals, new = text.rpartition("=")
        if not (old and equals and new):
            raise OnsetError(f"--rename: '{text}' is no pair OLD=NEW", advice="write for instance: run-1=small")
        found.append((old, new))
    return tuple(found)


def _beside(out: Path) -> Path:
    stem = out.name
    for ending in (".gz", ".csv", ".parquet", ".pq"):
        stem = stem.removesuffix(ending)
    return out.with_name(f"{stem}.losses.csv.gz")
