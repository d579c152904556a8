"""A causal language model as scoring needs it: tokens to states, states to logits, and whether prefixes can be shared.

What a model can do is tried on it once, not guessed from its name: whether its logits are its output matrix applied
to its last states, and whether the attention of ``onset.score.attention`` gives the same logits as its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from onset.cpu import products
from onset.cpu.products import Words
from onset.data.tokenizer import Tokenizer
from onset.errors import OnsetError
from onset.models.transformer import EPSILON, Decoder
from onset.score import attention as sharing
from onset.score.decoder import Stack
from onset.score.encoding import Encoder

EXACT = 1e-4
"""Largest relative difference of logits that still counts as the same in float32."""
ROUNDED = 5e-2
"""The same in bfloat16 and float16, whose rounding differs with the order of sums."""


class CausalLM:
    """A model with its tokenizer. Make one with ``hub.load``, ``of_transformer`` or ``of``."""

    def __init__(
        self,
        model: nn.Module,
        encoder: Encoder,
        *,
        context: int,
        name: str,
        states: Callable[..., Tensor],
        head: Callable[[Tensor], Tensor] | None,
        output: Words | None = None,
        reach: int = 0,
        alone: int | None = None,
    ) -> None:
        self.model = model
        self.encoder = encoder
        self.context = context
        """Most tokens that the model reads."""
        self.name = name
        self.params = sum(parameter.numel() for parameter in model.parameters())
        self.reach = reach
        """Longest row for which keys and values may be shared; 0 for a model whose cache cannot be."""
        self.alone = alone
        """Rows longer than this are computed one at a time: their length changes how all of a batch is rotated."""
        self.output = output
        """The matrix that is all of the head, on a processor, so that logits can be made of some words; or None."""
        self._states = states
        self._head = head
        first = next(model.parameters())
        self.device = first.device
        self.dtype = first.dtype
        self.vocab, self.width = _sizes(model)

    @property
    def cache_kind(self) -> str:
        """``shared`` where prefixes can be computed once, ``plain`` where every row is computed whole."""
        return "shared" if self.reach else "plain"

    @property
    def states_are_logits(self) -> bool:
        """Whether ``states`` gives logits already, so that they cannot be made for some columns only."""
        return self._head is None

    @cached_property
    def cache_bytes(self) -> int:
        """Bytes of keys and values that a token takes, over all layers."""
        plan = sharing.Plan(keep=True)
        with torch.inference_mode():
            zero = torch.zeros((1, 1), dtype=torch.long, device=self.device)
            self.states(zero, zero, plan)
        return sum(tensor.nbytes for pair in plan.kept.values() for tensor in pair)

    @torch.inference_mode()
    def check_ids(self, *ids: NDArray[Any]) -> None:
        """Refuse ids that the model has no embedding for."""
        largest = max((int(one.max()) for one in ids if one.size), default=0)
        if largest >= self.vocab:
            raise OnsetError(
                f"the tokenizer gives the id {largest}, and the model has {self.vocab} tokens", where=self.name,
                advice="put the tokenizer beside the weights that belongs to them",
            )  # fmt: skip

    def states(
        self,
        tokens: Tensor,
        positions: Tensor | None = None,
        plan: sharing.Plan | None = None,
        wanted: Tensor | None = None,
    ) -> Tensor:
        """Last states (rows, length, width) of tokens (rows, length); right padding does no harm.

        ``wanted`` are places in the flattened tokens: then the states of those only, (wanted, width). ``positions``
        and ``plan`` are for a model with ``reach`` only.
        """
        if plan is None:
            found = self._states(tokens, None, wanted)
        else:
            assert self.reach, "only for a model that shares"
            with sharing.use(plan), sharing.switched(self.model, self.reach < self.context):
                found = self._states(tokens, positions, wanted)
        found = found.to(self.device)  # the last layer of a model on several devices lies elsewhere
        return found if wanted is None else found.flatten(0, 1)

    @torch.inference_mode()
    def logits(self, states: Tensor) -> Tensor:
        """Logits in float32 (n, vocabulary) of states (n, width)."""
        out = states if self._head is None else self._head(states)
        return out.to(self.device).float()

    @classmethod
    def of_transformer(cls, model: Any, encoder: Encoder, *, context: int, name: str) -> CausalLM:
        """A causal model of the transformers library, in evaluation mode."""
        base, head = model.base_model, model.get_output_embeddings()
        whole = _whole(model)
        if base is model or head is None or not _same(model, whole, lambda ids: head(_last(base, ids))):
            return cls(
                model, encoder, context=context, name=name, states=whole, head=None, alone=_rotation_limit(model)
            )

        def states(tokens: Tensor, positions: Tensor | None = None, wanted: Tensor | None = None) -> Tensor:
            extra = {} if positions is None else {"position_ids": positions}
            return _some(_last(base, tokens, **extra), wanted)

        packed = products.packs(model)
        if packed:
            products.pack(model, leave=head)
        reach, alone = _reach(model, states, head, context)
        output = None
        if type(head) is nn.Linear and head.bias is None and head.weight.device.type == "cpu":
            output = Words(head.weight, packed=packed)
        return cls(
            model, encoder, context=context, name=name, states=states, head=output or head, output=output, reach=reach,
            alone=alone,
        )  # fmt: skip

    @classmethod
    def of(cls, decoder: Decoder, tokenizer: Tokenizer, *, name: str = "decoder") -> CausalLM:
        """A decoder of our own and its tokenizer; nothing is written to disk, and transformers is not needed."""

        encoder = Encoder.of(tokenizer)
        return cls.of_stack(decoder, encoder, context=decoder.shape.context, name=name, epsilon=EPSILON, pairs=True)

    @classmethod
    def of_stack(
        cls, model: Any, encoder: Encoder, *, context: int, name: str, epsilon: float, pairs: bool
    ) -> CausalLM:
        """A module with the weights of a ``Stack``, and its settings; ``output_matrix`` (vocabulary, width) too."""
        packed, matrix = products.packs(model), model.output_matrix
        stack = Stack(model, epsilon=epsilon, pairs=pairs, packed=packed)
        output = Words(matrix, packed=packed) if matrix.device.type == "cpu" else None

        def head(rows: Tensor) -> Tensor:
            return nn.functional.linear(rows, matrix)

        return cls(
            model, encoder, context=context, name=name, states=stack.states, head=output or head, output=output,
            reach=context,
        )  # fmt: skip


def _sizes(model: Any) -> tuple[int, int]:
    """Entries of the vocabulary and width, from the token embedding."""
    weight = model.embedding if hasattr(model, "embedding") else model.get_input_embeddings().weight
    return int(weight.shape[0]), int(weight.shape[1])


def _last(base: Any, tokens: Tensor, **extra: Any) -> Tensor:
    return base(tokens, use_cache=False, return_dict=True, **extra).last_hidden_state


def _some(states: Tensor, wanted: Tensor | None) -> Tensor:
    return states if wanted is None else states.flatten(0, 1)[None, wanted]


def _whole(model: Any) -> Callable[..., Tensor]:
    def logits(tokens: Tensor, positions: Tensor | None = None, wanted: Tensor | None = None) -> Tensor:
        return _some(model(tokens, use_cache=False, return_dict=True).logits, wanted)

    return logits


def _sample(model: Any, rows: int, length: int) -> Tensor:
    """Tokens to try a model on, the same every time."""
    generator = torch.Generator().manual_seed(0)
    vocab = model.get_input_embeddings().weight.shape[0]
    return torch.randint(0, vocab, (rows, length), generator=generator).to(next(model.parameters()).device)


@torch.inference_mode()
def _same(model: Any, one: Callable[[Tensor], Tensor], other: Callable[[Tensor], Tensor]) -> bool:
    """Whether two ways to logits agree on sample tokens."""
    tokens = _sample(model, 1, 8)
    return _close(one(tokens), other(tokens))


def _reach(model: Any, states: Callable[..., Tensor], head: Any, context: int) -> tuple[int, int | None]:
    """Longest row for which prefixes may be shared, and the longest whose batch does not matter."""
    alone = _rotation_limit(model)
    config = model.config.get_text_config()
    linear = set(getattr(config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}
    takes = inspect.signature(model.base_model.forward).parameters
    if linear or "position_ids" not in takes or not getattr(model, "_supports_attention_backend", False):
        return 0, alone
    before = model.config._attn_implementation
    window = _try_sharing(model, states, head)
    reach = 0 if window is None else min(window, context, alone or context)
    if reach < context:
        # Longer rows need the model's own attention; it is put back, and sharing is switched on pass by pass.
        model.set_attn_implementation(before)
    return reach, alone


@torch.inference_mode()
def _try_sharing(model: Any, states: Callable[..., Tensor], head: Any) -> int | None:
    """The smallest sliding window of the model's layers (a huge number without one) if sharing gives its own logits."""
    tokens = _sample(model, 1, 9)
    prefix, question, answers = tokens[:, :3], tokens[:, 3:5], (tokens[:, 5:6], tokens[:, 6:])
    rows = [torch.cat([prefix, question, answer], dim=1) for answer in answers]
    expected = torch.cat([head(states(row))[:, 3:] for row in rows], dim=1)
    plan = sharing.Plan(keep=True)
    branches = [np.array([0, 0, 1, 2, 2, 2], dtype=np.int32)]
    places = torch.tensor([[3, 4, 5, 5, 6, 7]], device=tokens.device)
    try:
        sharing.install(model)
        with sharing.use(plan):
            states(prefix, torch.arange(3, device=tokens.device)[None])
        dtype = next(model.parameters()).dtype
        joined = sharing.plan_of(branches, plan.kept, tokens.device, dtype)
        with sharing.use(joined):
            found = head(states(torch.cat([question, *answers], dim=1), places))
    except (sharing.CannotShare, RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError):
        return None  # its attention is not one that can be replaced: every row is computed whole
    found = torch.cat([found[:, :3], found[:, :2], found[:, 3:]], dim=1)
    return (joined.window or 2**31) if _close(expected, found) else None


def _rotation_limit(model: Any) -> int | None:
    """Row length from which rotary frequencies depend on the longest row of the batch; None if they never do."""
    config = model.config.get_text_config()
    rotation = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    kinds = {entry.get("rope_type") for entry in [rotation, *rotation.values()] if isinstance(entry, dict)}
    if not kinds & {"dynamic", "longrope"}:
        return None
    for place in (config, rotation):
        found = (
            place.get("original_max_position_embeddings")
            if isinstance(place, dict)
            else getattr(place, "original_max_position_embeddings", None)
        )
        if found:
            return int(found)
    return int(config.max_position_embeddings)


def not_finite(name: str) -> OnsetError:
    """The error of a model whose numbers are not finite."""
    return OnsetError(
        "the model gives logits that are not finite numbers",
        where=name,
        advice="its weights are broken or overflow in this dtype: try float32, or fetch or train it again",
    )


def _close(expected: Tensor, found: Tensor) -> bool:
    if expected.shape != found.shape:
        return False
    tolerance = EXACT if expected.dtype == torch.float32 else ROUNDED
    expected, found = expected.float(), found.float()
    scale = (expected - expected.mean(-1, keepdim=True)).norm()
    return bool((expected - found).norm() <= tolerance * scale + 1e-6)
