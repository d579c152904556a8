"""The scorer gives what the plain way gives, one request at a time, for several makes of model and tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from onset.data.tokenizer import train
from onset.errors import OnsetError
from onset.models.transformer import Decoder
from onset.score import batches as packing
from onset.score import huggingface as hub
from onset.score.causal import CausalLM
from onset.score.encoding import Ask
from onset.score.requests import prepare, prompts
from onset.score.scorer import Scorer
from onset.study.spec import Shape, TokenizerSpec
from onset.tasks.task import Request

MAKES = ["llama", "gpt-neox", "glm", "gpt2", "mistral", "mamba"]
Folder = Callable[..., Path]


def ask(item: str, choice: int, question: str, continuation: str, **more: Any) -> Request:
    return Request(
        item=item, choice=choice, gold=choice == 0, kind="score", question=question, continuation=continuation, **more
    )


def some_requests() -> list[Request]:
    """Requests of every form that tasks have: shots, cloze, letters, filled blanks, Chinese, uncond, odd spaces."""
    shots = tuple(f"Question: What has {name}? Answer: a {thing}\n\n" for name, thing in
                  [("Tom", "blue lamp"), ("Ann", "red one"), ("Bob", "hill"), ("Eve", "lamp")])  # fmt: skip
    made = []
    for index, name in enumerate(["Tom", "the man on the hill", "Venn"]):
        question = f"Question: What has {name}? Answer:"
        for choice, words in enumerate([" a blue lamp", " a blue hill", " none", " said the man"]):
            made.append(
                ask(f"cloze{index}", choice, question, words, header="Right.\n\n", shots=shots, uncond="Answer:")
            )
        for choice, letter in enumerate([" A", " B", " C", " D"]):
            made.append(ask(f"letters{index}", choice, question, letter, shots=shots))
        for choice, letter in enumerate("AB"):
            made.append(ask(f"zh{index}", choice, f"问题：{name}有什么？答案：", f"{letter}蓝色的灯", uncond=""))
        for choice, who in enumerate(["Tom", "Ann"]):
            made.append(ask(f"filled{index}", choice, f"The lamp is {name}'s, for {who}", " has seen it on the hill."))
        made.append(ask(f"space{index}", 0, f"What has {name}? ", "lamp"))
        made.append(ask(f"line{index}", 0, f"阿尔的首都是{name}\n", "文恩。"))
        made.append(ask(f"joined{index}", 0, f"谁有蓝色的{name}首", "都是文恩"))
    return made


class Plain:
    """The plain way: the library's own tokenizer and model, one request at a time, one whole forward pass each."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder).eval()

    def ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text)["input_ids"])

    def logs(self, ids: list[int]) -> torch.Tensor:
        with torch.inference_mode():
            return torch.log_softmax(self.model(torch.tensor([ids])).logits[0].double(), -1)

    def score(self, prompt: str, continuation: str) -> float:
        """The field's rule, for texts where the prompt's tokens begin the whole's."""
        bare = prompt.rstrip()
        front = self.ids(bare) if bare else []
        whole = self.ids(prompt + continuation)
        if not front:
            begin = self.tokenizer.bos_token_id
            front = [begin if begin is not None else self.tokenizer.eos_token_id]
            whole = whole if whole[0] == front[0] else front + whole
        assert whole[: len(front)] == front, "the border is clean"
        logs = self.logs(whole)
        return sum(float(logs[at - 1, whole[at]]) for at in range(len(front), len(whole)))

    def generate(self, prompt: str, stop: Sequence[str], most: int) -> str:
        """Greedy, every token from a whole pass."""
        front, made = self.ids(prompt), []
        for _ in range(most):
            token = int(self.logs(front + made)[-1].argmax())
            if token == self.tokenizer.eos_token_id:
                break
            made.append(token)
            text = self.tokenizer.decode(made, skip_special_tokens=True)
            if any(one in text for one in stop):
                return str(text[: min(text.find(one) for one in stop if one in text)])
        return str(self.tokenizer.decode(made, skip_special_tokens=True))


@pytest.fixture(scope="module")
def plain() -> Callable[[Path], Plain]:
    """The plain way of a folder, loaded once."""
    made: dict[Path, Plain] = {}

    def of(folder: Path) -> Plain:
        if folder not in made:
            made[folder] = Plain(folder)
        return made[folder]

    return of


