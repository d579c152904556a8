"""onset's own log of one training: ``log.jsonl`` with ``step, tokens, loss`` of every batch, beside ``run.json``.

A source of training losses, where no held-out loss was measured. A line that a kill has cut short is the last one.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from onset import reading as whole
from onset.adapters import source
from onset.adapters.columns import TRAINING
from onset.adapters.source import Format, Reading, Results
from onset.errors import OnsetError
from onset.tables.units import NATS

KEYS = ("step", "tokens", "loss")


def looks_like(path: Path) -> bool:
    """A file ``log.jsonl`` whose first line has the keys."""
    if path.name != "log.jsonl":
        return False
    first = source.head(path, 1 << 12).partition("\n")[0]
    return all(f'"{key}"' in first for key in KEYS)


def read(path: Path, reading: Reading) -> Results:
    """The training losses of one log, in nats per token; a step that was logged again counts as it was last."""
    lines = whole.text(path).splitlines()
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append({key: whole.json_dict(line, where=path)[key] for key in KEYS})
        except (OnsetError, KeyError) as error:
            if number < len(lines):
                raise OnsetError(f"line {number} is no line of a training's log", where=path) from error
    frame = pd.DataFrame(rows, columns=list(KEYS)).drop_duplicates("step", keep="last")
    frame = frame[pd.to_numeric(frame.loss, errors="coerce") > 0]
    if frame.empty:
        raise OnsetError("the log has no loss", where=path)
    about = path.with_name("run.json")
    meta = source.load_json(about) if about.exists() else {}
    run = (
        source.run_of(path, reading)["run"]
        if reading.runs is not None
        else meta.get("run") or path.resolve().parent.name
    )
    return Results(
        losses=frame.assign(run=run, params=meta.get("params"), loss_name=TRAINING, loss_unit=NATS, training=True)
    )


FORMAT = Format("onset-log", "log.jsonl of a training by onset", looks_like, read)
