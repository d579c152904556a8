"""Tasks of lm-evaluation-harness, built by its own library: ``harness:NAME``, or ``harness:FOLDER/NAME`` for own YAML.

The library reads the data and makes every prompt; the requests are scored here, with shared prefixes, and kept as item
rows. Tasks of choices and of generated answers can be asked; those that sample, and those of rolling likelihood
(use ``onset loss``), cannot. A prompt that is too long is not cut from the left as the library would, but counted as
missing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Literal

from onset.errors import OnsetError, install
from onset.study.spec import HARNESS
from onset.tasks.sources import choice_item, open_item
from onset.tasks.task import Item, Request, Row, Task

MAX_TOKENS = 256
"""Longest generation where the task states none, as in the library."""
FEWSHOT_SEED = 1234
"""The library's own seed for drawing examples."""
RIGHT = ("exact_match", "acc", "em")
"""Metrics of a generated answer, the first that a task has says whether it is right."""


@dataclass(frozen=True)
class HarnessRows:
    """The questions of one task of the library."""

    reference: str
    task: str

    def __str__(self) -> str:
        return f"{self.reference} ({self.task})"

    def rows(self) -> list[Row]:
        """Rows in the order of the library's documents."""
        return list(_rows(self.reference, self.task))

    def examples(self) -> list[Row]:
        """None: the library puts its examples into the prompts."""
        return []

    def identity(self) -> dict[str, Any]:
        """The library's version of the task; prompts and rows are in the requests."""
        found = _loaded(self.reference)[self.task]
        return {"source": "harness", "task": self.task, "version": str(found.VERSION)}


@dataclass(frozen=True)
class Prebuilt:
    """Requests that the library has made; the number of examples is how many it is to show."""

    reference: str
    task: str
    name: str = "harness"

    def requests(self, item: Item, shots: Sequence[Item], language: str) -> list[Request]:
        """The requests of one item."""
        return list(_requests(self.reference, self.task, len(shots))[item.id])


def is_harness(reference: str) -> bool:
    """Whether a name of a task is one of the library's."""
    return HARNESS.fullmatch(reference) is not None


def harness_tasks(reference: str) -> list[Task]:
    """The tasks that a name of the library means: itself, or the members of a group.

    Raises OnsetError where the library is not installed, does not know the name or cannot load its data.
    """
    return [_task(reference, name) for name in _loaded(reference)]


def _task(reference: str, name: str) -> Task:
    found = _loaded(reference)[name]
    free = found.OUTPUT_TYPE == "generate_until"
    return Task(
        name="harness_" + "".join(mark if mark.isalnum() or mark in "._+-" else "-" for mark in name),
        language=_language(str(_rows(reference, name)[0]["question"])),
        ability="as lm-evaluation-harness asks it",
        source=HarnessRows(reference, name),
        item=open_item if free else choice_item,
        format=Prebuilt(reference, name),
        shots=int(found.config.num_fewshot or 0),
        metric="exact_match" if free else "accuracy",
        judge=partial(_right, reference, name) if free else None,
        pick=_none_of_ours,
        source_note=f"built by lm-evaluation-harness: {name}",
    )


def _none_of_ours(item: Item, pool: Sequence[Item], shots: int) -> list[Item]:
    """Stands for the examples that the library draws: only their number counts."""
    return [item] * shots


@lru_cache(maxsize=64)
def _loaded(reference: str) -> dict[str, Any]:
    """The library's tasks by name, its data read."""
    named = HARNESS.fullmatch(reference)
    assert named is not None, reference
    try:
        from lm_eval.tasks import TaskManager
    except ModuleNotFoundError as error:
        raise OnsetError(
            "tasks of lm-evaluation-harness need the package 'lm_eval'", where=reference, advice=install("harness")
        ) from error
    folder = named["folder"]
    try:
        manager = TaskManager(include_path=folder, include_defaults=folder is None)
        found = manager.load([named["name"]])["tasks"]
    except Exception as error:  # the library, its YAML and its data sets raise anything
        reason = str(error).strip().splitlines()
        raise OnsetError(
            f"lm-evaluation-harness cannot load the task: {reason[0] if reason else type(error).__name__}",
            where=reference,
            advice="check the name, the folder of --include-path, and the network for its data",
        ) from error
    for name, task in found.items():
        sampled = task.OUTPUT_TYPE == "generate_until" and (task.config.generation_kwargs or {}).get("do_sample")
        if task.OUTPUT_TYPE not in ("multiple_choice", "generate_until") or sampled:
            kind = "samples its answers" if sampled else f"is of the kind '{task.OUTPUT_TYPE}'"
            raise OnsetError(f"task '{name}' {kind}", where=reference, advice="choices and greedy answers can be asked")
    return dict(found)


