"""Text logs of Megatron-LM, Megatron-DeepSpeed and NeMo: losses by iteration.

Tokens are the consumed samples times the sequence length, which stands in the arguments at the head of the log or is
given. A training that was restarted into the same log writes iterations again: the last one written counts.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from onset.adapters import source
from onset.adapters.columns import TRAINING
from onset.adapters.source import Format, Reading, Results
from onset.errors import OnsetError
from onset.tables.units import NATS

_TRAIN = re.compile(r"iteration\s+(\d+)/\s*\d+ \|(.*)")
_LOSS = re.compile(r"\|?\s*lm loss:\s*([\d.]+(?:E[+-]?\d+)?|nan|inf)", re.IGNORECASE)
_SAMPLES = re.compile(r"consumed samples:\s*(\d+)")
_TOKENS = re.compile(r"consumed tokens:\s*(\d+)")
_VALID = re.compile(
    r"(?:(validation|test) )?loss at iteration\s+(\d+)(?: on (\w+)(?: set)?)?\s*\|"
    r"\s*lm loss value:\s*([\d.]+(?:E[+-]?\d+)?)",
    re.IGNORECASE,
)
_LENGTH = re.compile(r"(?:seq_length|encoder_seq_length|seq-length)[ .:=]+(\d+)")


def looks_like(path: Path) -> bool:
    """A text file with lines of iterations and losses."""
    if path.suffix.lower() not in ("", ".log", ".txt", ".out", ".err"):
        return False
    text = source.head(path, 1 << 20)
    return bool(_TRAIN.search(text) and _LOSS.search(text)) or bool(_VALID.search(text))


def read(path: Path, reading: Reading) -> Results:
    """Training and validation losses of one log; the run is the file's name without its ending."""
    losses: dict[tuple[str, int], float] = {}
    samples: dict[int, int] = {}
    tokens: dict[int, int] = {}
    length, again, failed = reading.seq_length, 0, 0
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if length is None and (found := _LENGTH.search(line)):
                length = int(found[1])
            for name, step, value in _of_line(line):
                if not 0 < value < float("inf"):
                    failed += 1
                    continue
                again += (name, step) in losses
                losses[name, step] = value
            if found := _TRAIN.search(line):
                if counted := _SAMPLES.search(line):
                    samples[int(found[1])] = int(counted[1])
                if counted := _TOKENS.search(line):
                    tokens[int(found[1])] = int(counted[1])
    if not losses:
        raise OnsetError("the log has no lines of losses", where=path)
    if not tokens and length is not None:
        tokens = {step: count * length for step, count in samples.items()}
    frame = pd.DataFrame(
        [{"step": step, "loss_name": name, "loss": value} for (name, step), value in losses.items()]
    ).assign(loss_unit=NATS)
    frame["tokens"] = frame.step.map(tokens).astype(float)
    frame["training"] = frame.loss_name == TRAINING
    notes = []
    if samples and not tokens:
        notes.append(f"{path.name} counts samples and does not say their length: tokens are not known (--seq-length N)")
    if again:
        notes.append(f"{path.name}: iterations that a restart wrote again, the last one taken: {again}")
    if failed:
        notes.append(f"{path.name}: losses that are zero or not finite, left out: {failed}")
    return Results(losses=frame.assign(**source.run_of(path, reading)), notes=tuple(notes))


def _of_line(line: str) -> list[tuple[str, int, float]]:
    """(name, iteration, loss) of a line: at most one of them."""
    if found := _VALID.search(line):
        on = (found[3] or found[1] or "validation").lower()
        return [(on, int(found[2]), float(found[4]))]
    found = _TRAIN.search(line)
    loss = _LOSS.search(found[2]) if found else None
    return [(TRAINING, int(found[1]), float(loss[1]))] if found and loss else []


FORMAT = Format("megatron", "log of Megatron-LM, DeepSpeed or NeMo (text)", looks_like, read)
