"""Llama without the transformers library, which takes longer to import than a small model takes to score a task.

Only plain Llama is read here (no scaled rotation, no biases, no quantised weights, every key of the configuration
known); whatever else a folder holds is for ``hub`` and the library. The logits are the library's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer as Backend
from torch import Tensor, nn

from onset import reading
from onset.errors import OnsetError
from onset.score.causal import CausalLM
from onset.score.encoding import Encoder
from onset.score.weights import AGAIN, FAULTS, check_shapes, check_used, files_of

NEEDED = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings",
    "rms_norm_eps", "vocab_size",
)  # fmt: skip
FIXED: Mapping[str, tuple[Any, ...]] = {
    "model_type": ("llama",), "architectures": (["LlamaForCausalLM"], None), "hidden_act": ("silu", None),
    "attention_bias": (False, None), "mlp_bias": (False, None), "pretraining_tp": (1, None), "rope_scaling": (None,),
}  # fmt: skip
"""Keys that must have one of these values (None: absent), because they change what is computed."""
HARMLESS = {
    "num_key_value_heads", "head_dim", "rope_theta", "rope_parameters", "tie_word_embeddings", "bos_token_id",
    "eos_token_id", "pad_token_id", "dtype", "torch_dtype", "transformers_version", "use_cache", "initializer_range",
    "attention_dropout", "_name_or_path", "max_sequence_length",
}  # fmt: skip
PLAIN_TOKENIZERS = ("PreTrainedTokenizerFast", "TokenizersBackend")
"""Classes that are their tokenizer.json and nothing else."""
PLAIN_KEYS = {
    "tokenizer_class", "bos_token", "eos_token", "pad_token", "unk_token", "model_max_length", "backend", "is_local",
    "clean_up_tokenization_spaces", "split_special_tokens", "added_tokens_decoder", "padding_side", "truncation_side",
    "model_input_names", "chat_template",
}  # fmt: skip


LAYERS = 10_000
"""Layers above are no model."""


def readable(config: Mapping[str, Any]) -> bool:
    """Whether a configuration is one that this file computes exactly."""
    if not config.keys() <= {*NEEDED, *FIXED, *HARMLESS} or not all(config.get(key) for key in NEEDED):
        return False
    rope = config.get("rope_parameters") or {}
    return (
        all(config.get(key) in allowed for key, allowed in FIXED.items())
        and rope.keys() <= {"rope_type", "rope_theta"}
        and rope.get("rope_type", "default") == "default"
    )


class Block(nn.Module):
    """One layer's weights, queries, keys and values in one matrix, and gate and up in another."""

    def __init__(self, weights: Mapping[str, Tensor], at: str, heads: int, kv_heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, head_dim

        def of(*names: str) -> nn.Parameter:
            parts = [weights[f"{at}.{name}.weight"] for name in names]
            return nn.Parameter(torch.cat(parts) if len(parts) > 1 else parts[0], requires_grad=False)

        self.attention_gain = of("input_layernorm")
        self.qkv = of("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
        self.out = of("self_attn.o_proj")
        self.feed_gain = of("post_attention_layernorm")
        self.gate_up = of("mlp.gate_proj", "mlp.up_proj")
        self.down = of("mlp.down_proj")


class Llama(nn.Module):
    """The weights, for ``onset.score.decoder``."""

    cosine: Tensor
    sine: Tensor

    def __init__(self, config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        heads = int(config["num_attention_heads"])
        kv_heads = int(config.get("num_key_value_heads") or heads)
        head_dim = int(config.get("head_dim") or config["hidden_size"] // heads)
        self.epsilon = float(config["rms_norm_eps"])
        self.embedding = nn.Parameter(weights["model.embed_tokens.weight"], requires_grad=False)
        layers = range(int(config["num_hidden_layers"]))
        self.blocks = nn.ModuleList(
            [Block(weights, f"model.layers.{layer}", heads, kv_heads, head_dim) for layer in layers]
        )
        self.gain = nn.Parameter(weights["model.norm.weight"], requires_grad=False)
        tied = bool(config.get("tie_word_embeddings"))
        self.head = None if tied else nn.Parameter(weights["lm_head.weight"], requires_grad=False)
        theta = float((config.get("rope_parameters") or config).get("rope_theta") or 10_000.0)
        rates = 1.0 / theta ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
        angles = torch.outer(torch.arange(int(config["max_position_embeddings"]), dtype=torch.float32), rates)
        self.register_buffer("cosine", angles.cos()[:, None, :], persistent=False)
        self.register_buffer("sine", angles.sin()[:, None, :], persistent=False)

    @property
    def output_matrix(self) -> Tensor:
        """The (vocab, width) matrix of the logits."""
        return self.embedding if self.head is None else self.head


def _shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The tensors that a configuration describes, with their shapes."""
    sizes = {
        key: reading.count(config[key], key, where="config.json", least=1) for key in NEEDED if key != "rms_norm_eps"
    }
    width, hidden, heads = (sizes[key] for key in ("hidden_size", "intermediate_size", "num_attention_heads"))
    of_heads = reading.count(config.get("num_key_value_heads") or heads, "num_key_value_heads", where="config.json")
    head = reading.count(config.get("head_dim") or width // heads, "head_dim", where="config.json", least=2)
    if heads % of_heads or head % 2:
        raise OnsetError(f"{heads} heads of {head} on {of_heads} of keys", where="config.json", advice=AGAIN)
    keys = (of_heads * head, width)
    shapes = {
        "input_layernorm": (width,), "post_attention_layernorm": (width,),
        "self_attn.q_proj": (heads * head, width), "self_attn.k_proj": keys, "self_attn.v_proj": keys,
        "self_attn.o_proj": (width, heads * head), "mlp.gate_proj": (hidden, width), "mlp.up_proj": (hidden, width),
        "mlp.down_proj": (width, hidden),
    }  # fmt: skip
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (sizes["vocab_size"], width)}
    found["model.norm.weight"] = (width,)
    if not config.get("tie_word_embeddings"):
        found["lm_head.weight"] = (sizes["vocab_size"], width)
    if sizes["num_hidden_layers"] > LAYERS:
        raise OnsetError(f"{sizes['num_hidden_layers']} layers", where="config.json", advice=AGAIN)
    for layer in range(sizes["num_hidden_layers"]):
        found |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in shapes.items()}
    return found


def load(folder: Path, config: Mapping[str, Any], name: str, dtype: str, device: str, encoder: Encoder) -> CausalLM:
    """The model of a folder whose configuration is ``readable`` and whose weights are whole safetensors files."""
    try:
        weights = {key: value for file in files_of(folder) for key, value in load_file(file).items()}
        expected = _shapes(config)
        check_shapes(weights, expected, folder)
        tied = {"lm_head.weight"} if config.get("tie_word_embeddings") else set()
        check_used(weights.keys() - expected.keys() - tied, folder)
        weights = {key: weights[key] for key in expected}
        if dtype == "auto":
            dtype = str(weights["model.norm.weight"].dtype).removeprefix("torch.")
        wanted = getattr(torch, dtype)
        model = Llama(config, {key: value.to(wanted) for key, value in weights.items()})
    except FAULTS as error:
        raise OnsetError(f"cannot load the model: {error}", where=folder, advice="save or fetch it again") from error
    del weights
    model = model.eval().to(device)
    context = int(config["max_position_embeddings"])
    return CausalLM.of_stack(model, encoder, context=context, name=name, epsilon=model.epsilon, pairs=False)


def plain_encoder(folder: Path) -> Encoder | None:
    """The tokenizer of a folder whose tokenizer.json tells all of it; None where the library must be asked."""
    file, said = folder / "tokenizer.json", folder / "tokenizer_config.json"
    others = ("added_tokens.json", "special_tokens_map.json")
    if not file.is_file() or not said.is_file() or any((folder / name).is_file() for name in others):
        return None
    try:
        config, text = reading.json_object(said), reading.text(file)
        reading.json_dict(text, where=file)
    except OnsetError:
        return None
    if config.get("tokenizer_class") not in PLAIN_TOKENIZERS or not config.keys() <= PLAIN_KEYS:
        return None
    backend = Backend.from_str(text)
    ids = {}
    for key in ("bos_token", "eos_token", "pad_token", "unk_token"):
        token = config.get(key)
        token = token.get("content") if isinstance(token, dict) else token
        ids[key] = None if token is None else backend.token_to_id(token)
        if token is not None and ids[key] is None:
            return None  # the library would add it
    added = config.get("added_tokens_decoder") or {}
    if any(backend.token_to_id(token["content"]) != int(number) for number, token in added.items()):
        return None
    bos, eos = ids["bos_token"], ids["eos_token"]
    begins = backend.encode("a").ids[:1]
    start = bos if bos is not None and begins == [bos] else None
    return Encoder(backend, start=start, blank=bos if bos is not None else eos, eos=eos)
