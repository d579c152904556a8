"""The loss axis of a table: picked from its own losses, or joined from the table of losses beside it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from onset.errors import OnsetError, did_you_mean
from onset.tables import files
from onset.tables import validation as contradictions
from onset.tables.units import NATS, loss_unit

OWN = "own loss"
"""Loss name of an axis on which every family stands on a loss of its own."""


def beside(path: Path) -> Path | None:
    """The table of losses that belongs to a table: ``<name>.losses.csv.gz`` (or .csv, .parquet)."""
    stem = path.name
    for ending in (".gz", ".csv", ".tsv", ".parquet", ".pq"):
        stem = stem.removesuffix(ending)
    for ending in (".losses.csv.gz", ".losses.csv", ".losses.parquet"):
        other = path.with_name(stem + ending)
        if other.exists() and other != path:
            return other
    return None


def choose(frame: pd.DataFrame, loss: str, path: Path) -> pd.DataFrame:
    """The rows of a raw table on the loss axis ``NAME[:UNIT]`` or ``FAMILY=NAME,FAMILY=NAME``.

    Adds to ``.attrs["notes"]`` how many observations have no such loss: they cannot be placed and are left out.
    """
    if "=" in loss:
        return _each_its_own(frame, loss, path)
    own = _available(frame)
    wanted = _match(own, loss)
    if wanted is not None:
        names = frame.get("loss_name", pd.Series("loss", frame.index)).fillna("loss")
        units = frame.get("loss_unit", pd.Series(NATS, frame.index)).fillna(NATS)
        return frame[(names == wanted[0]) & (units == wanted[1])]
    other = beside(path)
    if other is None:
        raise _unknown(loss, own, path, f"and there is no {path.name.split('.')[0]}.losses.csv.gz beside it")
    table = files.read_table(other)
    wanted = _match(_available(table), loss)
    if wanted is None:
        raise _unknown(loss, own | _available(table), path, "")
    return _joined(frame, _axis(table, wanted, other))


def _available(frame: pd.DataFrame) -> set[tuple[str, str]]:
    """The (name, unit) pairs of a raw table."""
    names = frame.get("loss_name", pd.Series("loss", frame.index)).fillna("loss").astype(str)
    units = frame.get("loss_unit", pd.Series(NATS, frame.index)).fillna(NATS).astype(str)
    return set(zip(names, units, strict=True))


def _match(available: set[tuple[str, str]], loss: str) -> tuple[str, str] | None:
    """The axis that ``NAME[:UNIT]`` means; without a unit nats per token come first."""
    named = sorted((axis for axis in available if axis[0] == loss), key=lambda axis: (axis[1] != NATS, axis))
    if named:
        return named[0]
    name, _, last = loss.rpartition(":")
    return next((axis for axis in sorted(available) if axis[0] == name and loss_unit(axis[1]) == loss_unit(last)), None)


def _unknown(loss: str, available: set[tuple[str, str]], path: Path, why: str) -> OnsetError:
    names = [name if unit == NATS else f"{name}:{unit}" for name, unit in available]
    advice = did_you_mean(loss, names)
    return OnsetError(f"there is no loss '{loss}' for this table", where=path, advice=f"{advice} {why}".strip())


def _axis(table: pd.DataFrame, wanted: tuple[str, str], path: Path) -> pd.DataFrame:
    """One axis of a table of losses, checked: numbers, and one loss a checkpoint."""
    missing = [column for column in ("run", "loss") if column not in table]
    if missing or not {"step", "tokens"} & set(table.columns):
        raise OnsetError(
            f"the table of losses lacks {', '.join(missing) or 'step or tokens'}",
            where=path,
            advice="give the columns run, step or tokens, loss, and loss_name where there are several",
        )
    names = table.get("loss_name", pd.Series("loss", table.index)).fillna("loss")
    units = table.get("loss_unit", pd.Series(NATS, table.index)).fillna(NATS)
    axis = table[(names == wanted[0]) & (units == wanted[1])]
    made = pd.DataFrame({"run": axis.run.astype("str"), "loss_name": wanted[0], "loss_unit": wanted[1]})
    for column in ("step", "tokens", "params", "loss"):
        made[column] = pd.to_numeric(axis[column], errors="coerce") if column in axis else float("nan")
    made["checkpoint"] = made.step.fillna(made.tokens)
    made = made[made.loss.notna() | ~gaps(axis)]  # a checkpoint without this loss has none, and stands for no fault
    made = made.drop_duplicates(["run", "step", "tokens", "loss"])
    reasons = contradictions.merged(contradictions.of_losses(made))
    if len(reasons):
        first = "; ".join(f"row {row}: {text}" for row, text in reasons.head(8).items())
        raise OnsetError(
            f"the table of losses contradicts itself in {len(reasons)} rows, the first: {first}",
            where=path,
            advice="correct the rows or take them out",
        )
    return made


def gaps(axis: pd.DataFrame) -> pd.Series[bool]:
    """Rows whose cell of the loss is empty; a loss that is no number is not among them."""
    return axis.loss.isna() if "loss" in axis else pd.Series(True, axis.index)


def read_all(path: Path) -> pd.DataFrame:
    """All axes of a table of losses: ``run, step, tokens, loss_name, loss_unit, loss``, each axis checked."""
    table = files.read_table(path)
    return pd.concat([_axis(table, wanted, path) for wanted in sorted(_available(table))], ignore_index=True)


def _joined(frame: pd.DataFrame, axis: pd.DataFrame) -> pd.DataFrame:
    """The frame with the axis's losses, by run and step, or by run and tokens where there is no step."""
    name = axis.loss_name.iloc[0]
    by_step = "step" in frame and pd.to_numeric(frame.step, errors="coerce").notna().all() and axis.step.notna().all()
    key = "step" if by_step else "tokens"
    places = axis.dropna(subset=[key]).drop_duplicates(["run", key])
    found = pd.Series(places.loss.to_numpy(), pd.MultiIndex.from_frame(places[["run", key]].astype({"run": object})))
    wanted = pd.MultiIndex.from_arrays(
        [frame.run.astype(object), pd.to_numeric(frame[key], errors="coerce").astype("float64")], names=["run", key]
    )
    placed = frame.copy()
    placed["loss"] = found.reindex(wanted).to_numpy()
    placed["loss_name"], placed["loss_unit"] = name, axis.loss_unit.iloc[0]
    lost = placed.loss.isna()
    if lost.all():
        raise OnsetError(
            f"no observation has a loss '{name}': no (run, {key}) is both in the table and in the table of losses",
            advice="the two tables must name runs and checkpoints alike",
        )
    if lost.any():
        note = f"observations without a loss '{name}', which cannot be placed, left out: {int(lost.sum())}"
        placed.attrs["notes"] = [*frame.attrs.get("notes", []), note]
    # A table of several axes repeats every score once an axis: one of them is enough here.
    keys = [name for name in ("family", "run", "params", "tokens", "step", "task", "metric", "score") if name in placed]
    return placed[~lost].drop_duplicates(keys)


def _each_its_own(frame: pd.DataFrame, loss: str, path: Path) -> pd.DataFrame:
    """Every family on the loss that the map gives it; families that are not in the map are left out."""
    if "family" not in frame:
        raise OnsetError(f"'{loss}' names families, but the table has no column 'family'", where=path)
    parts, notes = [], list(frame.attrs.get("notes", []))
    for pair in loss.split(","):
        family, _, name = (word.strip() for word in pair.partition("="))
        rows = frame[frame.family == family]
        if rows.empty:
            families = [str(known) for known in frame.family.dropna().unique()]
            raise OnsetError(f"there is no family '{family}'", where=path, advice=did_you_mean(family, families))
        part = choose(rows, name, path)
        notes += part.attrs.get("notes", [])
        parts.append(part)
    together = pd.concat(parts)
    together["loss_name"] = OWN
    left = len(frame) - sum(len(frame[frame.family == pair.partition("=")[0].strip()]) for pair in loss.split(","))
    if left:
        notes.append(f"rows of families without a loss of their own, left out: {left}")
    together.attrs["notes"] = notes
    return together
