"""The embedded world's twelve tasks: six abilities in English and in Chinese, asked as the paper asks its own.

Prompts are told in the world's own layouts (``onset.world.words``), so that a few-shot prompt reads like the
training text; its questions are held out of that text. The prompt types are the paper's: facts few-shot and open,
scripts and coreference zero-shot with choices, reading few-shot with choices, the exam few-shot with letters,
arithmetic few-shot with a worked answer.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from onset import world
from onset.study.spec import Language, WorldSpec
from onset.tasks.task import Item, Request, Row, Task
from onset.world.words import LETTERS, WORDS, Layout

LANGUAGES: tuple[Language, ...] = ("en", "zh")
ABILITIES: dict[str, str] = {
    "facts": "closed-book question answering",
    "scripts": "commonsense inference",
    "reading": "reading comprehension",
    "coreference": "coreference",
    "exam": "examination",
    "arithmetic": "mathematical word problems",
}
SHOTS = {"facts": 3, "scripts": 0, "reading": 2, "coreference": 0, "exam": 3, "arithmetic": 1}
"""As many as a document of that kind has before its last question, so that prompts fit 128 tokens."""
MAX_TOKENS = {"facts": 8, "arithmetic": 24}


@dataclass(frozen=True)
class Rows:
    """Questions of one world, task and language."""

    spec: WorldSpec
    task: str
    language: str

    def rows(self) -> list[Row]:
        """Questions held out of the training text."""
        return list(world.build(self.spec).questions(self.task, self.language))

    def examples(self) -> list[Row]:
        """Lines that the training text may hold."""
        return list(world.build(self.spec).examples(self.task, self.language))

    def identity(self) -> dict[str, Any]:
        """The world's specification and which of its tasks."""
        return {"world": self.spec.model_dump(mode="json"), "task": self.task, "language": self.language}


@dataclass(frozen=True)
class Told:
    """A question in a layout of the world: choices scored one by one, or a free answer."""

    layout: Layout
    name: str = "world"
    lettered: tuple[str, str] | None = None
    """Mark of one option and what joins them, where options are listed and letters are the answers."""
    max_tokens: int = 0
    """Longest free answer; 0 where choices are scored."""
    stop: tuple[str, ...] = ("\n",)

    def requests(self, item: Item, shots: Sequence[Item], language: str) -> list[Request]:
        """One request a choice, or the one of a free answer."""
        told = tuple(self._shot(shot) for shot in shots)
        prompt = self._prompt(item)
        if not item.choices:
            return [
                Request(
                    item=item.id, choice=0, gold=True, kind="generate", question=prompt,
                    continuation=self._reference(item), shots=told, stop=self.stop, max_tokens=self.max_tokens,
                )
            ]  # fmt: skip
        return [
            Request(
                item=item.id, choice=choice, gold=choice == item.gold, kind="score", question=prompt,
                continuation=self.layout.answer.format(answer=answer), shots=told,
            )
            for choice, answer in enumerate(LETTERS[: len(item.choices)] if self.lettered else item.choices)
        ]  # fmt: skip

    def _shot(self, item: Item) -> str:
        """An example, told to the end of its line."""
        return self._prompt(item) + self._reference(item) + self.layout.end.format(rationale=item.rationale)

    def _prompt(self, item: Item) -> str:
        options = ""
        if self.lettered:
            mark, joint = self.lettered
            options = joint.join(
                mark.format(letter=letter, option=choice) for letter, choice in zip(LETTERS, item.choices, strict=True)
            )
        return self.layout.prompt.format(context=item.context, question=item.question, options=options)

    def _reference(self, item: Item) -> str:
        """The right answer as the layout tells it."""
        if item.gold is None:
            return self.layout.answer.format(answer=item.answers[0], rationale=item.rationale)
        return self.layout.answer.format(answer=LETTERS[item.gold] if self.lettered else item.choices[item.gold])


def world_tasks(spec: WorldSpec) -> dict[str, Task]:
    """The world's tasks by name, ``world_<ability>_<language>``."""
    return {
        task.name: task for task in (_task(spec, ability, language) for ability in ABILITIES for language in LANGUAGES)
    }


def _task(spec: WorldSpec, ability: str, language: Language) -> Task:
    words = WORDS[language]
    free = ability in MAX_TOKENS
    return Task(
        name=f"world_{ability}_{language}",
        language=language,
        ability=ABILITIES[ability],
        source=Rows(spec, ability, language),
        item=_item,
        format=Told(
            words.layouts[ability],
            lettered=(words.option_mark, words.option_joint) if ability == "exam" else None,
            max_tokens=MAX_TOKENS.get(ability, 0),
        ),
        shots=SHOTS[ability],
        metric="exact_match" if free else "accuracy",
        judge={"facts": _same_words, "arithmetic": _same_number}.get(ability),
        source_note="the embedded world; no question stands in its training text",
    )


def _item(row: Row) -> Item:
    return Item(
        id=row["id"],
        question=row.get("question", ""),
        choices=tuple(row.get("choices", ())),
        gold=row.get("gold"),
        answers=tuple(row.get("answers", ())),
        context=row.get("context", ""),
        rationale=row.get("rationale", ""),
        kind=row.get("kind", ""),
    )


def _same_words(text: str, item: Item) -> bool:
    """Whether the answer is the reference but for spaces, case and a final stop."""
    said = unicodedata.normalize("NFKC", text).strip().rstrip(".。").strip().casefold()
    return said in {answer.casefold() for answer in item.answers}


def _same_number(text: str, item: Item) -> bool:
    """Whether the last number of a finished working is the reference: a sum without an answer after it is not one."""
    numbers = re.findall(r"\d+", text)
    return len(numbers) == 4 and numbers[-1] == item.answers[0]
