"""lm-evaluation-harness: per-sample logs to item rows, so that our metrics can be computed on them.

One line of ``samples_<task>_<date>.jsonl`` is one question: its prompts and continuations (``arguments``), what the
model gave (``resps``), the right answer (``target``) and the harness's own measures. A harness with filters writes a
question once a filter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from onset import reading as whole
from onset.errors import OnsetError
from onset.store.parts import ITEMS

Sample = Mapping[str, Any]
RIGHT = ("acc", "exact_match", "em")
"""Measures of a sample that say whether its answer is right, the first that is there."""


def samples(path: Path) -> list[Sample]:
    """The lines of a log. Raises OnsetError, naming the line, for one that is cut short or is no sample."""
    found: list[Sample] = []
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        sample = whole.json_text(line, where=f"{path}, line {number}")
        if not isinstance(sample, dict) or not {"doc_id", "resps"} <= sample.keys():
            raise _unread(path, number, "no doc_id and resps")
        found.append(sample)
    return found


def item_rows(logged: Sequence[Sample], *, run: str, step: int, task: str, digest: str) -> pd.DataFrame:
    """Item rows (``store.tables.ITEMS``) of one task's samples; empty where they hold no scored or free answers.

    With several filters the first one logged is taken. Choices are scored in nats as logged; where the right choice
    cannot be told from ``target`` in agreement with the logged accuracy, there are no rows.
    """
    logged = [sample for sample in logged if sample.get("filter", "none") == logged[0].get("filter", "none")]
    golds = _golds(logged)
    rows: list[dict[str, Any]] = []
    for sample, gold in zip(logged, golds, strict=True):
        item = str(sample["doc_id"])
        rows += [{"item": item, **row} for row in _rows(sample, gold)]
    frame = pd.DataFrame(rows, columns=[name for name in ITEMS.names if name not in ("run", "step", "task", "digest")])
    frame = frame.assign(run=run, step=step, task=task, digest=digest)[ITEMS.names]
    types = {
        "logprob": "float64",
        "logprob_uncond": "float64",
        "bytes": "Int32",
        "tokens": "Int32",
        "correct": "boolean",
    }
    typed: pd.DataFrame = frame.astype({**types, "gold": "bool", "choice": "int32"})
    return typed


def _rows(sample: Sample, gold: int | None) -> list[dict[str, Any]]:
    """The rows of one question: one a choice, or one for a free answer."""
    empty = {"logprob": None, "logprob_uncond": None, "tokens": None, "bytes": None, "text": None, "correct": None}
    if isinstance(_first(sample), str):
        right = _right(sample)
        text = str(_first(sample))
        return [] if right is None else [{**empty, "choice": 0, "gold": True, "text": text, "correct": right >= 0.5}]
    scored, continuations = _scored(sample), _continuations(sample)
    if len(scored) == 1:  # a continuation that is right when it is the likeliest
        right = _right(sample)
        known = {"logprob": scored[0], "bytes": _bytes(continuations, 0)}
        return [{**empty, **known, "choice": 0, "gold": True, "correct": None if right is None else right >= 0.5}]
    if gold is None:
        return []
    count = _choices(sample)
    bare = scored[count:] if len(scored) == 2 * count else [None] * count
    return [
        {
            **empty, "choice": choice, "gold": choice == gold, "logprob": scored[choice],
            "logprob_uncond": bare[choice], "bytes": _bytes(continuations, choice),
        }
        for choice in range(count)
    ]  # fmt: skip


def _golds(logged: Sequence[Sample]) -> list[int | None]:
    """The right choice of each question: its index in ``target``, or the choice whose text ``target`` is.

    The reading is taken that agrees with every logged accuracy; None for all where neither does.
    """
    for reading in (_by_index, _by_text):
        golds = [reading(sample) for sample in logged]
        if all(_agrees(sample, gold) for sample, gold in zip(logged, golds, strict=True)):
            return golds
    return [None] * len(logged)


def _by_index(sample: Sample) -> int | None:
    target = sample.get("target")
    text = str(target).strip()
    return int(text) if text.isdigit() and int(text) < _choices(sample) else None


def _by_text(sample: Sample) -> int | None:
    texts = [text.strip() for text in _continuations(sample)[: _choices(sample)]]
    target = str(sample.get("target")).strip()
    return texts.index(target) if texts.count(target) == 1 else None


def _agrees(sample: Sample, gold: int | None) -> bool:
    """Whether the logged accuracy is that of this right choice (ties are left alone)."""
    if isinstance(_first(sample), str) or len(_scored(sample)) == 1:
        return True
    if gold is None:
        return False
    accuracy, scored = sample.get("acc"), _scored(sample)[: _choices(sample)]
    best = max(scored)
    return accuracy is None or scored.count(best) > 1 or (scored[gold] == best) == (float(accuracy) >= 0.5)


def _choices(sample: Sample) -> int:
    """Number of choices; a log with unconditional scores holds every choice twice."""
    prompts = [part.get("arg_0") for part in _arguments(sample)]
    half = len(prompts) // 2
    twice = len(prompts) > 2 and len(prompts) % 2 == 0 and all(prompt == "" for prompt in prompts[half:])
    return half if twice and any(prompts[:half]) else len(_responses(sample))


def _arguments(sample: Sample) -> list[Mapping[str, Any]]:
    """Prompts and continuations, in order; older logs have pairs in place of named arguments."""
    arguments = sample.get("arguments") or []
    if isinstance(arguments, Mapping):
        return list(arguments.values())
    return [{f"arg_{place}": value for place, value in enumerate(pair)} for pair in arguments]


def _continuations(sample: Sample) -> list[str]:
    return [str(part.get("arg_1", "")) for part in _arguments(sample)]


def _responses(sample: Sample) -> list[Any]:
    """The first of what was given to each request."""
    return [given[0] if isinstance(given, list) and given else given for given in sample["resps"]]


def _first(sample: Sample) -> Any:
    responses = _responses(sample)
    return responses[0] if responses else None


def _scored(sample: Sample) -> list[float]:
    """Log-probabilities; logged as (log-probability, whether it is the likeliest), sometimes as text."""
    return [float(given[0] if isinstance(given, list | tuple) else given) for given in _responses(sample)]


def _right(sample: Sample) -> float | None:
    return next((float(sample[name]) for name in RIGHT if sample.get(name) is not None), None)


def _bytes(continuations: Sequence[str], choice: int) -> int | None:
    return len(continuations[choice].encode()) if choice < len(continuations) else None


def _lines(path: Path) -> Iterator[str]:
    try:
        with open(path, encoding="utf-8") as handle:
            yield from handle
    except (OSError, UnicodeDecodeError) as error:
        raise OnsetError(f"cannot read the log: {error}", where=path) from error


def _unread(path: Path, number: int, reason: str) -> OnsetError:
    return OnsetError(
        f"line {number} is no sample of lm-evaluation-harness: {reason}",
        where=path,
        advice="the log may be cut short: evaluate again with --log_samples, or move it away",
    )
