"""Every checkpoint on every task: item rows and held-out losses, each part written once.

The rows keep what the model said of each choice; every metric is computed from them later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onset.store.rundir import RunDir
from onset.store.tables import ITEMS, LOSSES, write_part
from onset.tasks.task import Item, Request, Task

if TYPE_CHECKING:
    from onset.lm.causal import CausalLM
    from onset.lm.heldout import Unigram
    from onset.lm.scorer import Scored, Scorer

Say = Callable[[str], None]
Texts = Mapping[str, Mapping[str, Sequence[str]]]
"""Validation texts: name to language to documents."""


def write_losses(lm: CausalLM, texts: Texts, rundir: RunDir, step: int, unigram: Unigram | None = None) -> None:
    """Measure a checkpoint's held-out losses and write them as one part.

    ``unigram`` is how frequent tokens are in the training text; without it that column is empty.
    """
    from onset.lm.heldout import losses

    rows: list[dict[str, Any]] = []
    for name, by_language in texts.items():
        rows += [
            {"run": rundir.name, "step": step, "text": name, **row} for row in losses(lm, by_language, unigram=unigram)
        ]
    write_part(rundir.loss(step), rows, LOSSES)


def write_items(scorer: Scorer, task: Task, digest: str, rundir: RunDir, step: int) -> None:
    """Ask a checkpoint one task and write its item rows as one part."""
    rows = item_rows(scorer, task)
    part = [{"run": rundir.name, "step": step, "task": task.name, "digest": digest, **row} for row in rows]
    write_part(rundir.items(step, task.name, digest), part, ITEMS)


def item_rows(scorer: Scorer, task: Task) -> list[dict[str, Any]]:
    """Rows of one task, one a choice; a free answer also has its text and whether it is right."""
    requests = task.requests()
    scored = scorer.score(requests)
    asked = [index for index, request in enumerate(requests) if request.kind == "generate"]
    texts: dict[int, str | None] = {}
    if asked:
        texts = dict(zip(asked, scorer.generate([requests[index] for index in asked]), strict=True))
    items = {item.id: item for item in task.items()} if asked else {}
    return [
        _row(request, score, texts.get(index), task, items)
        for index, (request, score) in enumerate(zip(requests, scored, strict=True))
    ]


def _row(request: Request, score: Scored, text: str | None, task: Task, items: Mapping[str, Item]) -> dict[str, Any]:
    correct = None
    if text is not None and task.judge is not None:
        correct = task.judge(text, items[request.item])
    return {
        "item": request.item,
        "choice": request.choice,
        "gold": request.gold,
        "logprob": score.logprob,
        "logprob_uncond": score.logprob_uncond,
        "tokens": score.tokens,
        "bytes": score.bytes,
        "text": text,
        "correct": correct,
    }


def open_scorer(checkpoint: Path, device: str = "cpu") -> tuple[CausalLM, Scorer]:
    """Load a checkpoint onto a device and make its scorer."""
    from onset.lm.hub import load
    from onset.lm.scorer import Scorer

    lm = load(checkpoint, device=device)
    return lm, Scorer(lm)
