"""Every checkpoint on every task: item rows and held-out losses, each part written once.

The rows keep what the model said of each choice; every metric is computed from them later. A task of some length is
asked in chunks, each written as it is done: a process that is killed costs the chunk in hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onset.store.parts import DOCUMENTS, ITEMS, LOSSES, read_about, write_part
from onset.store.rundir import RunDir
from onset.tasks.task import Item, Request, Task
from onset.work.chunks import chunk_file, chunks, join, told_of

if TYPE_CHECKING:
    from onset.score.answers import Scored
    from onset.score.causal import CausalLM
    from onset.score.heldout import Unigram
    from onset.score.scorer import Scorer
    from onset.score.server import ServedModel, ServerScorer

Texts = Mapping[str, Mapping[str, Sequence[str]]]
"""Validation texts: name to language to documents."""
Kept = tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]
"""Rows of the losses and of the documents table."""
Say = Callable[[int, int], None]
"""Told before each chunk: its number, from 1, and how many there are."""


def write_losses(
    lm: CausalLM | ServedModel,
    texts: Texts,
    rundir: RunDir,
    step: int,
    unigram: Unigram | None = None,
    *,
    about: Mapping[str, Any] | None = None,
    columns: Mapping[tuple[str, str], Mapping[str, Any]] | None = None,
    kept: Kept = ((), ()),
    **settings: Any,
) -> None:
    """Measure a checkpoint's held-out losses and write them as one part, and as another document by document.

    ``unigram`` is how frequent tokens are in the training text or a reference; without it that column is empty.
    ``columns`` adds values to the rows of a (text, language); ``kept`` are rows of other texts that the parts go on
    holding; ``settings`` are those of ``heldout.measure``, and ``begin`` of ``server_loss.measure``.
    """
    from onset.score import server_loss
    from onset.score.server import ServedModel

    rows, documents = ([dict(row) for row in part] for part in kept)
    for name, by_language in texts.items():
        if isinstance(lm, ServedModel):
            found = server_loss.measure(lm, by_language, begin=settings.get("begin"))
        else:
            from onset.score import heldout  # a served model is measured where torch is not installed

            whole = {setting: value for setting, value in settings.items() if setting != "begin"}
            found = heldout.measure(lm, by_language, unigram=unigram, **whole)
        key = {"run": rundir.name, "step": step, "text": name}
        rows += [{**key, **row, **(columns or {}).get((name, row["language"]), {})} for row in found.rows]
        documents += [{**key, **row} for row in found.documents]
    write_part(rundir.documents(step), documents, DOCUMENTS)
    write_part(rundir.loss(step), rows, LOSSES, about)


def write_items(
    scorer: Scorer | ServerScorer, task: Task, digest: str, rundir: RunDir, step: int, say: Say | None = None
) -> None:
    """Ask a checkpoint one task, chunk by chunk, and write its item rows as one part.

    Chunks that an earlier process finished are taken as they are.
    """
    count = len(chunks(task))
    for number in range(count):
        if say is not None:
            say(number + 1, count)
        write_chunk(scorer, task, digest, rundir, step, number)
    join(task, digest, rundir, step)


def write_chunk(scorer: Scorer | ServerScorer, task: Task, digest: str, rundir: RunDir, step: int, number: int) -> None:
    """Ask one chunk of a task, unless its rows are there; the only chunk of a task is its part at once."""
    plan = chunks(task)
    about: dict[str, Any] = {**told_of(task), "dtype": str(scorer.lm.dtype).removeprefix("torch.")}
    file, of_chunk = rundir.items(step, task.name, digest), about
    if len(plan) > 1:
        file = chunk_file(rundir, step, task.name, digest, number)
        of_chunk = {**about, "digest": digest, "chunk": number, "chunks": len(plan)}
        if file.exists() and read_about(file) == of_chunk:
            return
    requests = task.requests()
    rows = item_rows(scorer, task, [requests[index] for index in plan[number]])
    part = [{"run": rundir.name, "step": step, "task": task.name, "digest": digest, **row} for row in rows]
    write_part(file, part, ITEMS, of_chunk)


def item_rows(
    scorer: Scorer | ServerScorer, task: Task, requests: Sequence[Request] | None = None
) -> list[dict[str, Any]]:
    """Rows of a task or of some of its requests, one a choice.

    A free answer has its text and whether it is right, and so have its samples where the task is sampled.
    """
    requests = task.requests() if requests is None else requests
    scored = scorer.score(requests)
    asked = [index for index, request in enumerate(requests) if request.kind == "generate"]
    answers = dict(zip(asked, scorer.answers([requests[index] for index in asked]), strict=True)) if asked else {}
    drawn = [index for index in asked if requests[index].sampling is not None]
    samples = dict(zip(drawn, scorer.samples([requests[index] for index in drawn]), strict=True)) if drawn else {}
    items = {item.id: item for item in task.items()} if asked else {}
    clusters = task.clusters()
    made = []
    for index, (request, score) in enumerate(zip(requests, scored, strict=True)):
        row = {**_row(request, score), "cluster": clusters.get(request.item)}
        if (answer := answers.get(index)) is not None:
            row["text"] = answer.text
            row["correct"] = _judged(task, answer.text, items[request.item])
            row["cut_shots"] = max(score.cut_shots, answer.cut_shots)
            row["missing"] = score.missing or ("no room" if answer.text is None else None)
        if (texts := samples.get(index)) is not None:
            row["samples"] = texts
            row["samples_correct"] = [_judged(task, text, items[request.item]) for text in texts]
        made.append(row)
    return made


def _judged(task: Task, text: str | None, item: Item) -> bool | None:
    return None if text is None or task.judge is None else task.judge(text, item)


def _row(request: Request, score: Scored) -> dict[str, Any]:
    return {
        "item": request.item,
        "choice": request.choice,
        "gold": request.gold,
        "logprob": score.logprob,
        "logprob_uncond": score.logprob_uncond,
        "tokens": score.tokens,
        "bytes": score.bytes,
        "cut_shots": score.cut_shots,
        "missing": score.missing,
    }


def open_scorer(
    checkpoint: Path, devices: tuple[str, ...] = ("cpu",), dtype: str = "float32"
) -> tuple[CausalLM, Scorer]:
    """Load a checkpoint onto a device, or spread over several, and make its scorer."""
    from onset.score.huggingface import load
    from onset.score.scorer import Scorer

    lm = load(checkpoint, device=devices, dtype=dtype)  # type: ignore[arg-type]
    return lm, Scorer(lm)
