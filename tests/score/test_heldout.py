"""Held-out loss equals a plain token-by-token computation, whatever the packing, and refuses what is no loss."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers, trainers

from onset.data.tokenizer import Tokenizer, train
from onset.errors import OnsetError
from onset.models.transformer import Decoder
from onset.score import huggingface as hub
from onset.score.causal import CausalLM
from onset.score.encoding import Encoder
from onset.score.figures import ratio_stderr
from onset.score.heldout import Unigram, losses, measure
from onset.store.text import documents as read_documents
from onset.study.spec import Shape, TokenizerSpec

Folder = Callable[..., Path]
TEXTS = {
    "en": ["Tom has a blue lamp. " * times for times in (1, 3, 14)] + ["What has the man on the hill?"],
    "zh": ["阿尔的首都是文恩。" * times for times in (1, 2, 14)],
}


def plain(lm: CausalLM, documents: Sequence[str], first: int, end: list[int]) -> tuple[float, int]:
    """Nats and tokens, each token predicted by a pass of its own over disjoint windows."""
    nats, tokens = 0.0, 0
    for document in documents:
        whole = [first, *lm.encoder.ids([document])[0], *end]
        for at in range(1, len(whole)):
            # The window that holds the token: full ones one after another, the last reaching back.
            window = (at - 1) // lm.context
            last = min((window + 1) * lm.context, len(whole) - 1)
            low = max(last - lm.context, 0)
            with torch.inference_mode():
                logits = lm.logits(lm.states(torch.tensor([whole[low:at]]))[0, -1:])[0]
            nats -= float(torch.log_softmax(logits.double(), -1)[whole[at]])
            tokens += 1
    return nats, tokens


@pytest.fixture(scope="module")
def ours() -> tuple[Decoder, Tokenizer]:
    """A decoder of our own with its tokenizer, context 96."""
    torch.manual_seed(5)
    tokenizer = train([text for documents in TEXTS.values() for text in documents], TokenizerSpec(vocab=270))
    shape = Shape(layers=2, width=32, heads=4, kv_heads=2, hidden=48, context=96)
    decoder = Decoder(shape, tokenizer.vocab)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.mul_(2.0)
    return decoder, tokenizer


def test_loss_equals_the_plain_computation(ours: tuple[Decoder, Tokenizer]) -> None:
    """Lost otherwise: the axis of every figure."""
    lm = CausalLM.of(*ours)
    rows = {row["language"]: row for row in losses(lm, TEXTS)}
    assert list(rows) == ["en", "zh", "all"]
    together = 0.0
    for language, documents in TEXTS.items():
        nats, tokens = plain(lm, documents, ours[1].eos, [ours[1].eos])
        together += nats
        assert rows[language]["nats_per_token"] == pytest.approx(nats / tokens, abs=1e-5)
        assert rows[language]["tokens"] == tokens
        assert rows[language]["bytes"] == sum(len(text.encode()) for text in documents)
    assert rows["all"]["tokens"] == rows["en"]["tokens"] + rows["zh"]["tokens"]
    assert rows["all"]["nats_per_token"] == pytest.approx(together / rows["all"]["tokens"], abs=1e-5)


@pytest.mark.parametrize("make", ["llama", "mamba", "mistral"])
def test_bits_per_byte_count_the_text_and_nothing_else(make: str, model_folder: Folder) -> None:
    """Lost otherwise: one axis for models of different makers."""
    lm = hub.load(model_folder(make))
    lm.context = 64
    documents = [text[:200] for text in TEXTS["en"]]
    assert lm.encoder.blank is not None
    nats, tokens = plain(lm, documents, lm.encoder.blank, [])
    (row,) = losses(lm, {"en": documents})
    size = sum(len(text.encode()) for text in documents)
    assert row["bits_per_byte"] == pytest.approx(nats / math.log(2) / size, rel=1e-5)
    assert row["tokens"] == tokens


def test_the_figure_does_not_depend_on_packing(ours: tuple[Decoder, Tokenizer]) -> None:
    """Lost otherwise: two machines that report two losses of one checkpoint."""
    lm = CausalLM.of(*ours)
    whole = losses(lm, TEXTS)
    for other in (losses(lm, TEXTS, batch_tokens=1), losses(lm, {name: text[::-1] for name, text in TEXTS.items()})):
        for one, two in zip(whole, other, strict=True):
            assert two["nats_per_token"] == pytest.approx(one["nats_per_token"], abs=1e-6)


def test_overlapping_windows_count_each_token_once(ours: tuple[Decoder, Tokenizer]) -> None:
    """Lost otherwise: losses of long documents, counted twice or with holes."""
    lm = CausalLM.of(*ours)
    whole, half, every = (losses(lm, TEXTS, stride=stride)[0] for stride in (None, 48, 1))
    assert whole["tokens"] == half["tokens"] == every["tokens"]
    documents, end = TEXTS["en"], ours[1].eos
    nats = 0.0
    for document in documents:
        ids = [end, *lm.encoder.ids([document])[0], end]
        for at in range(1, len(ids)):
            with torch.inference_mode():
                logits = lm.logits(lm.states(torch.tensor([ids[max(at - 96, 0) : at]]))[0, -1:])[0]
            nats -= float(torch.log_softmax(logits, -1)[ids[at]])
    assert every["nats_per_token"] == pytest.approx(nats / every["tokens"], abs=1e-5)
    with pytest.raises(OnsetError, match="stride"):
        losses(lm, TEXTS, stride=97)


def test_a_unigram_model_has_unigram_normalised_loss_zero(ours: tuple[Decoder, Tokenizer]) -> None:
    """Lost otherwise: the axis that compares tokenizers."""
    _, tokenizer = ours
    lm = CausalLM.of(*ours)
    unigram = Unigram.of_texts([text for documents in TEXTS.values() for text in documents], lm.encoder, lm.vocab)
    log_probs = torch.from_numpy(unigram.log_probs).float()
    blind = CausalLM(
        ours[0], lm.encoder, context=96, name="unigram", head=None,
        states=lambda tokens, _, wanted: log_probs.expand(1, len(wanted), tokenizer.vocab),
    )  # fmt: skip
    for row in losses(blind, TEXTS, unigram=unigram):
        assert row["unigram_normalised"] == pytest.approx(0.0, abs=1e-6)
    assert np.exp(unigram.log_probs).sum() == pytest.approx(1.0)
    assert all(row["unigram_normalised"] is None for row in losses(lm, TEXTS)), "none without a reference"


def test_no_text_no_number_and_no_loss_are_errors(ours: tuple[Decoder, Tokenizer]) -> None:
    """Lost otherwise: a broken model or an empty file that stands in a table as a figure."""
    lm = CausalLM.of(*ours)
    for nothing in ({}, {"en": []}, {"en": [""]}):
        with pytest.raises(OnsetError, match="text"):
            losses(lm, nothing)
    eos = ours[1].eos
    answers = torch.tensor([*lm.encoder.ids(["Tom has"])[0], eos])
    for logit, word in ((float("nan"), "not finite"), (1e4, "loss is")):
        known = logit * torch.nn.functional.one_hot(answers, lm.vocab).float()[None]
        broken = CausalLM(
            ours[0], lm.encoder, context=96, name="broken", head=None, states=lambda *_, known=known: known
        )
        with pytest.raises(OnsetError, match=word):
            losses(broken, {"en": ["Tom has"]})


def test_a_tokenizer_that_loses_text_gives_no_figure(model_folder: Folder) -> None:
    """Lost otherwise: bits per byte of bytes that the model never saw."""
    from tokenizers import normalizers

    backend = Backend(models.BPE(vocab={"a": 0, "b": 1, "<end>": 2}, merges=[], unk_token=None))
    backend.normalizer = normalizers.Lowercase()
    lm = hub.load(model_folder("llama"))
    lossy = CausalLM(
        lm.model, Encoder(backend, start=2, blank=2, eos=2), context=96, name="lossy", states=lm._states, head=lm.logits
    )
    assert losses(lossy, {"en": ["abba"]})[0]["bytes"] == 4
    with pytest.raises(OnsetError, match="drops or changes"):
        losses(lossy, {"en": ["abba, said the man"]})
    told = losses(lossy, {"en": ["abba" * 9 + "?"]}, most_changed=0.05)[0]
    assert (told["changed"], told["bytes"]) == (1, 37), "counted, and allowed up to the stated share"


def _trained(kind: str, size: int, texts: Sequence[str]) -> Encoder:
    """A tokenizer of about so many entries: byte-level BPE, or pieces with Metaspace and bytes for the rest."""
    end = "<end>"
    if kind == "byte-level":
        backend = Backend(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=size, special_tokens=[end], initial_alphabet=alphabet, show_progress=False
        )
        backend.train_from_iterator(texts, trainer)
    else:
        rough = Backend(models.Unigram())
        rough.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=size - 256, special_tokens=[end, "<unk>"], unk_token="<unk>", show_progress=False,
            initial_alphabet=[],
        )  # fmt: skip
        # As SentencePiece's character coverage: rare characters get no piece, and are read as bytes.
        frequent = Counter(character for one in texts for character in one).most_common((size - 256) // 2)
        covered = {character for character, _ in frequent}
        seen = ("".join(character if character in covered else " " for character in one) for one in texts)
        rough.train_from_iterator(seen, trainer)
        found = json.loads(rough.to_str())["model"]["vocab"]
        pieces = [(piece, score) for piece, score in found] + [(f"<0x{byte:02X}>", -20.0) for byte in range(256)]
        backend = Backend(models.Unigram(pieces, unk_id=1, byte_fallback=True))
        backend.pre_tokenizer = pre_tokenizers.Metaspace()
        backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    mark = backend.token_to_id(end)
    return Encoder(backend, start=mark, blank=mark, eos=None)


LETTERS = {
    (600, "en"): 40_000, (600, "zh"): 40_000, (3_000, "en"): 300_000, (3_000, "zh"): 100_000,
    (20_000, "en"): 1_500_000, (20_000, "zh"): 200_000,
}  # fmt: skip
"""Characters that give a tokenizer of so many entries: a language of few letters needs more of them."""


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("kind", ["byte-level", "pieces"])
@pytest.mark.parametrize(
    "size", [600, pytest.param(3_000, marks=pytest.mark.slow), pytest.param(20_000, marks=pytest.mark.slow)]
)
def test_bits_per_byte_are_right_for_tokenizers_of_every_size(
    kind: str, size: int, language: str, ours: tuple[Decoder, Tokenizer]
) -> None:
    """Lost otherwise: the one axis for models with different tokenizers. Real text, within a tenth of a percent."""
    folder = os.environ.get("ONSET_SHARED")
    if folder is None:
        pytest.skip("ONSET_SHARED does not name the folder with data/text")
    text = Path(folder) / "data" / "text"
    budget, texts = LETTERS[size, language], []
    for document in read_documents(text / f"{language}.train.jsonl.gz"):
        texts.append(document[:4_000])
        budget -= len(texts[-1])
        if budget < 0:
            break
    encoder = _trained(kind, size, texts)
    vocab = encoder._backend.get_vocab_size()  # type: ignore[union-attr]
    assert 0.9 * size <= vocab <= size
    documents = [document[:300] for document in islice(read_documents(text / f"{language}.valid.jsonl.gz"), 4)]
    torch.manual_seed(size)
    decoder = Decoder(Shape(layers=1, width=16, heads=2, kv_heads=1, hidden=32, context=48), vocab)
    lm = CausalLM.of(decoder, ours[1])
    lm.encoder = encoder
    nats, _ = plain(lm, documents, encoder.start or 0, [])
    whole, packed = (measure(lm, {language: documents}, batch_tokens=tokens).rows[0] for tokens in (None, 1))
    size_of = sum(len(document.encode()) for document in documents)
    assert whole["bits_per_byte"] == pytest.approx(nats / math.log(2) / size_of, rel=1e-3)
    assert packed["bits_per_byte"] == pytest.approx(whole["bits_per_byte"], rel=1e-6)
    assert whole["bits_per_character"] * sum(map(len, documents)) == pytest.approx(whole["bits_per_byte"] * size_of)


def test_the_worked_example_of_the_documentation(ours: tuple[Decoder, Tokenizer]) -> None:
    """Lost otherwise: formulas in docs/loss.md that the code does not follow."""
    backend = Backend(models.BPE(vocab={"a": 0, "b": 1, "<end>": 2}, merges=[]))
    encoder = Encoder(backend, start=2, blank=2, eos=2)
    known = torch.log(torch.tensor([0.5, 0.25, 0.25]))
    lm = CausalLM(
        ours[0], encoder, context=96, name="by hand", head=None,
        states=lambda tokens, _, wanted: known.expand(1, len(wanted), 3),
    )  # fmt: skip
    unigram = Unigram.of_texts(["aab"], encoder, 3)
    assert np.exp(unigram.log_probs) == pytest.approx([3 / 7, 2 / 7, 2 / 7])
    row = losses(lm, {"en": ["abba"]}, unigram=unigram)[0]
    assert row["nats_per_token"] == pytest.approx(8 * math.log(2) / 5)
    assert row["bits_per_byte"] == pytest.approx(1.5)
    by_hand = (8 * math.log(2) - 2 * math.log(7 / 3) - 3 * math.log(7 / 2)) / 5
    assert row["unigram_normalised"] == pytest.approx(by_hand)
    assert by_hand == pytest.approx(0.0185, abs=5e-5)
    two = losses(lm, {"en": ["abba", "aa"]})[0]
    assert two["bits_per_byte"] == pytest.approx(8 / 6)
    assert two["bits_per_byte_stderr"] == pytest.approx(math.sqrt(2 * 2 * (2 / 3) ** 2) / 6)
    assert losses(lm, {"en": ["abba"]})[0]["bits_per_byte_stderr"] is None, "none from one document"


def test_standard_errors_are_those_of_resampled_documents() -> None:
    """Lost otherwise: an error bar of tokens, which are not independent, for one of documents."""
    draw = np.random.default_rng(0)
    size = draw.integers(50, 2000, 200).astype(float)
    nats = size * draw.normal(1.0, 0.2, 200)
    again = draw.integers(0, 200, (2000, 200))
    resampled = nats[again].sum(1) / size[again].sum(1)
    assert ratio_stderr(nats, size) == pytest.approx(resampled.std(), rel=0.08)
