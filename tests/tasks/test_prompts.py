"""Prompts, to the letter: a changed word, space or newline changes scores without a word of warning.

The golden files are reviewed text; their rows are in ``golden/rows``, written for these tests. After a change that is
meant, delete a file and run the tests: it is written anew and the run fails once, so that it gets read.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onset.tasks.chinese import chinese
from onset.tasks.english import english
from onset.tasks.generated import generated
from onset.tasks.task import Task

GOLDEN = Path(__file__).parent / "golden"
TASKS = {task.name: task for task in (*english(GOLDEN / "rows"), *chinese(GOLDEN / "rows"), *generated())}


def shown(task: Task) -> str:
    """All that is asked about the first item, as a page to read; JSON strings where spaces matter."""
    item = task.items()[0]
    requests = [request for request in task.requests() if request.item == item.id]
    parts = [f"task {task.name}, {task.language}, {task.format.name}, {task.shots} shots\n"]
    last = None
    for request in requests:
        if request.prompt != last:
            parts.append(f"--- prompt\n{request.prompt}|<- ends here\n")
            last = request.prompt
        mark = " (right)" if request.gold and request.kind == "score" else ""
        name = "reference" if request.kind == "generate" else f"choice {request.choice}"
        parts.append(f"--- {name}{mark}: {json.dumps(request.continuation, ensure_ascii=False)}\n")
    if requests[0].uncond is not None:
        parts.append(f"--- bare prompt: {json.dumps(requests[0].uncond, ensure_ascii=False)}\n")
    if requests[0].kind == "generate":
        stop = json.dumps(requests[0].stop, ensure_ascii=False)
        parts.append(f"--- generate up to {requests[0].max_tokens} tokens, stop at {stop}\n")
    return "".join(parts)


@pytest.mark.parametrize("name", sorted(TASKS))
def test_a_prompt_is_the_reviewed_one(name: str) -> None:
    """A user's scores would no longer compare with earlier ones or with the field's."""
    task = TASKS[name]
    found = shown(task.with_use(shots=min(task.shots, 2)))
    file = GOLDEN / f"{name}.txt"
    if not file.exists():
        file.write_text(found, encoding="utf-8")
        pytest.fail(f"{file.name} was missing and is written: read it, then run again")
    assert found == file.read_text(encoding="utf-8")


def test_every_golden_file_belongs_to_a_task() -> None:
    """A task that is renamed would leave a file that guards nothing."""
    assert {file.stem for file in GOLDEN.glob("*.txt")} == set(TASKS)
