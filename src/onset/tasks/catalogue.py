"""The catalogue: every task by name, and exactly what a model is asked. Building it reads no rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from onset.errors import OnsetError, did_you_mean
from onset.store.parts import whole_file
from onset.study.spec import WorldSpec
from onset.tasks.chinese import chinese
from onset.tasks.english import english
from onset.tasks.generated import generated
from onset.tasks.harness import harness_tasks, is_harness
from onset.tasks.own import folder_task, is_own, packaged, tasks_of
from onset.tasks.task import Task

PAPER = (
    "triviaqa", "hellaswag", "race", "winogrande", "mmlu", "gsm8k",
    "nlpcc_kbqa", "clozet", "c3", "cluewsc", "ceval", "gsm8k_zh",
)  # fmt: skip
"""The paper's twelve tasks."""


def catalogue(data: Path | None = None, world: WorldSpec | None = None) -> dict[str, Task]:
    """All tasks by name: the paper's and their other formats, generated ones, and the embedded world's.

    ``data`` is a folder of local task files (``<task>.eval.jsonl.gz``, ``<task>.fewshot.jsonl.gz``); without it, data
    sets come from the hub at pinned revisions. ``world`` is the specification of the world that a model was trained
    on; by default the usual one.
    """
    from onset.tasks.world import world_tasks

    if data is not None and not Path(data).is_dir():
        raise OnsetError("there is no such folder of task files", where=data, advice="name a folder with --data")
    folder = None if data is None else Path(data)
    made = {task.name: task for task in (*english(folder), *chinese(folder), *generated())}
    return {**{task.name: task for task in packaged()}, **made, **world_tasks(world or WorldSpec())}


def find(names: Iterable[str], data: Path | None = None, world: WorldSpec | None = None) -> list[Task]:
    """The tasks of these names, in their order.

    A name is one of the catalogue, ``paper`` for the paper's twelve, a file of one's own (``my_task.toml``,
    ``rows.jsonl``, ``my_task.py:task``), ``harness:NAME`` of lm-evaluation-harness, or the name of a file
    ``<name>.eval.jsonl[.gz]`` in ``data``. Raises OnsetError for a name that is none of these, with the nearest ones,
    and for a task of one's own that bears another's name.
    """
    known = catalogue(data, world)
    found: dict[str, Task] = {}
    for name in dict.fromkeys(names):
        for task in _named(name, known, data):
            if found.setdefault(task.name, task).source != task.source:
                raise OnsetError(f"two tasks are called '{task.name}'", where=name, advice="give one another name")
    return list(found.values())


def _named(name: str, known: Mapping[str, Task], data: Path | None) -> list[Task]:
    """The tasks that one name stands for."""
    if name == "paper":
        return [known[one] for one in PAPER]
    if is_harness(name):
        return harness_tasks(name)
    if is_own(name):
        own = tasks_of(name)
        if taken := [task.name for task in own if task.name in known]:
            raise OnsetError(f"the catalogue has a task '{taken[0]}'", where=name, advice="give yours another name")
        return own
    if name in known:
        return [known[name]]
    if data is not None and (local := folder_task(name, Path(data))) is not None:
        return [local]
    raise OnsetError(
        f"no task is called '{name}'",
        advice=f"{did_you_mean(name, [*known, 'paper'])}; a task of your own is a file: my_task.toml, rows.jsonl or "
        "my_task.py:task",
    )


def listing(
    data: Path | None = None, world: WorldSpec | None = None, tasks: Iterable[Task] | None = None
) -> pd.DataFrame:
    """The catalogue, or the given tasks, as a frame.

    Columns: ``task, language, ability, format, shots, metric, chance, licence, note``. ``chance`` is the nominal one
    of the headline metric; the exact one follows from the rows.
    """
    return pd.DataFrame(
        [
            {
                "task": task.name,
                "language": task.language,
                "ability": task.ability,
                "format": task.format.name,
                "shots": task.shots,
                "metric": task.metric,
                "chance": task.chance,
                "licence": task.licence,
                "note": task.source_note,
            }
            for task in (catalogue(data, world).values() if tasks is None else tasks)
        ]
    )


def write_requests(task: Task, file: Path) -> int:
    """Write all that a model is asked, one JSON object a line: ``item, choice, gold, prompt, continuation``.

    For free answers the continuation is the reference. Returns the number of lines; the file is complete or not there.
    """
    count = 0
    with whole_file(Path(file)) as beside, beside.open("w", encoding="utf-8") as out:
        for request in task.requests():
            line = {
                "item": request.item,
                "choice": request.choice,
                "gold": request.gold,
                "prompt": request.prompt,
                "continuation": request.continuation,
            }
            out.write(json.dumps(line, ensure_ascii=False) + "\n")
            count += 1
    return count
