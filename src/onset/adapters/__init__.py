"""Others' results to observations: one file a foreign format, and the list of them.

To add a format, write a function of a path and options that returns a frame with the columns of observations, and
name it in ``FORMATS``. What an option is for, a function's docstring says.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from onset.adapters import curves, lm_eval, table
from onset.errors import OnsetError, did_you_mean
from onset.tables import observations

FORMATS: Mapping[str, Callable[..., pd.DataFrame]] = {
    "table": table.read,
    "lm-eval": lm_eval.read,
    "curves": curves.read,
}
"""Formats by the name that ``onset import`` knows them by."""


def import_(format: str, path: str | Path, *, set_aside: bool = False, **options: Any) -> pd.DataFrame:
    """Observations of another's results, checked as every table is.

    ``options`` are those of the format's function; one that is None counts as not given. Raises OnsetError for an
    unknown format or option, for files that are not of the format, and for results that contradict themselves.
    """
    if format not in FORMATS:
        raise OnsetError(f"there is no format '{format}'", advice=did_you_mean(format, FORMATS))
    read = FORMATS[format]
    given = {name: value for name, value in options.items() if value is not None}
    known = [name for name in inspect.signature(read).parameters if name != "path"]
    for name in given:
        if name not in known:
            raise OnsetError(f"format '{format}' has no option '{name}'", advice=did_you_mean(name, known))
    frame = read(Path(path), **given)
    return observations.sift(frame)[0] if set_aside else observations.check(frame, where=path)
