"""Tasks of one's own: in by naming a file, and a mistake in it is one message that names the key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onset.errors import OnsetError
from onset.tasks.catalogue import find
from onset.tasks.task import Task

EXAMPLES = Path(__file__).parents[2] / "examples" / "own_task"
ROWS = [
    {"q": "2 + 2?", "options": ["3", "4"], "gold": 2, "extra": {"topic": "sums"}},
    {"q": "3 + 3?", "options": ["6", "5"], "gold": 1, "extra": {"topic": "sums"}},
]
FIELDS = '[fields]\nquestion = "q"\nchoices = "options"\nanswer = "gold"\nsubject = "extra.topic"\n'


def lines(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def defined(folder: Path, head: str, rows: list[dict[str, object]] = ROWS) -> Task:
    lines(folder / "rows.jsonl", rows)
    (folder / "sums.toml").write_text(f'rows = "rows.jsonl"\n{head}{FIELDS}')
    (task,) = find([str(folder / "sums.toml")])
    return task


def test_a_toml_file_is_a_task(tmp_path: Path) -> None:
    """Lost otherwise: whoever has rows in a shape of their own edits the package."""
    task = defined(tmp_path, 'answer_is = "index1"\n')
    assert task.name == "sums"
    first, second = task.items()
    assert (first.id, first.question, first.choices, first.gold, first.subject) == (
        "1",
        "2 + 2?",
        ("3", "4"),
        1,
        "sums",
    )
    assert second.gold == 0
    assert [one.prompt for one in task.requests()][:2] == ["Question: 2 + 2?\nAnswer:"] * 2
    assert [one.continuation for one in task.requests() if one.gold] == [" 4", " 6"]


def test_the_examples_of_the_repository_are_tasks() -> None:
    """Lost otherwise: the first file that a newcomer copies does not work."""
    capitals, opposites = find([str(EXAMPLES / "capitals.toml"), str(EXAMPLES / "opposites.py")])
    assert len(capitals.items()) == 6
    asked = capitals.requests()[0]
    assert asked.prompt == (
        "Question: What is the capital of France?\nAnswer: Paris\n\n"
        "Question: What is the capital of Japan?\nAnswer: Tokyo\n\n"
        "Question: What is the capital of Italy?\nAnswer:"
    )
    assert not capitals.faults()
    assert opposites.open
    assert opposites.judge is not None
    assert opposites.judge("Slow, of course", opposites.items()[0])


def test_rows_with_a_head_and_rows_in_the_documented_form_are_tasks(tmp_path: Path) -> None:
    """Lost otherwise: a file of rows needs a second file to say what it is."""
    head = {"task": {"name": "yes_no", "format": "letters", "fields": {"choices": ["a", "b"]}}}
    row = {"question": "Is it?", "a": "yes", "b": "no", "answer": 0}
    (task,) = find([str(lines(tmp_path / "x.jsonl", [head, row]))])
    assert (task.name, task.format.name, len(task.items())) == ("yes_no", "letters", 1)
    plain = {"question": "Is it?", "choices": ["yes", "no"], "answer": 1}
    (task,) = find([str(lines(tmp_path / "plain.jsonl", [plain]))])
    assert (task.name, task.items()[0].gold, task.items()[0].id) == ("plain", 1, "1")
    with pytest.raises(OnsetError, match="no head says what their fields are"):
        find([str(lines(tmp_path / "odd.jsonl", [{"a": 1}]))])


def test_a_file_of_rows_in_the_data_folder_is_a_task(tmp_path: Path) -> None:
    """Lost otherwise: '--data rows/ --tasks repeat' refuses rows/repeat.eval.jsonl."""
    lines(tmp_path / "repeat.eval.jsonl", [{"question": "again", "answers": ["again"]}])
    lines(tmp_path / "repeat.fewshot.jsonl", [{"id": "s", "question": "once", "answers": ["once"]}])
    (task,) = find(["repeat"], tmp_path)
    assert (task.name, task.open, task.metric) == ("repeat", True, "exact_match")
    assert "once" in task.with_use(shots=1).requests()[0].prompt


def test_the_digest_is_of_rows_prompts_and_judge_not_of_the_folder(tmp_path: Path) -> None:
    """Lost otherwise: scores of two versions of a task are pooled, or a moved file is scored again."""
    folders = [tmp_path / name for name in "abcd"]
    for folder in folders:
        folder.mkdir()
    same, moved = defined(folders[0], ""), defined(folders[1], "")
    other = defined(folders[2], "", [*ROWS[:1], {**ROWS[1], "q": "three and three?"}])
    reformatted = defined(folders[3], 'format = "letters"\n')
    assert same.digest() == moved.digest()
    assert len({same.digest(), other.digest(), reformatted.digest()}) == 3

    judges = []
    for number, folder in enumerate(folders[:2]):
        (folder / "judge.py").write_text(f"def right(text, item):\n    return len(text) > {number}\n")
        lines(folder / "free.jsonl", [{"question": "?", "answers": "a"}])
        (folder / "free.toml").write_text('rows = "free.jsonl"\nformat = "open"\njudge = "judge.py:right"\n')
        (task,) = find([str(folder / "free.toml")])
        judges.append(task)
    assert judges[0].digest() != judges[1].digest()
    assert [task.judge("a", task.items()[0]) for task in judges if task.judge] == [True, False]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('rows = "r.jsonl"\nshot = 2\n', "unknown key 'shot'"),
        ('rows = "r.jsonl"\nshots = "two"\n', "shots: "),
        ('rows = "r.jsonl"\nformat = "close"\n', "there is no format 'close'"),
        ('rows = "r.jsonl"\nformat = {name = "cloze", unconditional = true}\n', "has no setting 'unconditional'"),
        ('rows = "r.jsonl"\njudge = "number"\n', "a judge is for free answers"),
        ('rows = "r.jsonl"\nformat = "open"\njudge = "exact"\n', "there is no judge 'exact'"),
        ("shots = 0\n", "the task names no rows"),
        ("rows = \n", "not valid TOML"),
        ('rows = "r.jsonl"\n[fields]\nquestoin = "q"\n', "unknown key 'fields.questoin'"),
    ],
)
def test_a_mistake_in_a_definition_is_named(text: str, what: str, tmp_path: Path) -> None:
    """Lost otherwise: a misspelled key is ignored, and the task asked is not the one that was meant."""
    (tmp_path / "t.toml").write_text(text)
    with pytest.raises(OnsetError, match=what) as caught:
        find([str(tmp_path / "t.toml")])
    assert caught.value.where is not None


def test_python_files_that_fail_are_told_with_their_name(tmp_path: Path) -> None:
    """Lost otherwise: a traceback through the package for a slip in one's own file."""
    (tmp_path / "bad.py").write_text("1 / 0\n")
    (tmp_path / "other.py").write_text("task = 3\n")
    for name, what in (("bad.py", "ZeroDivisionError"), ("other.py", "this is no task"), ("no.py", "cannot read")):
        with pytest.raises(OnsetError, match=what):
            find([str(tmp_path / name)])
    with pytest.raises(OnsetError, match="has no 'tsk'") as caught:
        find([str(tmp_path / "other.py:tsk")])
    assert "did you mean 'task'" in str(caught.value)


def test_a_name_of_the_catalogue_is_not_taken(tmp_path: Path) -> None:
    """Lost otherwise: rows of another exam are stored as MMLU."""
    path = lines(tmp_path / "mmlu.jsonl", [{"question": "?", "choices": ["a", "b"], "answer": 0}])
    with pytest.raises(OnsetError, match="the catalogue has a task 'mmlu'"):
        find([str(path)])
