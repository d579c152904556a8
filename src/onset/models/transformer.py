"""The decoder of the paper in one file: RMSNorm, SwiGLU, grouped queries, rotary on half of each head.

It is Glm of transformers: ``onset.models.files.save`` writes a folder that ``AutoModelForCausalLM.from_pretrained``
loads, with the same logits. The one difference inside is that queries, keys and values come from one matrix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from onset import reading
from onset.errors import OnsetError
from onset.models import initialisation
from onset.models.contract import CausalModel, Role
from onset.models.files import read_weights
from onset.study.spec import Shape

EPSILON = 1e-5
"""Added to the mean square in RMSNorm."""


class Block(nn.Module):
    """Attention, then feed-forward, each on a normed copy of the residual stream and added to it."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = shape.heads, shape.kv_heads, shape.head_dim
        width, rows = shape.width, (shape.heads + 2 * shape.kv_heads) * shape.head_dim
        self.attention_gain = nn.Parameter(torch.empty(width))
        self.qkv = nn.Parameter(torch.empty(rows, width))
        self.out = nn.Parameter(torch.empty(width, width))
        self.feed_gain = nn.Parameter(torch.empty(width))
        self.gate_up = nn.Parameter(torch.empty(2 * shape.hidden, width))
        self.down = nn.Parameter(torch.empty(width, shape.hidden))

    def forward(self, stream: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """One block's step: stream (batch, length, width) in and out."""
        stream = stream + self._attend(normed(stream, self.attention_gain), cosine, sine)
        gate, up = F.linear(normed(stream, self.feed_gain), self.gate_up).chunk(2, dim=-1)
        return stream + F.linear(F.silu(gate) * up, self.down)

    def _attend(self, inputs: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        batch, length, width = inputs.shape
        turning, group = self.heads + self.kv_heads, self.heads // self.kv_heads
        # Scores do not change when the dimensions of queries and keys change places alike: with a pair's two members
        # in two halves, the turning reads and writes whole stretches of memory, which compilers make fast.
        weight = _pairs_in_halves(self.qkv, turning, self.head_dim)
        mixed = F.linear(inputs, weight).view(batch, length, -1, self.head_dim)
        turned = rotated(mixed[:, :, :turning], cosine, sine).transpose(1, 2)
        queries, keys = turned.split((self.heads, self.kv_heads), dim=1)
        values = mixed[:, :, turning:].transpose(1, 2)
        if group > 1 and queries.is_cuda and queries.dtype == torch.float32:
            # No kernel of float32 takes groups there: torch would hold all scores at once.
            keys, values = keys.repeat_interleave(group, 1), values.repeat_interleave(group, 1)
        read = F.scaled_dot_product_attention(
            queries, keys, values, is_causal=True, enable_gqa=keys.shape[1] != self.heads
        )
        return F.linear(read.transpose(1, 2).reshape(batch, length, width), self.out)


class Decoder(CausalModel):
    """The paper's causal language model. Weights are float32, drawn from ``seed``, or unset for None."""

    shape: Shape

    def __init__(self, shape: Shape, vocab: int, seed: int | None = 0) -> None:
        super().__init__()
        self.shape, self.vocab = shape, vocab
        self.embedding = nn.Parameter(torch.empty(vocab, shape.width))
        self.blocks = nn.ModuleList([Block(shape) for _ in range(shape.layers)])
        self.gain = nn.Parameter(torch.empty(shape.width))
        self.head = None if shape.tied else nn.Parameter(torch.empty(vocab, shape.width))
        cosine, sine = rotary_table(shape)
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("sine", sine, persistent=False)
        if seed is not None:
            self.initialise(seed)

    cosine: Tensor
    sine: Tensor

    def read(self, tokens: Tensor, *, recompute: int = 0) -> tuple[Tensor, None]:
        """See ``CausalModel``: the normed stream after the last block."""
        length = tokens.shape[1]
        stream = F.embedding(tokens, self.embedding)
        cosine, sine = self.cosine[:length].to(stream.dtype), self.sine[:length].to(stream.dtype)
        for index, block in enumerate(self.blocks):
            if index < recompute:
                stream = checkpoint(block, stream, cosine, sine, use_reentrant=False)
            else:
                stream = block(stream, cosine, sine)
        return normed(stream, self.gain), None

    @property
    def output_matrix(self) -> Tensor:
        """See ``CausalModel``: the head, or the embedding where they are tied."""
        return self.embedding if self.head is None else self.head

    def layers(self) -> Sequence[nn.Module]:
        """See ``CausalModel``."""
        return list(self.blocks)

    def role(self, name: str) -> Role:
        """See ``CausalModel``."""
        if name in ("embedding", "head"):
            return "embedding" if name == "embedding" else "head"
        return "vector" if name.endswith("gain") else "matrix"

    def deviation(self, name: str) -> float:
        """See ``CausalModel``."""
        return initialisation.deviation(name, self.shape)

    def matrices(self, name: str, stored: Tensor) -> tuple[Tensor, ...]:
        """See ``CausalModel``: queries, keys and values are apart, and gates and ups."""
        if name.endswith(".qkv"):
            return stored.split(_qkv_rows(self.shape))
        return stored.chunk(2) if name.endswith(".gate_up") else (stored,)

    def reset_buffers(self, device: torch.device | str) -> None:
        """See ``CausalModel``."""
        self.cosine, self.sine = (table.to(device) for table in rotary_table(self.shape))

    def blank(self) -> Self:
        """See ``CausalModel``."""
        return type(self)(self.shape, self.vocab, seed=None)

    def config(self, eos: int) -> dict[str, Any]:
        """See ``CausalModel``."""
        return glm_config(self.shape, self.vocab, eos)

    def export(self) -> dict[str, Tensor]:
        """See ``CausalModel``: Glm's names, float32."""
        return glm_weights(self)

    def take(self, weights: Mapping[str, Tensor]) -> None:
        """See ``CausalModel``."""
        take_glm_weights(self, weights)

    def loss(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy in nats per token of targets (batch, length)."""
        logits = self(tokens)
        return F.cross_entropy(logits.view(-1, self.vocab).float(), targets.reshape(-1))


def normed(stream: Tensor, gain: Tensor) -> Tensor:
    """RMSNorm (Zhang and Sennrich 2019, arXiv 1910.07467), the mean square in float32."""
    wide = stream.float()
    scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + EPSILON)
    return (wide * scale).to(stream.dtype) * gain


def rotary_table(shape: Shape) -> tuple[Tensor, Tensor]:
    """Cosines and sines (context, 1, head_dim / 4) that turn half of a head (Su et al. 2021, arXiv 2104.09864)."""
    turning = shape.head_dim // 2
    rates = 1.0 / shape.rotary_base ** (torch.arange(0, turning, 2, dtype=torch.float32) / turning)
    angles = torch.outer(torch.arange(shape.context, dtype=torch.float32), rates)
    return angles.cos()[:, None, :], angles.sin()[:, None, :]


def _pairs_in_halves(qkv: Tensor, turning: int, head_dim: int) -> Tensor:
    """Rows of queries and keys with the members of each pair (0, 1), (2, 3), ... a quarter of a head apart."""
    heads = qkv[: turning * head_dim].unflatten(0, (turning, head_dim))
    pairs, rest = heads.split(head_dim // 2, dim=1)
    halves = pairs.unflatten(1, (-1, 2)).transpose(1, 2).flatten(1, 2)
    return torch.cat((torch.cat((halves, rest), 1).flatten(0, 1), qkv[turning * head_dim :]))


def rotated(heads: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Heads (batch, length, heads, head_dim), the first half of each turned by position, its pairs a quarter apart."""
    quarter = heads.shape[-1] // 4
    first, second, rest = heads.split((quarter, quarter, 2 * quarter), dim=-1)
    return torch.cat((first * cosine - second * sine, first * sine + second * cosine, rest), dim=-1)


def glm_config(shape: Shape, vocab: int, eos: int) -> dict[str, Any]:
    """config.json for Glm of transformers, readable by its versions before and after ``rope_parameters``."""
    return {
        "architectures": ["GlmForCausalLM"],
        "model_type": "glm",
        "vocab_size": vocab,
        "hidden_size": shape.width,
        "intermediate_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "max_position_embeddings": shape.context,
        "rms_norm_eps": EPSILON,
        "rope_theta": shape.rotary_base,
        "partial_rotary_factor": 0.5,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": shape.rotary_base,
            "partial_rotary_factor": 0.5,
        },
        "tie_word_embeddings": shape.tied,
        "bos_token_id": eos,
        "eos_token_id": eos,
        "pad_token_id": eos,
        "torch_dtype": "float32",
    }


def shape_of(config: Mapping[str, Any]) -> Shape:
    """The shape that a ``glm_config`` tells. KeyError or ValueError for another kind of configuration."""
    return Shape(
        layers=config["num_hidden_layers"],
        width=config["hidden_size"],
        heads=config["num_attention_heads"],
        kv_heads=config["num_key_value_heads"],
        hidden=config["intermediate_size"],
        context=config["max_position_embeddings"],
        tied=config["tie_word_embeddings"],
        rotary_base=config["rope_parameters"]["rope_theta"],
    )


def glm_weights(model: Decoder) -> dict[str, Tensor]:
    """The model's weights under Glm's names, float32 on the CPU."""
    weights = {"model.embed_tokens.weight": model.embedding, "model.norm.weight": model.gain}
    if model.head is not None:
        weights["lm_head.weight"] = model.head
    sizes = _qkv_rows(model.shape)
    for index, block in enumerate(model.blocks):
        assert isinstance(block, Block)
        queries, keys, values = block.qkv.split(sizes)
        named = {
            "input_layernorm": block.attention_gain,
            "self_attn.q_proj": queries,
            "self_attn.k_proj": keys,
            "self_attn.v_proj": values,
            "self_attn.o_proj": block.out,
            "post_attention_layernorm": block.feed_gain,
            "mlp.gate_up_proj": block.gate_up,
            "mlp.down_proj": block.down,
        }
        weights |= {f"model.layers.{index}.{name}.weight": tensor for name, tensor in named.items()}
    return {name: tensor.detach().to("cpu", torch.float32, copy=True).contiguous() for name, tensor in weights.items()}


@torch.no_grad()
def take_glm_weights(model: Decoder, weights: Mapping[str, Tensor]) -> None:
    """Put Glm's weights into the model: the inverse of ``glm_weights``. KeyError or ValueError for a misfit."""
    _put(model.embedding, weights["model.embed_tokens.weight"])
    _put(model.gain, weights["model.norm.weight"])
    if model.head is not None:
        _put(model.head, weights["lm_head.weight"])
    for index, block in enumerate(model.blocks):
        assert isinstance(block, Block)
        at = {
            name.removeprefix(f"model.layers.{index}.").removesuffix(".weight"): tensor
            for name, tensor in weights.items()
            if name.startswith(f"model.layers.{index}.")
        }
        _put(block.qkv, torch.cat([at[f"self_attn.{part}_proj"] for part in "qkv"]))
        _put(block.attention_gain, at["input_layernorm"])
        _put(block.out, at["self_attn.o_proj"])
        _put(block.feed_gain, at["post_attention_layernorm"])
        _put(block.gate_up, at["mlp.gate_up_proj"])
        _put(block.down, at["mlp.down_proj"])
    described = 2 + (model.head is not None) + 8 * len(model.blocks)
    if len(weights) != described:
        raise ValueError(f"the weights hold {len(weights)} tensors where config.json describes {described}")


def load(folder: Path) -> Decoder:
    """The decoder of a folder that ``save`` wrote, float32. A damaged or foreign one is an OnsetError."""
    try:
        config = reading.json_object(folder / "config.json")
        shape = shape_of(config)
        model = Decoder(shape, config["vocab_size"], seed=None)
        model.take(read_weights(folder))
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RuntimeError, SafetensorError) as error:
        raise _damaged(folder, str(error)) from error
    except OnsetError as error:
        raise _damaged(folder, error.what) from error
    return model


def _damaged(folder: Path, why: str) -> OnsetError:
    return OnsetError(
        f"cannot load the checkpoint: {why}",
        where=folder,
        advice="delete this folder and run the study again: it is made anew",
    )


def _qkv_rows(shape: Shape) -> list[int]:
    """Rows of the fused matrix that belong to queries, keys and values."""
    return [shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim, shape.kv_heads * shape.head_dim]


def _put(parameter: Tensor, value: Tensor) -> None:
    if not value.is_floating_point():
        raise ValueError(f"a weight is of type {value.dtype}")
    if parameter.shape != value.shape:
        raise ValueError(f"a weight is {tuple(value.shape)} where the shape asks for {tuple(parameter.shape)}")
    parameter.copy_(value)
