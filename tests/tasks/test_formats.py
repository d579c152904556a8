"""Formats beyond the golden prompts: borders, blanks and what is shared."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from onset.errors import OnsetError
from onset.tasks.formats import ChainOfThought, Cloze, Filled, Letters, Open
from onset.tasks.task import Format, Item

CHOICE = Item(id="1", question="Why?", choices=("one", "two", "three"), gold=1, subject="old_maps")
OPEN = Item(id="2", question="Who?", answers=("me", "I"), rationale="It is I.")
FORMATS: list[Format] = [Cloze(), Cloze(plain=True), Letters(), Open(), ChainOfThought()]


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_borders_of_prompt_and_continuation(form: Format) -> None:
    """A space on the wrong side of the border makes other tokens, and every score changes."""
    item = OPEN if isinstance(form, Open | ChainOfThought) else CHOICE
    for request in form.requests(item, [item], "en"):
        assert request.continuation.startswith(" ")
        assert not request.prompt.endswith(" ")
    for request in form.requests(item, [item], "zh"):
        assert not request.continuation.startswith(" ")


def test_shots_are_whole_and_apart_from_the_question() -> None:
    """A prompt that is too long is cut by whole shots: each must end where the next begins."""
    request = Letters(header="On {subject}.\n\n").requests(CHOICE, [CHOICE, CHOICE], "en")[0]
    assert len(request.shots) == 2
    assert all(shot.endswith("\n\n") and shot.count("\n\n") == 1 for shot in request.shots)
    assert request.header == "On old maps.\n\n"
    assert request.prompt == request.header + "".join(request.shots) + request.question


def test_items_with_the_same_examples_share_their_text() -> None:
    """Ten thousand long prompts would each hold a copy of the same examples in memory."""
    one = Cloze().requests(CHOICE, [CHOICE], "en")[0]
    two = Cloze().requests(Item(id="3", question="How?", choices=("a", "b"), gold=0), [CHOICE], "en")[0]
    assert one.shots is two.shots


def test_partial_evaluation_scores_the_same_text_for_all_choices() -> None:
    """A longer name would lose for its length alone."""
    item = Item(id="1", question="Ann met Bartholomew because _ was early.", choices=("Ann", "Bartholomew"), gold=0)
    requests = Filled().requests(item, [], "en")
    assert {request.continuation for request in requests} == {" was early."}
    assert [request.prompt[-11:] for request in requests] == ["because Ann", "Bartholomew"]
    full = Filled(part="both").requests(item, [], "en")
    assert [request.prompt for request in full] == ["Ann met Bartholomew because"] * 2
    assert full[0].continuation == " Ann was early."


def test_a_blank_at_the_end_scores_the_choice() -> None:
    """Nothing follows the blank: an empty continuation would score 0 nats for every choice."""
    item = Item(id="1", question="The winner was _", choices=("Ann", "Bo"), gold=0)
    assert [request.continuation for request in Filled().requests(item, [], "en")] == [" Ann", " Bo"]


def test_a_text_without_a_blank_is_an_error() -> None:
    """The choices would never appear in the prompt."""
    with pytest.raises(OnsetError, match="no blank"):
        Filled().requests(CHOICE, [], "en")


def test_a_chain_of_thought_stops_at_the_next_question() -> None:
    """A model that goes on with a question of its own would be judged by that one's number."""
    assert "\nQuestion:" in ChainOfThought().requests(OPEN, [], "en")[0].stop
    assert "\n问题：" in ChainOfThought().requests(OPEN, [], "zh")[0].stop


def test_the_bare_prompt_is_asked_only_when_wanted() -> None:
    """Each bare prompt doubles the requests of a task."""
    assert Cloze().requests(CHOICE, [], "en")[0].uncond is None
    assert Cloze(uncond=True).requests(CHOICE, [], "en")[0].uncond == "Answer:"


def test_more_choices_than_letters_and_an_unknown_language_are_errors() -> None:
    """Choices beyond Z would fall off the list; words of another language would be guessed."""
    many = Item(id="1", question="Which?", choices=tuple(str(n) for n in range(27)), gold=0)
    with pytest.raises(OnsetError, match="more than there are letters"):
        Letters().requests(many, [], "en")
    with pytest.raises(OnsetError, match="no prompt words"):
        Cloze().requests(CHOICE, [], "fr")


def test_formats_are_values() -> None:
    """A format that could be changed after its digest was taken would score other prompts under an old name."""
    with pytest.raises(FrozenInstanceError):
        Cloze().plain = True  # type: ignore[misc]
    assert Cloze() == Cloze()
    assert hash(Letters()) == hash(Letters())
