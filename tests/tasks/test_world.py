"""The world's tasks: new questions, prompts like the training text, prompt types of the paper."""

from __future__ import annotations

import math
import re
from collections import Counter

import pytest

from onset.study.spec import WorldSpec
from onset.tasks.task import Task
from onset.tasks.world import world_tasks
from onset.world import build

SPEC = WorldSpec(documents=6_000)
TASKS = world_tasks(SPEC)


@pytest.fixture(scope="module")
def text() -> str:
    world = build(SPEC)
    return "".join(document.text for language in ("en", "zh") for document in world.documents(language, "train"))


@pytest.mark.slow
def test_no_item_is_in_the_default_training_text() -> None:
    """The same promise for the whole corpus of the default world, the sums included."""
    spec = WorldSpec()
    world = build(spec)
    for language in ("en", "zh"):
        text = "".join(document.text for document in world.documents(language, "train"))
        for task in world_tasks(spec).values():
            if task.language == language:
                assert [question for question in told(task) if question in text] == [], task.name
        sums = {item.rationale for item in world_tasks(spec)[f"world_arithmetic_{language}"].items()}
        assert sums.isdisjoint(re.findall(r"\d+[+-]\d+=\d+", text))


def told(task: Task) -> list[str]:
    """Every question with every one of its answers, without examples."""
    return [request.question + request.continuation for request in task.requests()]


def test_there_are_twelve_tasks_with_the_papers_prompt_types() -> None:
    """The demo's twelve panels are the paper's, in small."""
    assert len(TASKS) == 12
    for name, task in TASKS.items():
        _, ability, language = name.split("_")
        assert task.language == language
        kinds = {request.kind for request in task.requests()}
        assert kinds == ({"generate"} if ability in ("facts", "arithmetic") else {"score"})
        assert bool(task.shots) == (ability not in ("scripts", "coreference"))
        assert task.metric == ("exact_match" if task.open else "accuracy")
    letters = {request.continuation.strip() for request in TASKS["world_exam_en"].requests()}
    assert letters == set("ABCD")


@pytest.mark.parametrize("name", TASKS)
def test_no_item_is_in_the_training_text(name: str, text: str) -> None:
    """An item that was read in training measures memory; its wrong answers are never told either way."""
    questions = told(TASKS[name])
    assert len(questions) >= 80
    assert [question for question in questions if question in text] == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_operands_of_word_problems_are_held_out_in_both_languages(language: str, text: str) -> None:
    """A sum that was read in training, in either language, would be remembered and not worked out."""
    worked = set(re.findall(r"\d+[+-]\d+=\d+", text))
    asked = [item.rationale for item in TASKS[f"world_arithmetic_{language}"].items()]
    assert len(worked) > 500
    assert worked.isdisjoint(asked)
    assert len(set(asked)) == len(asked)


@pytest.mark.parametrize("name", TASKS)
def test_prompts_read_like_the_training_text(name: str, text: str) -> None:
    """A prompt in another form than the text's would measure the form: its examples must be lines of the text."""
    task = TASKS[name]
    kind = next(k for k in build(SPEC).kinds[task.language].values() if getattr(k, "task", "") in name.split("_"))
    lines = {kind.line(number) for number in range(kind.size)} if kind.size < 10_000 else None
    request = task.requests()[0]
    assert len(request.shots) == task.shots
    opening = request.question.split("：")[0].split(":")[0]
    assert text.startswith(opening) or f"\n{opening}" in text
    assert all(shot.endswith("\n") and (lines is None or shot in lines) for shot in request.shots)


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if not task.open])
def test_gold_answers_are_balanced_and_choices_differ(name: str) -> None:
    """A place that is right more often than chance would let a guesser pass for able."""
    items = TASKS[name].items()
    assert all(len(set(item.choices)) == len(item.choices) for item in items)
    places = Counter(item.gold for item in items)
    for place in range(max(len(item.choices) for item in items)):
        expected = sum(1 / len(item.choices) for item in items if place < len(item.choices))
        assert abs(places[place] - expected) < 4 * math.sqrt(expected)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_answers_are_judged_as_a_reader_would(language: str) -> None:
    """A right answer with a space or stop too many is right; half a working is not."""
    facts, sums = TASKS[f"world_facts_{language}"], TASKS[f"world_arithmetic_{language}"]
    fact, story = facts.items()[0], sums.items()[0]
    assert facts.judge is not None
    assert sums.judge is not None
    assert facts.judge(f" {fact.answers[0]}.", fact)
    assert not facts.judge("", fact)
    assert not facts.judge(fact.answers[0] + fact.answers[0], fact)
    reference = sums.requests()[0].continuation
    assert sums.judge(reference, story)
    assert not sums.judge(story.rationale, story)
    assert not sums.judge(reference + "0", story)


def test_digest_follows_the_world() -> None:
    """Rows of another world must not pass for this one's."""
    other = world_tasks(SPEC.model_copy(update={"seed": 5}))
    assert TASKS["world_exam_en"].digest() == world_tasks(SPEC)["world_exam_en"].digest()
    assert TASKS["world_exam_en"].digest() != other["world_exam_en"].digest()


def test_wrong_choices_of_a_script_are_never_what_follows() -> None:
    """A distractor that also follows would make a right answer wrong."""
    for language in ("en", "zh"):
        scripts = dict(enumerate(build(SPEC).kinds[language]["scripts"].words.scripts))
        for item in TASKS[f"world_scripts_{language}"].items():
            right = item.choices[item.gold or 0]
            [events] = [told for _, told in scripts.values() if right in told]
            assert item.context.count(events[0]) == 1
            assert right not in item.context
