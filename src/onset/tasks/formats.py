"""Formats: how an item becomes what a model is asked; one table of words per language.

A format is a frozen dataclass: its fields and the table are all that shapes a prompt. English continuations begin
with the space that a reader would type, Chinese ones do not. To add a format, write a frozen dataclass with a
``name`` and ``requests``; to add a language, add its ``Words``.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol

from onset.errors import OnsetError, did_you_mean
from onset.tasks.task import Item, Request


@dataclass(frozen=True, slots=True)
class Words:
    """The words that prompts of one language are made of."""

    passage: str
    """Before a passage."""
    question: str
    """Before a question."""
    answer: str
    """Cue for an answer, without the gap."""
    gap: str
    """Between a cue or a sentence and what follows it."""
    closing: str
    """Says the result of a worked answer; ``{}`` is the result."""
    list_mark: str = ". "
    """Between a letter and its choice."""


WORDS: dict[str, Words] = {
    "en": Words("Article: ", "Question: ", "Answer:", " ", "The answer is {}."),
    "zh": Words("文章：", "问题：", "答案：", "", "答案是{}。"),
}
"""The words of each language."""

LETTERS = string.ascii_uppercase
SHOT_END = "\n\n"
"""Ends every example, and nothing inside one."""


def words(language: str) -> Words:
    """The words of a language; OnsetError for one that is not in the table."""
    if language not in WORDS:
        raise OnsetError(f"no prompt words for the language '{language}'", advice=did_you_mean(language, WORDS))
    return WORDS[language]


class _Shown(Protocol):
    """What the formats below share: an example as text."""

    def shot(self, item: Item, language: str) -> str: ...


@lru_cache(maxsize=4096)
def _shots(form: _Shown, items: tuple[Item, ...], language: str) -> tuple[str, ...]:
    # The same tuple of strings for all items with the same examples: prompts share memory, and the scorer sees
    # shared prefixes at once.
    return tuple(form.shot(item, language) + SHOT_END for item in items)


@dataclass(frozen=True, slots=True)
class Cloze:
    """Each choice scored as what follows the question: ``Question: q\\nAnswer:`` + `` choice``."""

    name: str = "cloze"
    plain: bool = False
    """Only context and question run on into the choice, with no cue words (HellaSwag)."""
    uncond: bool = False
    """Also ask each choice after the bare cue ``Answer:``, for the unconditional normalisation of GPT-3."""
    header: str = ""
    """Opens the prompt; ``{subject}`` is the item's."""

    def ask(self, item: Item, language: str) -> str:
        """The question of one item, up to where a choice follows."""
        say = words(language)
        if self.plain:
            return say.gap.join(part for part in (item.context, item.question) if part)
        return _passage(item, say) + say.question + item.question + "\n" + say.answer

    def shot(self, item: Item, language: str) -> str:
        """One example with its right choice."""
        return self.ask(item, language) + words(language).gap + item.choices[_gold(item)]

    def requests(self, item: Item, shots: Sequence[Item], language: str) -> list[Request]:
        """One request a choice."""
        say = words(language)
        header, shown = _header(self.header, item), _shots(self, tuple(shots), language)
        question = self.ask(item, language)
        return [
            Request(
                item=item.id,
                choice=place,
                gold=place == item.gold,
                kind="score",
                question=question,
                continuation=say.gap + choice,
                header=header,
                shots=shown,
                uncond=say.answer if self.uncond else None,
            )
            for place, choice in enumerate(item.choices)
        ]


@dataclass(frozen=True, slots=True)
class Letters:
    """Choices listed as ``A. ...`` below the question; each letter scored as the answer."""

    name: str = "letters"
    cue: bool = True
    """Whether the question stands after the question word (MMLU and C-Eval leave it out)."""
    header: str = ""
    """Opens the prompt; ``{subject}`` is the item's."""

    def ask(self, item: Item, language: str) -> str:
        """The question of one item with its list, up to where a letter follows."""
        say = words(language)
        if len(item.choices) > len(LETTERS):
            raise OnsetError(f"{len(item.choices)} choices are more than there are letters", where=f"item '{item.id}'")
        listed = "".join(
            f"{letter}{say.list_mark}{choice}\n" for letter, choice in zip(LETTERS, item.choices, strict=False)
        )
        return _passage(item, say) + (say.question if self.cue else "") + item.question + "\n" + listed + say.answer

    def shot(self, item: Item, language: str) -> str:
        """One example with its right letter."""
        return self.ask(item, language) + words(language).gap + LETTERS[_gold(item)]

    def requests(self, item: Item, shots: Sequence[Item], language: str) -> list[Request]:
        """One request a letter."""
        gap = words(language).gap
        header, shown = _header(self.header, item), _shots(self, tuple(shots), language)
        question = self.ask(item, language)
        return [
            Request(
                item=item.id,
                choice=place,
                gold=place == item.gold,
                kind="score",
                question=question,
                continuation=gap + LETTERS[place],
                header=header,
                shots=shown,
            )
            for place in range(len(item.choices))
        ]


