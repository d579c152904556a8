"""The world: its documents' probabilities, what it holds out, and the floor."""

from __future__ import annotations

import math
from collections import Counter
from itertools import islice

import pytest

from onset.errors import OnsetError
from onset.study.spec import WorldSpec
from onset.world import World, build
from onset.world.words import WORDS
from onset.world.world import SHARES

SMALL = WorldSpec(places=8, items=20, documents=4_000, valid_documents=300)
LANGUAGES = ("en", "zh")


def characters(texts: list[str]) -> list[int]:
    return [len(text) for text in texts]


def test_the_same_specification_gives_the_same_documents() -> None:
    """Shards, floors and questions of a resumed study must be of one world."""
    first = list(World(SMALL).documents("en", "train"))
    assert first == list(World(SMALL).documents("en", "train"))
    other = SMALL.model_copy(update={"seed": 2})
    assert first[:20] != list(islice(World(other).documents("en", "train"), 20))


def test_more_documents_begin_with_the_same_ones() -> None:
    """A larger corpus of the same world must not change what was trained on so far."""
    larger = World(SMALL.model_copy(update={"documents": 12_000}))
    assert list(World(SMALL).documents("zh", "train")) == list(islice(larger.documents("zh", "train"), 1_600))


def test_languages_are_three_to_two() -> None:
    """Both languages are learnt within a budget of minutes only if each has its share."""
    world = build(SMALL)
    assert [sum(1 for _ in world.documents(language, "train")) for language in LANGUAGES] == [2_400, 1_600]
    assert [sum(1 for _ in world.documents(language, "valid")) for language in LANGUAGES] == [180, 120]


@pytest.mark.parametrize("language", LANGUAGES)
def test_surprise_of_a_document_is_what_counting_gives(language: str) -> None:
    """The floor is only exact if the stated probabilities are those that documents are drawn with."""
    world = World(WorldSpec(places=8, items=20, documents=40_000, valid_documents=1))
    lines: Counter[str] = Counter()
    documents: Counter[str] = Counter()
    kind = world.kinds[language]["scripts"]
    for document in islice(world.documents(language, "train"), 8_000):
        documents[document.kind] += 1
        if document.kind == kind.name:
            lines.update(document.text.splitlines())
    total = sum(documents.values())
    for name, share in SHARES.items():
        assert documents[name] / total == pytest.approx(share, abs=4 * math.sqrt(share / total))
    drawn = sum(lines.values())
    told = {
        kind.line(number).rstrip("\n"): math.exp(-kind.nats([number]))
        for number in range(kind.size)
        if kind.allowed(number)
    }
    assert set(lines) <= set(told)
    chi_square = sum((lines[line] - drawn * share) ** 2 / (drawn * share) for line, share in told.items())
    freedom = len(told) - 1
    assert abs(chi_square - freedom) < 4 * math.sqrt(2 * freedom)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_documents_kind_can_be_read_from_its_text(language: str) -> None:
    """If two kinds could tell the same text, its probability would be their sum."""
    world = build(SMALL)
    openings = {document.kind: set[str]() for document in world.documents(language, "valid")}
    for document in world.documents(language, "valid"):
        openings[document.kind].add(document.text.split("：")[0].split(":")[0])
    assert set(openings) == set(SHARES)
    assert all(len(opening) == 1 for opening in openings.values())
    assert len(set.union(*openings.values())) == len(SHARES)


def test_floor_is_the_mean_surprise() -> None:
    """The line under the loss curves: no model may go below it, the separator counted."""
    world = build(SMALL)
    floor = world.floor(characters)
    nats, tokens = {}, {}
    for language in LANGUAGES:
        documents = list(world.documents(language, "valid"))
        nats[language] = sum(document.nats for document in documents)
        tokens[language] = sum(len(document.text) + 1 for document in documents)
        assert floor[language] == pytest.approx(nats[language] / tokens[language])
    assert floor["all"] == pytest.approx(sum(nats.values()) / sum(tokens.values()))
    assert set(floor) == {"en", "zh", "all"}


def test_no_held_out_line_is_told() -> None:
    """A question that stands in the training text measures memory."""
    world = build(SMALL)
    for language in LANGUAGES:
        text = "".join(document.text for document in world.documents(language, "train"))
        for kind in world.kinds[language].values():
            for key in sorted(kind.held)[:20]:
                for detail in {0, kind.per_key - 1}:
                    assert kind.line(key * kind.per_key + detail) not in text


def test_more_places_than_names_is_one_error() -> None:
    """Two places of one name would have two truths."""
    with pytest.raises(OnsetError, match="names for 192 places"):
        World(WorldSpec(places=193))
    facts = World(WorldSpec(places=192, items=1)).facts
    for words in WORDS.values():
        assert len({facts.place(place, words) for place in range(192)}) == 192


def test_unknown_task_and_language_are_errors_with_advice() -> None:
    """A misspelt name must not become an empty list."""
    world = build(SMALL)
    with pytest.raises(OnsetError, match="no task 'exams'") as error:
        world.questions("exams", "en")
    assert "exam" in (error.value.advice or "")
    with pytest.raises(OnsetError, match="does not speak"):
        next(world.documents("fr", "train"))
