"""The texts of a study's questions, for the map of questions on its page."""

from __future__ import annotations

from pathlib import Path

from onset.errors import OnsetError
from onset.results import Questions
from onset.study.files import written
from onset.tasks.task import Request, Task
from onset.work.ledger import study_tasks

LONGEST = 140
"""Characters of a question that are kept: its beginning and its end."""
ANSWER = 40


def with_texts(found: Questions, folder: Path) -> Questions:
    """The questions with a column ``text`` in ``items``: what was asked, and the right answer.

    Unchanged where the folder has no study, or where the study's task files lie elsewhere now.
    """
    specification = folder / "study.toml"
    if found.items is None or not specification.is_file():
        return found
    try:
        tasks = study_tasks(written(specification))
    except OnsetError:
        return found
    texts = {(name, item): text for name, task in tasks.items() for item, text in _of_task(task).items()}
    # A task that was asked in two forms has its digest behind its name.
    names = found.items["task"].astype(str).str.partition("@")[0]
    keys = zip(names, found.items["item"].astype(str), strict=True)
    return found.with_changes(items=found.items.assign(text=[texts.get(key, "") for key in keys]))


def _of_task(task: Task) -> dict[str, str]:
    """The text of each question by its item, from the request whose continuation is right."""
    return {request.item: shown(request) for request in task.requests() if request.gold}


def shown(request: Request) -> str:
    """A question in one line without its examples, and its right answer."""
    return f"{_short(request.question, LONGEST)} → {_short(request.continuation, ANSWER)}"


def _short(text: str, longest: int) -> str:
    """A text in one line, its middle left out where it is long."""
    line = " ".join(text.split())
    if len(line) <= longest:
        return line
    half = (longest - 3) // 2
    return f"{line[:half]} … {line[-half:]}"
