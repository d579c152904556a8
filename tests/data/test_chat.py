"""Without these a tuning would learn the questions beside the answers, or read conversations that were cut."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from onset.data import chat_shards as chats
from onset.data.chat import TEMPLATES, conversations, segments
from onset.data.mixture import Mixture
from onset.data.shards import Shard
from onset.data.tokenizer import Tokenizer, train
from onset.errors import OnsetError
from onset.study.spec import TokenizerSpec

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Where is Ann?"},
    {"role": "assistant", "content": "Home."},
    {"role": "user", "content": "And Tom?"},
    {"role": "assistant", "content": "Out."},
]
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train(["Where is Ann? Home. And Tom? Out. User: Assistant: "] * 5, TokenizerSpec(vocab=270))


def test_only_answers_are_learnt_each_with_the_mark_of_its_end() -> None:
    told = segments(TALK, CHATML)
    assert "".join(text for text, _ in told).count("<|im_end|>") == 5
    assert [text for text, learnt in told if learnt] == ["Home.<|im_end|>\n", "Out.<|im_end|>\n"]
    roles = segments(TALK[1:3], TEMPLATES["roles"])
    assert roles == [("User: Where is Ann?\nAssistant:", False), (" Home.\n", True)]
    assert segments(TALK[1:3], TEMPLATES["bare"]) == [("Where is Ann?", False), ("Home.", True)]


@pytest.mark.parametrize(
    ("template", "what"),
    [
        ("{{ messages | length }}", "tells a message otherwise"),
        ("{{ raise_exception('no system') }}", "no system"),
        ("{% for %}", "no Jinja template"),
    ],
)
def test_a_template_that_cannot_tell_answers_apart_is_refused(template: str, what: str) -> None:
    with pytest.raises(OnsetError, match=what):
        segments(TALK, template)


def test_conversations_are_packed_whole_and_their_questions_are_no_targets(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    talks = [[{"role": "user", "content": "ab" * size}, {"role": "assistant", "content": "Out."}]
             for size in (1, 2, 3, 40, 1, 2)]  # fmt: skip
    chats.write(talks, tokenizer, TEMPLATES["bare"], tmp_path / "shard")
    shard = Shard.open(tmp_path / "shard")
    assert shard.documents == 6
    mixture = Mixture([shard], [1.0], context=24, batch=2, seed=0)
    assert mixture.left_out == 1
    learnt = tokenizer.encode("Out.")
    seen = []
    for row in np.concatenate([mixture.batch(step) for step in range(mixture.chunks[0])]):
        assert row[0] == ~tokenizer.eos
        whole = np.where(row < 0, ~row, row).tolist()
        ends = [at for at, token in enumerate(row.tolist()) if token == tokenizer.eos]
        for end in ends:  # an answer and its end are learnt, and stand whole
            assert row[end - len(learnt) : end].tolist() == learnt
        assert (row[row >= 0] == [*learnt, tokenizer.eos] * len(ends)).all()
        seen += [tokenizer.decode(whole)]
    assert {text.count("Out.") for text in seen} <= {1, 2, 3}
    assert sum(text.count("Out.") for text in seen) == 2 * 5  # two epochs of the five that fit


def test_no_conversation_that_fits_is_an_error(tokenizer: Tokenizer, tmp_path: Path) -> None:
    chats.write([TALK], tokenizer, TEMPLATES["roles"], tmp_path / "shard")
    with pytest.raises(OnsetError, match="no conversation fits into 8 tokens"):
        Mixture([Shard.open(tmp_path / "shard")], [1.0], context=8, batch=1, seed=0)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ({"messages": "hello"}, "no list of messages"),
        ({"messages": [{"role": "robot", "content": "hi"}]}, "a message needs a role"),
        ({"text": "hello"}, "no column 'messages'"),
    ],
)
def test_a_line_that_is_no_conversation_is_told_with_its_place(
    line: dict[str, object], what: str, tmp_path: Path
) -> None:
    file = tmp_path / "talk.jsonl"
    file.write_text(json.dumps({"messages": TALK}) + "\n" + json.dumps(line) + "\n", encoding="utf-8")
    with pytest.raises(OnsetError, match=what) as error:
        list(conversations(file, "messages"))
    assert "line 2" in str(error.value)


def test_a_chat_template_goes_with_the_tokenizer(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    assert Tokenizer.load(tmp_path).template is None
    (tmp_path / "chat_template.jinja").write_text(CHATML, encoding="utf-8")
    loaded = Tokenizer.load(tmp_path)
    loaded.save(tmp_path / "copy")
    assert Tokenizer.load(tmp_path / "copy").template == CHATML
