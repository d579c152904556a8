"""A study that is over in seconds, on the embedded world, and small models of another make."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from onset.data.tokenizer import Tokenizer
from onset.study.files import parse
from onset.study.spec import Study

SMALL = """
name = "small"

[world]
documents = 3000
valid_documents = 40
items = 12

[mixes.main]
sources = [
  { name = "en", path = "world", language = "en", weight = 4 },
  { name = "zh", path = "world", language = "zh", weight = 1 },
]

[tokenizers.main]
vocab = 600

[[validation]]
name = "world"
sources = [
  { name = "en", path = "world", language = "en" },
  { name = "zh", path = "world", language = "zh" },
]

[[tasks]]
name = "world_scripts_en"
[[tasks]]
name = "world_facts_zh"

[[runs]]
name = "w16"
tokens = 24_000
batch = 8
checkpoints = 3
shape = { layers = 1, width = 16, heads = 2, kv_heads = 1, hidden = 32, context = 128 }

[[runs]]
name = "w24"
tokens = 24_000
batch = 8
checkpoints = 3
shape = { layers = 1, width = 24, heads = 2, kv_heads = 1, hidden = 32, context = 128 }
"""


@pytest.fixture(scope="session")
def small() -> Study:
    """Two runs of 23 steps, three checkpoints each, two tasks of twelve items."""
    return parse(SMALL)


@pytest.fixture
def llama_folder() -> Callable[..., Path]:
    """Writes the folder of a small random Llama: ``llama_folder(folder, tokenizer, seed=1, width=16)``."""
    return _llama_folder


def _llama_folder(
    folder: Path, tokenizer: Tokenizer, *, seed: int = 0, width: int = 16, layers: int = 1, context: int = 256
) -> Path:
    draw, hidden = torch.Generator().manual_seed(seed), 2 * width
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": width,
        "intermediate_size": hidden, "num_hidden_layers": layers, "num_attention_heads": 2, "rms_norm_eps": 1e-6,
        "max_position_embeddings": context, "vocab_size": tokenizer.vocab, "tie_word_embeddings": False,
    }  # fmt: skip
    shapes = {"model.embed_tokens": (tokenizer.vocab, width), "lm_head": (tokenizer.vocab, width)}
    for layer in range(layers):
        of = dict.fromkeys(("q_proj", "k_proj", "v_proj", "o_proj"), (width, width))
        shapes |= {f"model.layers.{layer}.self_attn.{name}": shape for name, shape in of.items()}
        of = {"gate_proj": (hidden, width), "up_proj": (hidden, width), "down_proj": (width, hidden)}
        shapes |= {f"model.layers.{layer}.mlp.{name}": shape for name, shape in of.items()}
    weights = {f"{name}.weight": torch.randn(shape, generator=draw) * 0.2 for name, shape in shapes.items()}
    gains = [f"model.layers.{at}.{name}_layernorm" for at in range(layers) for name in ("input", "post_attention")]
    weights |= {f"{name}.weight": torch.ones(width) for name in [*gains, "model.norm"]}
    folder.mkdir(parents=True)
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    tokenizer.save(folder)
    return folder
