"""Sampled answers: drawn from the model's own distribution, and the same whatever is asked beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from onset.score import huggingface as hub
from onset.score.causal import CausalLM
from onset.score.scorer import Scorer
from onset.tasks.task import Request, Sampling

Folder = Callable[..., Path]
SHOTS = tuple(f"Question: What has {name}? Answer: a blue lamp\n\n" for name in ("Tom", "Ann", "Bob"))


def asked(count: int, sampling: Sampling, tokens: int) -> list[Request]:
    return [
        Request(f"i{number}", 0, True, "generate", f"Question: What has {number}? Answer:", " a", shots=SHOTS,
                stop=("\n",), max_tokens=tokens, sampling=sampling)
        for number in range(count)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def lm(model_folder: Folder) -> CausalLM:
    return hub.load(model_folder("llama"))


def test_samples_do_not_depend_on_what_else_is_asked(lm: CausalLM) -> None:
    """Lost otherwise: samples that change with the batch, with the chunk or after a resumption."""
    requests = asked(4, Sampling(3, 1.0, seed=7), tokens=8)
    whole = Scorer(lm, batch_tokens=4000).samples(requests)
    assert all(texts is not None and len(texts) == 3 for texts in whole)
    assert [Scorer(lm, batch_tokens=60).samples([one])[0] for one in requests] == whole
    other = Scorer(lm).samples([replace(one, sampling=Sampling(3, 1.0, seed=8)) for one in requests])
    assert other != whole, "another seed, other samples"


def test_one_token_is_drawn_as_often_as_the_model_says(lm: CausalLM) -> None:
    """Lost otherwise: pass@k of another temperature than the one that is stated."""
    temperature, count = 0.7, 1500
    (request,) = asked(1, Sampling(count, temperature), tokens=1)
    ids = lm.encoder.ids([request.prompt.rstrip()])[0]
    ids = ([] if lm.encoder.start is None else [lm.encoder.start]) + ids
    with torch.inference_mode():
        logits = lm.logits(lm.states(torch.tensor([ids]))[0])[-1].double()
    share: Counter[str] = Counter()
    for token, value in enumerate(torch.softmax(logits / temperature, -1).tolist()):
        share[("" if token == lm.encoder.eos else lm.encoder.decode([token])).partition("\n")[0]] += value  # type: ignore[assignment]
    (texts,) = Scorer(lm).samples([request])
    seen = Counter(texts or [])
    for text, expected in share.most_common(8):
        assert abs(seen[text] / count - expected) < 4.5 * np.sqrt(expected / count), text


def test_a_temperature_near_zero_gives_the_greedy_answer(lm: CausalLM) -> None:
    """Lost otherwise: sampled and greedy answers that come from different distributions."""
    requests = asked(3, Sampling(2, 1e-4), tokens=10)
    greedy = Scorer(lm).generate(requests)
    assert Scorer(lm).samples(requests) == [[text, text] for text in greedy]


def test_a_model_whose_cache_is_not_shared_draws_the_same(model_folder: Folder) -> None:
    """Lost otherwise: samples of recurrent models."""
    lm = hub.load(model_folder("mamba"))
    requests = asked(2, Sampling(2, 1.0, seed=3), tokens=5)
    found = Scorer(lm).samples(requests)
    assert found == [Scorer(lm).samples([one])[0] for one in requests]
    assert found[0] != found[1] or len(set(found[0] or [])) > 1


def test_no_room_for_an_answer_is_missing(lm: CausalLM) -> None:
    """Lost otherwise: an empty text counted as a wrong sample."""
    (request,) = asked(1, Sampling(2), tokens=4)
    assert Scorer(lm).samples([replace(request, question="What is this? " * 400)]) == [None]
