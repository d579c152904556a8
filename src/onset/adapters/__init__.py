"""Others' results to observations.

``collect`` reads any sources of scores and of losses and joins them (``onset import SCORES --losses LOSSES``);
``registry`` lists the formats, one module each in ``formats``. ``import_`` reads one path in a named format.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from onset.adapters import curves, registry, table
from onset.adapters.collect import Collected, Options, collect
from onset.errors import OnsetError, did_you_mean
from onset.tables import observations

__all__ = ["FORMS", "Collected", "Options", "collect", "import_", "observations"]

FORMS: dict[str, Callable[..., pd.DataFrame]] = {"table": table.read, "curves": curves.read}
"""Forms of tables that are read as a whole, with a map of columns or as two curves."""


def import_(format: str, path: str | Path, *, set_aside: bool = False, **options: Any) -> pd.DataFrame:
    """Observations of another's results in a named format, checked as every table is.

    ``options`` are those of ``table`` and ``curves``; other formats (of ``registry.named``) take ``losses``. One that
    is None counts as not given. Raises OnsetError for an unknown format or option, for files that are not of the
    format, and for results that contradict themselves.
    """
    known = {**registry.known(), **FORMS}
    if format not in known and registry.named(format) is None:
        raise OnsetError(f"there is no format '{format}'", advice=did_you_mean(format, known))
    given = {name: value for name, value in options.items() if value is not None}
    form = FORMS.get(format)
    names = ["losses"] if form is None else [name for name in inspect.signature(form).parameters if name != "path"]
    for name in given:
        if name not in names:
            raise OnsetError(f"format '{format}' has no option '{name}'", advice=did_you_mean(name, names))
    if form is None:
        losses = [str(given["losses"])] if "losses" in given else []
        return collect([f"{format}:{path}"], losses, set_aside=set_aside).observations
    frame = form(Path(path), **given)
    return observations.sift(frame)[0] if set_aside else observations.check(frame, where=path)