def agree(way: Plain, lm: CausalLM) -> None:
    requests = [request for request in some_requests() if not request.item.startswith("joined")]
    scored = Scorer(lm, batch_tokens=300).score(requests)
    for request, score in zip(requests, scored, strict=True):
        assert score.logprob == pytest.approx(way.score(request.prompt, request.continuation), abs=1e-4), request
        if request.uncond is not None:
            assert score.logprob_uncond == pytest.approx(way.score(request.uncond, request.continuation), abs=1e-4)
        else:
            assert score.logprob_uncond is None
        assert score.bytes == len(request.continuation.encode())


@pytest.mark.parametrize("make", MAKES)
def test_log_probabilities_equal_the_plain_way(make: str, model_folder: Folder, plain: Callable[[Path], Plain]) -> None:
    """Lost otherwise: every score of this architecture, silently wrong."""
    lm = hub.load(model_folder(make))
    assert lm.cache_kind == ("plain" if make == "mamba" else "shared")
    assert lm.reach == {"mamba": 0, "mistral": 12}.get(make, 256), "rows longer than the window are computed whole"
    agree(plain(model_folder(make)), lm)


@pytest.mark.parametrize("tokenizer", ["sentencepiece", "sentencepiece without bos", "unigram"])
def test_borders_are_right_for_every_tokenizer(
    tokenizer: str, model_folder: Folder, plain: Callable[[Path], Plain]
) -> None:
    """Lost otherwise: tokens at the border of prompt and continuation scored twice or not at all."""
    folder = model_folder("llama", tokenizer)
    agree(plain(folder), hub.load(folder))


def test_a_token_across_the_border_belongs_to_the_continuation(
    model_folder: Folder, plain: Callable[[Path], Plain]
) -> None:
    """Lost otherwise: Chinese answers whose first characters merge with the prompt's last lose tokens."""
    way, lm = plain(model_folder()), hub.load(model_folder())
    prompt, continuation = "The capital of Arle is Venn. Quest", "ion: What"
    found = way.tokenizer(prompt + continuation, return_offsets_mapping=True)
    ids = list(found["input_ids"])
    assert ids[: len(way.ids(prompt))] != way.ids(prompt), "the border is not clean"
    first = next(index for index, (_, end) in enumerate(found["offset_mapping"]) if end > len(prompt))
    expected = sum(float(way.logs(ids)[at - 1, ids[at]]) for at in range(first, len(ids)))
    (score,) = Scorer(lm).score([ask("a", 0, prompt, continuation)])
    assert score.logprob == pytest.approx(expected, abs=1e-4)
    assert score.tokens == len(ids) - first


@pytest.mark.parametrize("tokenizer", ["byte-level", "sentencepiece", "sentencepiece without bos", "unigram"])
def test_tokens_of_shared_shots_are_those_of_the_whole_text(tokenizer: str, model_folder: Folder) -> None:
    """Lost otherwise: prompts tokenised in pieces that no other harness would tokenise so."""
    encoder = hub.load(model_folder("llama", tokenizer)).encoder
    front = (
        "Right. ",
        *(f"问题：{name} has it? Answer: a blue lamp, 山上的灯\n\n" for name in ["Tom", "Ann", "Bob", "Eve"]),
    )
    asks = [
        Ask(front, question, words)
        for question in ["问题：谁？答案：", "Question: What? Answer:", "", " ", "\n首都"]
        for words in [" A", "B", "文恩", " a lamp"]
    ]
    for pair, alone in zip(encoder.pairs(asks), (encoder.pairs([one])[0] for one in asks), strict=True):
        assert pair.ids.tolist() == alone.ids.tolist()
        assert pair.border == alone.border
    assert [row.tolist() for row in encoder.prompts(asks)] == [encoder.prompts([one])[0].tolist() for one in asks]
    assert len(encoder._head("".join(front), asks[:2]).ids), "the shots' tokens are made once"


def test_scores_do_not_depend_on_batches_or_order(model_folder: Folder) -> None:
    """Lost otherwise: two evaluations of one checkpoint that differ."""
    lm, requests = hub.load(model_folder()), some_requests()
    whole = [score.logprob for score in Scorer(lm).score(requests)]
    small = [score.logprob for score in Scorer(lm, batch_tokens=1).score(requests)]
    turned = [score.logprob for score in Scorer(lm).score(requests[::-1])][::-1]
    assert small == pytest.approx(whole, abs=1e-4)
    assert turned == pytest.approx(whole, abs=1e-4)


