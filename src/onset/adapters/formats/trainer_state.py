"""Hugging Face Trainer: ``trainer_state.json``, in the output folder and in every ``checkpoint-N``.

Its ``log_history`` has training losses (``loss``) and losses of validation sets (``eval_loss``, ``eval_<set>_loss``),
in nats per token. The last entry's ``train_loss`` is the mean over the whole training, no loss of any step, and is
left out. Tokens are there where the training counted them (``include_num_input_tokens_seen``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from onset.adapters import names, source
from onset.adapters.columns import TRAINING
from onset.adapters.source import Format, Reading, Results
from onset.errors import OnsetError
from onset.store.step_names import STEP
from onset.tables.units import NATS

_EVAL = re.compile(r"^eval_(?:(.+)_)?loss$")
SEEN = "num_input_tokens_seen"


def looks_like(path: Path) -> bool:
    """A JSON file of this name, or one with its keys."""
    return path.suffix == ".json" and (
        path.name == "trainer_state.json" or '"log_history"' in source.head(path, 1 << 16)
    )


def read(path: Path, reading: Reading) -> Results:
    """The losses of one trainer's state. The run is the folder around the checkpoints."""
    state = source.load_json(path)
    history = state.get("log_history") if isinstance(state, dict) else None
    if not isinstance(history, list):
        raise OnsetError("this is no state of a trainer: it has no 'log_history'", where=path)
    rows, failed = [], 0
    for entry in history:
        for name, value in _losses(entry):
            if not math.isfinite(value) or value <= 0:
                failed += 1
                continue
            rows.append({
                "step": entry["step"], "tokens": entry.get(SEEN), "loss_name": name, "loss_unit": NATS, "loss": value,
                "training": name == TRAINING,
            })  # fmt: skip
    if not rows:
        raise OnsetError("the trainer has logged no loss", where=path)
    frame = pd.DataFrame(rows).assign(**_run(path, reading))
    if state.get(SEEN) and frame.tokens.isna().all() and state.get("global_step"):
        frame["tokens"] = frame.step * (state[SEEN] / state["global_step"])
    notes = (f"{path.name}: losses that are zero or not finite, left out: {failed}",) if failed else ()
    return Results(losses=frame, notes=notes)


def _losses(entry: Mapping[str, Any]) -> list[tuple[str, float]]:
    found = []
    for key, value in entry.items():
        if isinstance(value, int | float) and (key == "loss" or (match := _EVAL.match(key))):
            name = TRAINING if key == "loss" else (match[1] if match and match[1] else "eval")
            found.append((name, float(value)))
    return found


def _run(path: Path, reading: Reading) -> dict[str, Any]:
    if reading.runs is not None:
        return source.run_of(path, reading)
    folder = path.resolve().parent
    return {"run": names.place(folder.as_posix()).run if STEP.search(folder.name) else folder.name}


FORMAT = Format("trainer-state", "Hugging Face Trainer, trainer_state.json", looks_like, read)
