"""Any causal architecture of transformers as a model that can be trained, from a configuration alone.

Its code, its first weights (by its own rule, drawn from the seed) and its checkpoints are the library's: a checkpoint
loads with ``AutoModelForCausalLM`` like any other model of that architecture. A mixture of experts brings its balancing
loss (Fedus et al. 2021, "Switch Transformers", arXiv 2101.03961, equations 4 to 6), which is told apart from the
language model's.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from onset.errors import OnsetError
from onset.models.contract import CausalModel, Role
from onset.study import architectures
from onset.study.shapes import HuggingFaceShape

ROLES: Mapping[architectures.Part, Role] = {
    "embedding": "embedding",
    "matrices": "matrix",
    "experts": "matrix",
    "vectors": "vector",
    "head": "head",
}

SAMPLE = 8
"""Tokens on which it is tried how logits follow from states."""

CONTEXT_KEYS = ("max_position_embeddings", "n_positions")
"""What configurations call the longest text."""

EXACT = 1e-4
"""Largest relative difference of logits that counts as the same."""


class HuggingFaceModel(CausalModel):
    """A causal model of transformers over ``vocab`` tokens, its weights unset until ``initialise`` or ``take``."""

    shape: HuggingFaceShape

    def __init__(self, shape: HuggingFaceShape, vocab: int, eos: int = 0, scale: float | None = None) -> None:
        super().__init__()
        self.shape, self.vocab, self.eos = shape, vocab, eos
        with torch.random.fork_rng(devices=[]):
            self.inner = architectures.built(architectures.configuration(shape, vocab, eos))
        self.inner.train()
        if architectures.experts_of(self.inner.config)[0] > 1:
            # Its loop over experts; the other two ways hold each token's weights, or ask for sizes in sixteens.
            self.inner.set_experts_implementation("eager")
        self._parts = architectures.parts(self.inner)
        self._balance = _balancing(self.inner)
        self._scale = scale
        self._first: tuple[int, Any] | None = None

    def read(self, tokens: Tensor, *, recompute: int = 0) -> tuple[Tensor, Tensor | None]:
        """See ``CausalModel``; with ``recompute`` above zero, every layer is computed again."""
        if recompute > 0 and not self.inner.is_gradient_checkpointing:
            self.inner.gradient_checkpointing_enable({"use_reentrant": False})
        extra = {} if self._balance is None else {"output_router_logits": True}
        found = self.inner.base_model(tokens, use_cache=False, return_dict=True, **extra)
        states = found.last_hidden_state
        if self._scale not in (None, 1.0):
            states = states * self._scale
        return states, None if self._balance is None else self._balance(found.router_logits)

    @property
    def output_matrix(self) -> Tensor:
        """See ``CausalModel``."""
        matrix: Tensor = self.inner.get_output_embeddings().weight
        return matrix

    def layers(self) -> Sequence[nn.Module]:
        """See ``CausalModel``: the longest list of modules is that of the layers."""
        lists = [list(module) for module in self.inner.modules() if isinstance(module, nn.ModuleList)]
        return max(lists, key=len)

    def role(self, name: str) -> Role:
        """See ``CausalModel``."""
        return ROLES[self._parts[name.removeprefix("inner.")]]

    def deviation(self, name: str) -> float:
        """See ``CausalModel``: what the configuration states; the library's rule may have others beside it."""
        return float(getattr(self.inner.config, "initializer_range", 0.02))

    def draw(self, name: str, seed: int, factor: float = 1.0, rows: range | None = None) -> Tensor:
        """See ``CausalModel``: by the architecture's own rule, which draws a model as a whole."""
        inside = name.removeprefix("inner.")
        whole: Tensor = self._drawn(seed).get_parameter(inside).detach()
        scale = 1.0 if self._parts[inside] == "vectors" else factor
        return (whole if rows is None else whole[rows.start : rows.stop]) * scale

    def initialise(self, seed: int, factor: float = 1.0) -> Self:
        """Draw every parameter; returns the model."""
        super().initialise(seed, factor)
        self.reset_buffers(self.output_matrix.device)
        self._first = None
        return self

    @torch.no_grad()
    def reset_buffers(self, device: torch.device | str) -> None:
        """See ``CausalModel``."""
        drawn = self._first[1] if self._first is not None else self._drawn(0)
        for name, buffer in drawn.named_buffers():
            self.inner.get_buffer(name).data = buffer.to(device)

    def _drawn(self, seed: int) -> Any:
        """A model of the library's on the CPU with first weights, kept until they are taken."""
        if self._first is None or self._first[0] != seed:
            with torch.random.fork_rng(devices=[]), torch.device("cpu"):
                torch.manual_seed(seed)
                self._first = seed, architectures.built(self.inner.config)
        drawn = self._first[1]
        if self._scale is None:
            self._scale = _scale(drawn, self.shape.model_type)
        return drawn

    def config(self, eos: int) -> dict[str, Any]:
        """See ``CausalModel``."""
        found: dict[str, Any] = architectures.configuration(self.shape, self.vocab, eos).to_dict()
        if not any(name in found for name in CONTEXT_KEYS):
            found["max_position_embeddings"] = self.shape.context  # a state has no longest text: the training's is told
        mapped = {"auto_map": where} if (where := architectures.code(self.shape)[1]) else {}
        return found | {"architectures": [type(self.inner).__name__], "dtype": "float32"} | mapped

    def code(self) -> dict[str, str]:
        """See ``CausalModel``."""
        return architectures.code(self.shape)[0]

    def export(self) -> dict[str, Tensor]:
        """See ``CausalModel``."""
        kept = dict(self.inner.named_parameters())
        lasting = self.inner.state_dict().keys()
        kept |= {name: buffer for name, buffer in self.inner.named_buffers() if name in lasting}
        found = {name: one.detach().to("cpu", torch.float32, copy=True) for name, one in kept.items()}
        return {name: one.contiguous() for name, one in _outward(self.inner, found).items()}

    @torch.no_grad()
    def take(self, weights: Mapping[str, Tensor]) -> None:
        """See ``CausalModel``."""
        loaded, report = type(self.inner).from_pretrained(
            None, config=self.inner.config, state_dict=dict(weights), dtype="float32", output_loading_info=True
        )
        if report["missing_keys"] or report["unexpected_keys"] or report["mismatched_keys"]:
            names = [*report["missing_keys"], *report["unexpected_keys"], *report["mismatched_keys"]]
            raise ValueError(f"the weights do not fit at '{names[0]}'")
        for name, parameter in loaded.named_parameters():
            self.inner.get_parameter(name).copy_(parameter)
        for name, buffer in loaded.named_buffers():
            self.inner.get_buffer(name).copy_(buffer)

    def blank(self) -> Self:
        """See ``CausalModel``."""
        return type(self)(self.shape, self.vocab, self.eos, self._scale)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or convert the weights; buffers (frequencies of positions) keep their number format."""
        before = {name: buffer for name, buffer in self.named_buffers() if buffer.is_floating_point()}
        super()._apply(fn, recurse)
        for name, old in before.items():
            new = self.get_buffer(name)
            if new.dtype != old.dtype:
                new.data = old.to(new.device)
        return self


def _balancing(model: Any) -> Callable[[Any], Tensor] | None:
    """The weighted balancing loss of a mixture as a function of its routers' logits; None where there is none."""
    config = model.config
    experts, active = architectures.experts_of(config)
    rule = getattr(inspect.getmodule(type(model)), "load_balancing_loss_func", None)
    weight = getattr(config, "router_aux_loss_coef", 0.0) or 0.0
    if experts == 1 or rule is None or weight <= 0:
        return None

    def weighted(logits: Any) -> Tensor:
        loss: Tensor = weight * rule(tuple(logits), experts, active)
        return loss

    return weighted


def _outward(model: Any, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights under the names that checkpoints of the architecture have (experts one by one, for example)."""
    try:
        from transformers.core_model_loading import revert_weight_conversion
    except ImportError:  # before version 5 the names inside are those of checkpoints
        return weights
    return dict(revert_weight_conversion(model, weights))


@torch.no_grad()
def _scale(model: Any, kind: str) -> float:
    """The number that states times the output matrix are multiplied by to give the logits.

    Raises OnsetError where logits are no multiple of that: such a model cannot be trained here.
    """
    model.eval()
    tokens = torch.arange(SAMPLE)[None] % model.config.get_text_config().vocab_size
    states = model.base_model(tokens, use_cache=False, return_dict=True).last_hidden_state
    found = states @ model.get_output_embeddings().weight.t()
    logits = model(tokens, use_cache=False, return_dict=True).logits
    scale = float((found * logits).sum() / found.square().sum())
    if float((logits - scale * found).norm()) > EXACT * float(logits.norm()):
        raise OnsetError(
            "training asks for logits that are a matrix times the last states, and this architecture's are not",
            where=f"shape of model_type '{kind}'",
            advice="choose another architecture",
        )
    return 1.0 if abs(scale - 1) < EXACT else scale
