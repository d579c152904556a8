"""Held-out loss equals a plain token-by-token computation, whatever the packing, and refuses what is no loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from onset.errors import OnsetError
from onset.lm import hub
from onset.lm.causal import CausalLM
from onset.lm.heldout import Unigram, losses
from onset.lm.model import Decoder
from onset.lm.tokenizer import Tokenizer, train
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
    (row, _) = losses(lm, {"en": documents})
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
    from tokenizers import Tokenizer as Backend
    from tokenizers import models, normalizers

    from onset.lm.encoding import Encoder

    backend = Backend(models.BPE(vocab={"a": 0, "b": 1, "<end>": 2}, merges=[], unk_token=None))
    backend.normalizer = normalizers.Lowercase()
    lm = hub.load(model_folder("llama"))
    lossy = CausalLM(
        lm.model, Encoder(backend, start=2, blank=2, eos=2), context=96, name="lossy", states=lm._states, head=lm.logits
    )
    assert losses(lossy, {"en": ["abba"]})[0]["bytes"] == 4
    with pytest.raises(OnsetError, match="drops or changes"):
        losses(lossy, {"en": ["abba, said the man"]})
