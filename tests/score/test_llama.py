"""Llama read without the library says what the library says; whatever it does not compute exactly is left to it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from onset.errors import OnsetError
from onset.score import huggingface as hub
from onset.score import llama
from onset.score.causal import CausalLM

Folder = Callable[..., Path]
TEXTS = ["The capital of Arle is Venn.", " a", "阿尔的首都是文恩。", "What has Tom?\n\n  Two <|end|> spaces", ""]


def by_library(folder: Path) -> CausalLM:
    raw = json.loads((folder / "config.json").read_text())
    return hub._load_any(folder, raw, str(folder), "float32", ("cpu",), allow_bin=False, trust_remote_code=False)


@pytest.mark.parametrize("tokenizer", ["byte-level", "unigram", "sentencepiece"])
def test_logits_and_tokens_are_the_librarys(tokenizer: str, model_folder: Folder) -> None:
    """Lost otherwise: scores of a published series that no other harness gives."""
    folder = model_folder("llama", tokenizer)
    ours, theirs = hub.load(folder), by_library(folder)
    assert isinstance(ours.model, llama.Llama) == (tokenizer != "sentencepiece"), "its own class: the library is asked"
    assert ours.encoder.ids(TEXTS) == theirs.encoder.ids(TEXTS)
    assert (ours.encoder.start, ours.encoder.blank, ours.encoder.eos) == (
        theirs.encoder.start, theirs.encoder.blank, theirs.encoder.eos,
    )  # fmt: skip
    assert (ours.params, ours.context, ours.vocab, ours.width) == (
        theirs.params, theirs.context, theirs.vocab, theirs.width,
    )  # fmt: skip
    tokens = torch.randint(0, ours.vocab, (2, 40), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(
            ours.logits(ours.states(tokens)), theirs.logits(theirs.states(tokens)), rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize(
    "change",
    [
        {"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0}},
        {"rope_scaling": {"type": "linear", "factor": 2.0}},
        {"attention_bias": True},
        {"hidden_act": "gelu"},
        {"quantization_config": {"bits": 4}},
        {"model_type": "mistral"},
        {"a_key_of_tomorrow": 1},
    ],
)
def test_what_is_not_plain_llama_is_left_to_the_library(change: dict[str, object], model_folder: Folder) -> None:
    """Lost otherwise: a model computed wrongly without a word."""
    config = json.loads((model_folder("llama") / "config.json").read_text())
    assert llama.readable(config)
    assert not llama.readable({**config, **change})


def test_a_tokenizer_with_more_than_its_file_is_left_to_the_library(model_folder: Folder, tmp_path: Path) -> None:
    """Lost otherwise: prompts that begin, or split, otherwise than the model was trained."""
    copy = tmp_path / "model"
    shutil.copytree(model_folder("llama"), copy)
    said = json.loads((copy / "tokenizer_config.json").read_text())
    assert llama.plain_encoder(copy) is not None
    for change in ({"add_bos_token": True}, {"bos_token": "<new>"}, {"tokenizer_class": "LlamaTokenizer"}):
        (copy / "tokenizer_config.json").write_text(json.dumps({**said, **change}))
        assert llama.plain_encoder(copy) is None


def test_missing_weights_are_named(model_folder: Folder, tmp_path: Path) -> None:
    """Lost otherwise: a model with a random layer, scored as if it were whole."""
    from safetensors.torch import load_file, save_file

    copy = tmp_path / "model"
    shutil.copytree(model_folder("llama"), copy)
    weights = load_file(copy / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(OnsetError, match=r"model\.layers\.1\.mlp\.up_proj"):
        hub.load(copy)
