"""Columns by their distinct values: work done once a value, and large tables that hold each text once.

A table of millions of rows has few different texts and numbers. Its columns of text are pandas' categories then; the
helpers here treat a column of text and one of categories alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

LARGE = 300_000
"""Rows above which the texts of a file are kept as categories."""


def is_compact(values: pd.Series) -> bool:
    """Whether a column holds each of its values once."""
    return isinstance(values.dtype, pd.CategoricalDtype)


def each(values: pd.Series, function: Callable[[Any], Any]) -> pd.Series:
    """``function`` of every value, called once a distinct value; what is missing stays missing."""
    codes, unique = pd.factorize(values)
    made = pd.Series([function(value) for value in unique], dtype=object).infer_objects()
    taken = made.reindex(codes) if len(made) else pd.Series(np.nan, range(len(values)))
    return taken.set_axis(values.index)


def texts(values: pd.Series, function: Callable[[str], str] = str) -> pd.Series:
    """The column as text, ``function`` applied to each; what is missing stays missing, categories stay categories."""
    if not is_compact(values):
        text = values.astype("str")
        return text if function is str else text.map(function, na_action="ignore").astype("str")
    made = [function(str(value)) for value in values.cat.categories]
    codes, kept = pd.factorize(pd.Series(made, dtype="str"), sort=True)
    return _of_codes(values, codes, kept)


def numbers(values: pd.Series) -> pd.Series:
    """The column as numbers, NaN where a cell is none."""
    if values.dtype == np.float64:
        return values
    if not is_compact(values):
        return pd.to_numeric(values, errors="coerce").astype("float64")
    known = pd.to_numeric(pd.Series(values.cat.categories), errors="coerce").astype("float64").to_numpy()
    codes = values.cat.codes.to_numpy()
    taken = np.append(known, np.nan)[codes]  # code -1 is the last
    return pd.Series(taken, values.index, name=values.name)


def filled(values: pd.Series, missing: Any) -> pd.Series:
    """The column with ``missing`` where it has nothing."""
    if not is_compact(values) or not values.hasnans:
        return values.fillna(missing)
    if missing not in values.cat.categories:
        values = values.cat.add_categories([missing])
    return texts(values.fillna(missing))


def replaced(values: pd.Series, where: pd.Series, by: pd.Series | str) -> pd.Series:
    """The column with texts of ``by`` where ``where`` holds."""
    if not where.any():
        return values
    if not is_compact(values):
        return values.mask(where, by)
    return compact(values.astype(object).mask(where, by.astype(object) if isinstance(by, pd.Series) else by))


def compact(values: pd.Series) -> pd.Series:
    """A column of text that holds each text once, in their order."""
    codes, unique = pd.factorize(values)
    order, kept = pd.factorize(pd.Series(unique, dtype="str"), sort=True)
    made = np.append(order, -1)[codes] if len(order) else codes
    return pd.Series(pd.Categorical.from_codes(made, pd.Index(kept, dtype="str")), values.index, name=values.name)


def constant(text: str, like: pd.DataFrame) -> pd.Series:
    """A column of one text for a frame, compact where the frame's texts are."""
    if any(is_compact(like[name]) for name in like):
        codes = np.zeros(len(like), dtype=np.int8)
        return pd.Series(pd.Categorical.from_codes(codes, pd.Index([text], dtype="str")), like.index)
    return pd.Series(text, like.index, dtype="str")


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with columns of text in place of categories."""
    names = [name for name in frame if is_compact(frame[name])]
    return frame.assign(**{str(name): frame[name].astype("str") for name in names}) if names else frame


def repeated(frame: pd.DataFrame, keys: Sequence[str]) -> pd.Series:
    """Rows whose keys stand in another row too; by hashes first, which take less memory than the keys."""
    hashed = np.zeros(len(frame), dtype=np.uint64)
    for name in keys:
        values = frame[name] + 0.0 if frame[name].dtype.kind == "f" else frame[name]  # -0.0 is 0.0
        hashed *= np.uint64(1_099_511_628_211)
        hashed += pd.util.hash_pandas_object(values, index=False).to_numpy()
    again = pd.Series(hashed, frame.index).duplicated(keep=False)
    if again.any():
        rows = frame.loc[again, list(keys)]
        again[again] = rows.duplicated(keep=False)
    return again


def _of_codes(values: pd.Series, codes: np.ndarray, kept: Any) -> pd.Series:
    """``values`` with the categories ``kept``, of which ``codes`` says for each old one which it is now."""
    made = np.append(codes, -1)[values.cat.codes.to_numpy()]
    return pd.Series(pd.Categorical.from_codes(made, pd.Index(kept, dtype="str")), values.index, name=values.name)