@lru_cache(maxsize=64)
def _instances(reference: str, name: str, shots: int) -> dict[int, list[Any]]:
    """The library's requests of each document."""
    task = _loaded(reference)[name]
    task.set_config(key="num_fewshot", value=shots)
    task.set_fewshot_seed(seed=FEWSHOT_SEED)
    task.build_all_requests(limit=None, rank=0, world_size=1)
    found: dict[int, list[Any]] = {}
    for one in task.instances:
        found.setdefault(int(one.doc_id), []).append(one)
    return {document: sorted(many, key=lambda one: one.idx) for document, many in found.items()}


@lru_cache(maxsize=64)
def _rows(reference: str, name: str) -> tuple[dict[str, Any], ...]:
    task = _loaded(reference)[name]
    made = []
    for document, instances in _instances(reference, name, int(task.config.num_fewshot or 0)).items():
        row: dict[str, Any] = {"id": str(document), "question": instances[0].args[0]}
        if task.OUTPUT_TYPE == "generate_until":
            target = task.doc_to_target(instances[0].doc)
            row["answers"] = [str(one) for one in (target if isinstance(target, list) else [target])]
        else:
            row["choices"] = [str(one) for one in task.doc_to_choice(instances[0].doc)]
            row["answer"] = _gold(task, instances[0].doc, row["choices"])
        made.append(row)
    return tuple(made)


def _gold(task: Any, document: Any, choices: list[str]) -> int | None:
    """Index of the right choice; None where the library has several or none."""
    target = task.doc_to_text(document) if task.multiple_input else task.doc_to_target(document)
    if isinstance(target, str):
        return choices.index(target) if target in choices else None
    return int(target) if isinstance(target, int) and 0 <= target < len(choices) else None


@lru_cache(maxsize=64)
def _requests(reference: str, name: str, shots: int) -> dict[str, tuple[Request, ...]]:
    task = _loaded(reference)[name]
    made: dict[str, tuple[Request, ...]] = {}
    for row in _rows(reference, name):
        instances = _instances(reference, name, shots)[int(row["id"])]
        if "answers" in row:
            made[row["id"]] = (_generation(task, row, instances[0]),)
            continue
        count = len(row["choices"])
        bare = len(instances) == 2 * count  # for acc_mutual_info the library asks each choice after nothing, too
        made[row["id"]] = tuple(
            Request(
                row["id"], place, place == row["answer"], "score", question=one.args[0], continuation=one.args[1],
                uncond="" if bare else None,
            )
            for place, one in enumerate(instances[:count])
        )  # fmt: skip
    return made


def _generation(task: Any, row: dict[str, Any], instance: Any) -> Request:
    prompt, settings = instance.args[0], dict(instance.args[1])
    until = settings.get("until") or []
    return Request(
        row["id"], 0, True, "generate", question=prompt,
        continuation=f"{task.config.target_delimiter}{row['answers'][0]}",
        stop=tuple([until] if isinstance(until, str) else until),
        max_tokens=int(settings.get("max_gen_toks") or MAX_TOKENS),
    )  # fmt: skip


def _right(reference: str, name: str, text: str, item: Item) -> bool:
    """Whether the library's first filter and metric take a generated text for right."""
    task = _loaded(reference)[name]
    (instance, *_) = _instances(reference, name, int(task.config.num_fewshot or 0))[int(item.id)]
    instance.resps, instance.filtered_resps = [text], {}
    first = task._filters[0]
    first.apply([instance])
    found = task.process_results(instance.doc, [instance.filtered_resps[first.name]])
    metric = next((one for one in RIGHT if one in found), None)
    if metric is None or found[metric] not in (0, 1):
        raise OnsetError(
            f"no metric of task '{name}' says whether an answer is right or wrong",
            where=reference,
            advice=f"it gives {json.dumps(found, default=str)[:200]}",
        )
    return bool(found[metric])


def _language(text: str) -> Literal["en", "zh"]:
    """Chinese where a prompt has more Chinese characters than Latin letters."""
    chinese = sum("一" <= mark <= "鿿" for mark in text)
    return "zh" if chinese > sum(mark.isascii() and mark.isalpha() for mark in text) else "en"