def test_shared_beginnings_are_computed_once(model_folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost otherwise: the speed that makes scoring every checkpoint possible."""
    lm, seen = hub.load(model_folder()), []
    states = lm.states
    monkeypatch.setattr(lm, "states", lambda tokens, *more: seen.append(tokens.numel()) or states(tokens, *more))
    shots = ("Question: What has Tom? Answer: a blue lamp\n\n",) * 4
    asked = [
        ask(str(item), choice, f"Question: What is {item}? Answer:", letter, shots=shots)
        for item in range(30)
        for choice, letter in enumerate([" A", " B", " C", " D"])
    ]
    Scorer(lm).score(asked)
    (group,) = prepare(asked, lm.encoder, lm.context, lm.reach).groups
    assert len(group.prefix) > 60
    assert sum(seen) == len(group.prefix) + sum(map(len, group.rows))
    questions = prepare([replace(one, shots=()) for one in asked], lm.encoder, lm.context, lm.reach).groups
    assert sum(map(len, group.rows)) <= sum(len(row) for one in questions for row in one.rows)


def test_shots_are_cut_whole_from_the_left(model_folder: Folder) -> None:
    """Lost otherwise: prompts cut inside the question, or a crash on models with a short context."""
    lm = hub.load(model_folder())
    lm.context = lm.reach = 80
    shots = tuple(f"Question: What has {name}? Answer: a blue lamp\n\n" for name in ["Tom", "Ann", "Bob", "Eve", "Joe"])
    question = "Question: What has the man? Answer:"
    request = ask("a", 0, question, " a lamp", header="Right.\n", shots=shots)
    (score,) = Scorer(lm).score([request])
    assert 0 < score.cut_shots < 5
    (by_hand,) = Scorer(lm).score([replace(request, shots=shots[score.cut_shots :])])
    assert by_hand.cut_shots == 0
    assert score.logprob == pytest.approx(by_hand.logprob, abs=1e-4)
    (group,) = prepare([replace(request, shots=shots[score.cut_shots - 1 :])], lm.encoder, 10_000, 10_000).groups
    assert len(group.rows[0]) > 80, "no more was cut than had to be"


def test_what_cannot_be_scored_is_missing_not_zero(model_folder: Folder) -> None:
    """Lost otherwise: an item without an answer counted as one with probability 1."""
    lm = hub.load(model_folder())
    lm.context = lm.reach = 40
    requests = [
        ask("a", 0, "What is this? " * 40, "lamp", uncond=""),
        ask("b", 0, "What?", ""),
        ask("c", 0, "What?", " a"),
    ]
    long, empty, fine = Scorer(lm).score(requests)
    assert (long.logprob, long.logprob_uncond, long.missing) == (None, None, "too long")
    assert (empty.logprob, empty.missing) == (None, "empty")
    assert fine.logprob is not None
    assert fine.missing is None
    assert Scorer(lm).generate([replace(requests[0], max_tokens=4), replace(requests[2], max_tokens=2)])[0] is None


@pytest.mark.parametrize("make", MAKES)
def test_generation_equals_the_plain_way(make: str, model_folder: Folder, plain: Callable[[Path], Plain]) -> None:
    """Lost otherwise: free answers of this architecture."""
    way, lm = plain(model_folder(make)), hub.load(model_folder(make))
    shots = tuple(f"Question: What has {name}? Answer: a blue lamp\n\n" for name in ["Tom", "Ann", "Bob"])
    requests = [
        Request(str(index), 0, True, "generate", f"问题：{name} Answer:", " a", shots=some, stop=stop, max_tokens=most)
        for index, name in enumerate(["Tom", "the man on the hill", "?"])
        for some in (shots, ())
        for stop, most in (((), 12), (("a", "\n"), 9), (("e l", "答案"), 1))
    ]
    expected = [way.generate(request.prompt, request.stop, request.max_tokens) for request in requests]
    assert Scorer(lm, batch_tokens=200).generate(requests) == expected


def test_our_decoder_scores_as_its_folder_does_for_others(tmp_path: Path) -> None:
    """Lost otherwise: scores of our checkpoints that nobody else gets from the same files."""
    from onset.models.files import save

    torch.manual_seed(3)
    tokenizer = train(["the blue lamp, said Tom. " * 4, "蓝色的灯"], TokenizerSpec(vocab=262))
    decoder = Decoder(Shape(layers=2, width=32, heads=4, kv_heads=2, hidden=48, context=200), tokenizer.vocab)
    save(decoder, tokenizer, tmp_path)
    shots = ("the blue lamp, said Tom. ",) * 5
    requests = [
        ask(str(item), choice, f"lamp {item} said", words, uncond="", shots=shots, max_tokens=6)
        for item in range(12)
        for choice, words in enumerate([" the lamp", "灯", " lamp Tom"])
    ]
    way, there = Plain(tmp_path), hub.load(tmp_path)
    assert type(there.model) is Decoder, "read without the transformers library"
    for lm in (CausalLM.of(decoder, tokenizer), there):
        for request, score in zip(requests, Scorer(lm).score(requests), strict=True):
            assert score.logprob == pytest.approx(way.score(request.prompt, request.continuation), abs=1e-4)
            assert score.logprob_uncond == pytest.approx(way.score("", request.continuation), abs=1e-4)
        expected = [way.generate(request.prompt, (), 6) for request in requests[::3]]
        assert Scorer(lm).generate(requests[::3]) == expected


def test_running_out_of_memory_halves_the_batch(model_folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost otherwise: hours of scoring, to a crash on the longest questions."""
    lm, requests = hub.load(model_folder()), some_requests()
    expected = [score.logprob for score in Scorer(lm).score(requests)]
    states = lm.states

    def small(tokens: torch.Tensor, *more: Any) -> torch.Tensor:
        if tokens.numel() > 200:
            raise torch.OutOfMemoryError("no room")
        return states(tokens, *more)

    monkeypatch.setattr(lm, "states", small)
    assert [score.logprob for score in Scorer(lm).score(requests)] == pytest.approx(expected, abs=1e-4)


def test_numbers_that_are_not_finite_are_an_error(model_folder: Folder) -> None:
    """Lost otherwise: a broken checkpoint that scores like any other."""
    lm = hub.load(model_folder("glm"))
    with torch.no_grad():
        next(lm.model.parameters())[:] = float("nan")
    with pytest.raises(OnsetError, match="not finite"):
        Scorer(lm).score(some_requests())
    with pytest.raises(OnsetError, match="not finite"):
        Scorer(lm).generate([replace(some_requests()[0], max_tokens=3)])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_other_dtypes_stay_near_float32(dtype: Any, model_folder: Folder) -> None:
    """Lost otherwise: scores in half precision that are off by more than its rounding."""
    requests = some_requests()
    full = [score.logprob for score in Scorer(hub.load(model_folder("glm"))).score(requests)]
    lm = hub.load(model_folder("glm"), dtype=dtype)
    assert lm.cache_kind == "shared"
    assert [score.logprob for score in Scorer(lm).score(requests)] == pytest.approx(full, rel=0.05, abs=0.5)


def test_devices_without_a_fused_kernel_agree(model_folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost otherwise: right scores and answers on devices for which torch has no kernel with a log-sum-exp."""
    from onset.score import attention, flash

    lm = hub.load(model_folder("glm"))
    requests = some_requests()
    asked = [replace(request, max_tokens=4) for request in requests[:6]]
    expected = [score.logprob for score in Scorer(lm).score(requests)]
    answers = Scorer(lm).generate(asked)
    monkeypatch.setattr(attention, "attend", flash.plain)
    assert [score.logprob for score in Scorer(lm).score(requests)] == pytest.approx(expected, abs=1e-4)
    assert Scorer(lm).generate(asked) == answers


def test_tokens_are_made_once_for_models_that_share_a_tokenizer(model_folder: Folder) -> None:
    """Lost otherwise: minutes of tokenizing at every one of hundreds of checkpoints."""
    requests = some_requests()
    one, other = hub.load(model_folder("glm")), hub.load(model_folder("glm"))
    first = prepare(requests, one.encoder, one.context, one.reach)
    assert first is prepare(list(requests), other.encoder, other.context, other.reach)
    assert prompts(requests, one.encoder, one.context) is prompts(requests, other.encoder, other.context)


@pytest.mark.parametrize("share", [True, False])
def test_batches_keep_to_their_budget_and_lose_no_row(share: bool, model_folder: Folder) -> None:
    """Lost otherwise: the bound on memory."""
    lm = hub.load(model_folder())
    rows = [row for group in prepare(some_requests(), lm.encoder, 256, 256 * share).groups for row in group.rows]
    made = list(packing.batches(rows, 400, share))
    assert sorted(map(id, rows)) == sorted(id(row) for batch in made for row in batch)
    for batch in made:
        size = sum(map(len, batch)) if share else len(batch) * max(map(len, batch))
        assert len(batch) == 1 or size <= 400