@dataclass(frozen=True, slots=True)
class Filled:
    """The blank filled with each choice, and the text after it scored.

    ``part="rest"`` is the partial evaluation of Trinh and Le (2018): what follows the blank is scored given the
    text with the choice in it, so that no choice gains by being short or frequent. ``part="both"`` scores the choice
    and what follows together. Where nothing follows the blank, the choice itself is scored.
    """

    name: str = "filled"
    blank: str = "_"
    """Marks the blank in the question, or in the context where the question has none."""
    part: Literal["rest", "both"] = "rest"

    def split(self, item: Item) -> tuple[str, str]:
        """The text before and after the blank."""
        text = item.question if self.blank in item.question else item.context
        before, found, after = text.partition(self.blank)
        if not found:
            raise OnsetError(
                f"the text has no blank '{self.blank}'", where=f"item '{item.id}'", advice="mend or remove this row"
            )
        return before, after

    def shot(self, item: Item, language: str) -> str:
        """One example: the whole text with the right choice."""
        before, after = self.split(item)
        return before + item.choices[_gold(item)] + after

    def requests(self, item: Item, shots: Sequence[Item], language: str) -> list[Request]:
        """One request a choice."""
        shown = _shots(self, tuple(shots), language)
        before, after = self.split(item)
        return [
            Request(
                item=item.id,
                choice=place,
                gold=place == item.gold,
                kind="score",
                question=question,
                continuation=continuation,
                shots=shown,
            )
            for place, (question, continuation) in enumerate(self._fill(before, after, one) for one in item.choices)
        ]

    def _fill(self, before: str, after: str, choice: str) -> tuple[str, str]:
        """Prompt and continuation with one choice in the blank."""
        if self.part == "rest" and after.strip():
            return before + choice, after
        bare = before.rstrip(" ")
        return bare, before[len(bare) :] + choice + after  # a space goes with the word that it precedes


@dataclass(frozen=True, slots=True)
class Open:
    """A free answer after ``Question: q\\nAnswer:``, generated to the end of the line; the reference is scored too."""

    name: str = "open"
    stop: tuple[str, ...] = ("\n",)
    """Texts that end the answer."""
    max_tokens: int = 32
    header: str = ""
    """Opens the prompt; ``{subject}`` is the item's."""

    def ask(self, item: Item, language: str) -> str:
        """The question of one item."""
        say = words(language)
        return _passage(item, say) + say.question + item.question + "\n" + say.answer

    def shot(self, item: Item, language: str) -> str:
        """One example with its reference answer."""
        return self.ask(item, language) + words(language).gap + item.answers[0]

    def requests(self, item: Item, shots: Sequence[Item], language: str) -> list[Request]:
        """The one request of an item."""
        return [
            Request(
                item=item.id,
                choice=0,
                gold=True,
                kind="generate",
                question=self.ask(item, language),
                continuation=words(language).gap + item.answers[0],
                header=_header(self.header, item),
                shots=_shots(self, tuple(shots), language),
                stop=self.stop,
                max_tokens=self.max_tokens,
            )
        ]


@dataclass(frozen=True, slots=True)
class ChainOfThought:
    """A worked answer that ends in ``The answer is N.`` (Wei et al. 2022); the reference working is scored too.

    The reference of an item without a working is the closing sentence alone.
    """

    name: str = "chain_of_thought"
    stop: tuple[str, ...] = (SHOT_END,)
    """Texts that end the answer; a new question at the start of a line always does."""
    max_tokens: int = 320
    header: str = ""
    """Opens the prompt; ``{subject}`` is the item's."""

    def ask(self, item: Item, language: str) -> str:
        """The question of one item."""
        say = words(language)
        return _passage(item, say) + say.question + item.question + "\n" + say.answer

    def worked(self, item: Item, language: str) -> str:
        """The reference working and its closing sentence."""
        say = words(language)
        closing = say.closing.format(item.answers[0])
        return (item.rationale + say.gap + closing) if item.rationale else closing

    def shot(self, item: Item, language: str) -> str:
        """One example with its working."""
        return self.ask(item, language) + words(language).gap + self.worked(item, language)

    def requests(self, item: Item, shots: Sequence[Item], language: str) -> list[Request]:
        """The one request of an item."""
        say = words(language)
        return [
            Request(
                item=item.id,
                choice=0,
                gold=True,
                kind="generate",
                question=self.ask(item, language),
                continuation=say.gap + self.worked(item, language),
                header=_header(self.header, item),
                shots=_shots(self, tuple(shots), language),
                stop=(*self.stop, "\n" + say.question.rstrip()),
                max_tokens=self.max_tokens,
            )
        ]


def _passage(item: Item, say: Words) -> str:
    return say.passage + item.context + "\n" if item.context else ""


def _header(header: str, item: Item) -> str:
    return header.replace("{subject}", item.subject.replace("_", " "))


def _gold(item: Item) -> int:
    # Examples are checked when they are loaded; a fault here is our own.
    assert item.gold is not None, item.id
    return item.gold
