"""What every result has in common: frozen fields, JSON in and out, a short text, a table. Nothing here draws."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Annotated, Any, Self

import numpy as np
import pandas as pd
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError, model_validator

from onset.errors import OnsetError

Frame = Annotated[pd.DataFrame | None, Field(exclude=True, repr=False)]
"""A frame that stands beside the JSON (in results/*.parquet), not in it."""


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON has them; a missing value is null."""
    known = frame.astype(object).where(frame.notna(), None)
    return [{str(name): _plain(value) for name, value in row.items()} for row in known.to_dict("records")]


def _from_records(given: Any) -> Any:
    return pd.DataFrame(given) if isinstance(given, list | tuple) else given


Table = Annotated[pd.DataFrame, PlainSerializer(_records), BeforeValidator(_from_records), Field(repr=False)]
"""A frame that stands in the JSON as a list of rows."""


def _plain(value: Any) -> Any:
    """NumPy scalars as Python has them: the fields are plain numbers."""
    return value.item() if isinstance(value, np.generic) else value


class Record(BaseModel):
    """Named values that never change; numbers are finite, and what is missing is None.

    Two records are equal when their JSON is; frames kept beside the JSON are not compared.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)

    @model_validator(mode="before")
    @classmethod
    def _from_numpy(cls, given: Any) -> Any:
        return {name: _plain(value) for name, value in given.items()} if isinstance(given, Mapping) else given

    def with_changes(self, **changes: Any) -> Self:
        """A copy with other values in some fields."""
        return self.model_copy(update=changes)

    def to_json(self) -> dict[str, Any]:
        """The content as JSON values."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, given: str | bytes | Mapping[str, Any]) -> Self:
        """The record of a JSON text or of its values; raises OnsetError where they are of something else."""
        try:
            return cls.model_validate_json(given) if isinstance(given, str | bytes) else cls.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise OnsetError(
                f"this is not the JSON of {cls.__name__}: {first['msg']}",
                where=where or cls.__name__,
                advice="give what to_json wrote, by this version of onset",
            ) from error

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, Record) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash((type(self).__name__, json.dumps(self.to_json(), sort_keys=True)))


class Drawable:
    """Whatever ``onset.plots`` has a chart for."""

    def plot(self) -> Any:
        """The result as a chart, by whatever is installed for drawing (the entry point ``onset.plots``)."""
        found = list(metadata.entry_points(group="onset.plots"))
        if not found:
            raise OnsetError(
                "nothing that draws is registered for results",
                where="entry points 'onset.plots'",
                advice="use onset.plot(result), or install the package again",
            )
        return found[0].load()(self)


class Result(Record, Drawable):
    """A result of an analysis: ``summary()`` is a frame, ``to_latex()`` a table, ``plot()`` a chart."""

    def summary(self) -> pd.DataFrame:
        """One row a quantity (or a finding), ready to print."""
        raise NotImplementedError

    def to_frame(self, kind: str = "summary") -> pd.DataFrame:
        """A frame of the result by name: ``summary``, or any frame field, such as ``curve`` or ``residuals``."""
        if kind == "summary":
            return self.summary()
        frames = self._frames()
        if kind not in frames:
            raise OnsetError(f"{type(self).__name__} has no frame '{kind}'", advice="one of " + ", ".join(frames))
        return frames[kind]

    def _frames(self) -> dict[str, pd.DataFrame]:
        held = {name: getattr(self, name) for name in type(self).model_fields}
        return {"summary": self.summary()} | {
            name: value for name, value in held.items() if isinstance(value, pd.DataFrame)
        }

    def conf_int(self) -> pd.DataFrame:
        """One row an estimate with an interval: ``quantity, estimate, low, high``, behind what names it, if anything.

        The level is that of the result (``level``). What was not estimated has no row.
        """
        made = pd.DataFrame(self._estimates())
        return made if len(made) else pd.DataFrame(columns=["quantity", "estimate", "low", "high"])

    def _estimates(self) -> list[dict[str, Any]]:
        """Rows of ``conf_int``."""
        return []

    def to_latex(self) -> str:
        """The summary as a LaTeX table (booktabs), names escaped, sentences left out."""
        from onset.results.text import latex

        return latex(self.summary(), type(self).__name__)

    def _headline(self) -> str:
        """One line: what the result says."""
        return type(self).__name__

    def __repr__(self) -> str:
        return f"<{self._headline()}>"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        table = self.summary().to_html(index=False, border=0, na_rep="", float_format=lambda value: f"{value:.4g}")
        return f"<div><p>{html.escape(self._headline())}</p>{table}</div>"


def estimate(quantity: str, value: float | None, low: float | None, high: float | None) -> list[dict[str, Any]]:
    """The row of ``conf_int`` of one quantity; none where it was not estimated."""
    return [] if value is None else [{"quantity": quantity, "estimate": value, "low": low, "high": high}]


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its interval, in the value's own unit; NaN where there is none."""

    value: float
    low: float
    high: float


def check_level(level: float) -> float:
    """A level of confidence as it is; raises OnsetError unless it lies strictly between 0.5 and 1."""
    if not (isinstance(level, int | float | np.floating) and 0.5 < level < 1):
        raise OnsetError(
            f"level {level} is no confidence level", where="level",
            advice="give a share between 0.5 and 1, such as 0.95 (not 95)",
        )  # fmt: skip
    return float(level)
