"""The catalogue: every task by name, and exactly what a model is asked. Building it reads no rows."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from onset.errors import OnsetError, did_you_mean
from onset.store.parts import whole_file
from onset.study.spec import WorldSpec
from onset.tasks.chinese import chinese
from onset.tasks.english import english
from onset.tasks.generated import generated
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
    return {**made, **world_tasks(world or WorldSpec())}


def find(names: Iterable[str], data: Path | None = None, world: WorldSpec | None = None) -> list[Task]:
    """The tasks of these names, in their order; ``paper`` stands for the paper's twelve.

    Raises OnsetError for a name that is not in the catalogue, with the nearest ones.
    """
    known = catalogue(data, world)
    wanted = [one for name in names for one in (PAPER if name == "paper" else (name,))]
    for name in wanted:
        if name not in known:
            raise OnsetError(f"no task is called '{name}'", advice=did_you_mean(name, [*known, "paper"]))
    return [known[name] for name in dict.fromkeys(wanted)]


def listing(data: Path | None = None, world: WorldSpec | None = None) -> pd.DataFrame:
    """The catalogue as a frame: ``task, language, ability, format, shots, metric, chance, licence, note``.

    ``chance`` is the nominal one of the headline metric; the exact one follows from the rows.
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
            for task in catalogue(data, world).values()
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
