"""What a run costs, by arithmetic alone: parameters, FLOPs, checkpoint steps, memory per device, disk and hours.

The plan, the packer that places trainings on devices and the trainer ask the same functions, so that what is planned
and placed also trains.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from onset.errors import OnsetError
from onset.study import architectures, optimizers
from onset.study.spec import AnyShape, HuggingFaceShape, Run
from onset.study.training import Role

WEIGHT_BYTES = 4
"""Checkpoints and the optimiser's weights are float32."""

PIECE_TOKENS = 2048
"""Tokens that a thread takes through the model at once (at least one sequence): their activations stay in its cache."""

LOGITS = 1 << 22
"""Logits that a thread holds at once."""

TORCH_PIECE_TOKENS = 32_768
"""Tokens that autograd takes through the model at once (at least one sequence); gradients are summed in float32."""

TORCH_LOGITS = 1 << 26
"""Logits that autograd holds at once, whatever the batch: a quarter of a gigabyte in float32."""

LOGITS_COPIES = 4
"""Float32 tensors of the logits' size that the uncompiled loss holds at its peak."""

DEVICE_SHARE = 0.85
"""Share of a GPU's memory that plans may fill; the rest is for what its allocator cannot use."""

DEVICE_PROCESS_BYTES = 600_000_000
"""Memory that a process takes on a GPU before it holds any model: its context and the libraries' workspaces."""

HOST_DEVICES = 8
"""Devices of one host, where nothing else is said: shards of a model stay within it while they fit."""

Engine = Literal["kernels", "torch", "compiled"]
"""The hand-written kernels for processors, autograd, or autograd compiled by torch."""

STATES_KEPT = 2
"""Resume states on disk while a run goes on: the newest, and the one before in case that is damaged."""


def parameters(shape: AnyShape, vocab: int) -> dict[str, int]:
    """Parameters by part; their sum is the model's own count.

    Per layer: queries and output width^2 each, keys and values width x kv_heads x head_dim each, the three
    SwiGLU matrices width x hidden each, and two gains of RMSNorm. A tied head has no weights of its own. Of an
    architecture of transformers the parts are those of ``onset.study.architectures``.
    """
    if isinstance(shape, HuggingFaceShape):
        return {str(part): count for part, count in architectures.sizes(shape, vocab).parameters.items()}
    width, keys = shape.width, shape.kv_heads * shape.head_dim
    return {
        "embedding": vocab * width,
        "attention": shape.layers * (2 * width * width + 2 * width * keys),
        "feed_forward": shape.layers * 3 * width * shape.hidden,
        "norms": (2 * shape.layers + 1) * width,
        "head": 0 if shape.tied else vocab * width,
    }


def total_parameters(shape: AnyShape, vocab: int) -> int:
    """All parameters, embeddings included."""
    return sum(parameters(shape, vocab).values())


def active_parameters(shape: AnyShape, vocab: int) -> int:
    """Parameters that take part in reading one token: all, but of a mixture the experts that it is not sent to."""
    if isinstance(shape, HuggingFaceShape):
        return architectures.sizes(shape, vocab).active
    return total_parameters(shape, vocab)


def architecture(shape: AnyShape) -> str:
    """Name of a shape's architecture: 'transformer' for the paper's decoder, else transformers' or the user's own."""
    return shape.architecture if isinstance(shape, HuggingFaceShape) else "transformer"


def layers(shape: AnyShape, vocab: int) -> int:
    """Layers of a model, whatever kind they are of."""
    return architectures.sizes(shape, vocab).layers if isinstance(shape, HuggingFaceShape) else shape.layers


def _width(shape: AnyShape, vocab: int) -> int:
    return architectures.sizes(shape, vocab).width if isinstance(shape, HuggingFaceShape) else shape.width


def flops_per_token(shape: AnyShape, vocab: int) -> int:
    """Floating-point operations of training per token: forward and backward, attention included.

    Six for each weight that takes part in a matrix product (two forward, four backward), so the head counts
    once, tied or not, and looking up an embedding is free; and 12 x layers x width x context for attention
    (Chowdhery et al. 2022, "PaLM", arXiv 2204.02311, appendix B), here with the (context + 1) / 2 keys that a
    causal query sees on average in place of context. Of an architecture of transformers they are what torch counts.
    """
    if isinstance(shape, HuggingFaceShape):
        return architectures.sizes(shape, vocab).flops_per_token
    parts = parameters(shape, vocab)
    matrices = parts["attention"] + parts["feed_forward"] + vocab * shape.width
    return 6 * matrices + 6 * shape.layers * shape.width * (shape.context + 1)


def flops(run: Run, vocab: int) -> int:
    """Floating-point operations of a whole run."""
    return run.steps * run.tokens_per_step * flops_per_token(run.shape, vocab)


def checkpoint_steps(run: Run) -> tuple[int, ...]:
    """Steps of a run at which a checkpoint is written: ascending, distinct, the last step always among them."""
    return run.checkpoint_steps


@dataclass(frozen=True)
class Method:
    """How a run is computed, as far as its memory depends on it."""

    engine: Engine = "kernels"
    bfloat16: bool = False
    """Whether matrix products are in bfloat16; weights, sums and optimiser stay float32."""
    threads: int = 1
    """Threads of the kernels; each holds gradients of its own."""
    shards: int = 1
    """Devices among which weights, gradients and moments are sharded."""
    replicas: int = 1
    """Groups of so many devices; each group holds the whole model and takes its part of a batch."""

    @property
    def ranks(self) -> int:
        """Devices that train the run together."""
        return self.shards * self.replicas

    @property
    def holders(self) -> int:
        """Holders of gradients and activations within one device: the kernels' threads, or one."""
        return self.threads if self.engine == "kernels" else 1


def memory(run: Run, vocab: int, method: Method, *, sequences: int | None = None, recompute: int = 0) -> dict[str, int]:
    """Bytes that training holds on each device, by part.

    Weights, gradients and the two moments of AdamW are float32, with gradients once a holder; with bfloat16 there
    are a copy of the weights and one product of the gradients' size in it. Sharded, each device holds its share of
    the float32 tensors, and two blocks and the matrices outside blocks whole: one at work and the next on its way,
    with gradients on their way to the shards (Zhao et al. 2023, arXiv 2304.11277). Activations are what the backward
    pass needs of the tokens that are in hand at once, counted tensor by tensor in the manner of Korthikanti et al.
    2022 (arXiv 2205.05198, section 4). Per token and layer: in float32 the stream before each half and the logarithms
    of attention's sums, one a head (attention itself is done again: Dao et al. 2022, arXiv 2205.14135); as elements
    the two normed inputs, queries, what attention read, keys, values, and three times ``hidden``. Autograd keeps
    more: the float32 copies of the norms, turned queries and keys, and one more ``hidden``.

    ``sequences`` are taken through the model at once (by default as many as usual), and of ``recompute``
    layers only the input is held, with one layer's activations at a time (Chen et al. 2016, arXiv 1604.06174).
    """
    count = total_parameters(run.shape, vocab)
    size = 2 if method.bfloat16 else WEIGHT_BYTES
    copy = size if method.bfloat16 else 0
    tokens = method.holders * (sequences * run.shape.context if sequences else piece_tokens(run, method))
    if method.shards > 1:
        share = -(-count // method.shards)
        weights = gradients = share * WEIGHT_BYTES
        optimizer = -(-optimizer_bytes(run, vocab) // method.shards)
        whole = gathered_parameters(run.shape, vocab)
        gathered = whole * size + whole * (size + WEIGHT_BYTES)
    else:
        weights, gradients = count * (WEIGHT_BYTES + copy), count * method.holders * (WEIGHT_BYTES + copy)
        optimizer, gathered = optimizer_bytes(run, vocab), 0
    return {
        "weights": weights,
        "gradients": gradients,
        "optimizer": optimizer,
        "gathered": gathered,
        "activations": tokens * _activation_bytes(run.shape, vocab, method, recompute=recompute),
        "logits": _logits_bytes(run.shape, vocab, method, tokens),
    }


def optimizer_bytes(run: Run, vocab: int) -> int:
    """Bytes that an optimizer keeps of all parameters: two moments of AdamW, one of Lion, or as it is tried."""
    by_role: dict[Role, int] = {"matrix": 0, "embedding": 0, "head": 0, "vector": 0}
    for part, count in parameters(run.shape, vocab).items():
        by_role[ROLE_OF_PART[part]] += count
    return WEIGHT_BYTES * optimizers.state_elements(run.optimizer, by_role)


ROLE_OF_PART: Mapping[str, Role] = {
    "embedding": "embedding",
    "attention": "matrix",
    "feed_forward": "matrix",
    "matrices": "matrix",
    "experts": "matrix",
    "norms": "vector",
    "vectors": "vector",
    "head": "head",
}
"""Which role the parameters of each part have."""


def gathered_parameters(shape: AnyShape, vocab: int) -> int:
    """Parameters that a sharded training holds whole at its peak: two blocks, and all that is in no block."""
    parts = parameters(shape, vocab)
    if isinstance(shape, HuggingFaceShape):
        inner = parts["matrices"] + parts["experts"] + parts["vectors"]
        return parts["embedding"] + parts["head"] + -(-inner * 2 // max(2, layers(shape, vocab)))
    block = (parts["attention"] + parts["feed_forward"]) // shape.layers + 2 * shape.width
    return min(2, shape.layers) * block + parts["embedding"] + parts["head"] + shape.width


def _activation_bytes(shape: AnyShape, vocab: int, method: Method, *, recompute: int) -> int:
    """Bytes of activations that a token leaves for the backward pass."""
    size = 2 if method.bfloat16 else WEIGHT_BYTES
    if isinstance(shape, HuggingFaceShape):
        found = architectures.sizes(shape, vocab)
        whole = found.activation_bytes * size // WEIGHT_BYTES
        # Transformers computes all layers again or none.
        return found.layers * found.width * size + -(-whole // found.layers) if recompute else whole
    keys = shape.kv_heads * shape.head_dim
    elements = 4 * shape.width + 2 * keys + 3 * shape.hidden
    floats = 2 * shape.width + shape.heads + 2
    if method.engine != "kernels":
        elements += 3 * shape.width + keys + shape.hidden
    layer = elements * size + floats * 4
    held = shape.layers - recompute
    return held * layer + (recompute * shape.width * size + layer if recompute else 0)


def _logits_bytes(shape: AnyShape, vocab: int, method: Method, tokens: int) -> int:
    """Bytes of the logits in hand, their gradient, and the output matrix's sum."""
    size = 2 if method.bfloat16 else WEIGHT_BYTES
    if method.engine == "kernels":
        return method.holders * min(tokens * vocab, LOGITS) * size
    copies = LOGITS_COPIES if method.engine == "torch" else 1
    return min(tokens * vocab, TORCH_LOGITS) * (size + copies * 4) + vocab * _width(shape, vocab) * (4 + size)


def piece_tokens(run: Run, method: Method) -> int:
    """Tokens that a holder takes through the model at once: whole sequences of its share of the batch."""
    share = -(-run.batch // (method.ranks * method.holders))
    usual = PIECE_TOKENS if method.engine == "kernels" else TORCH_PIECE_TOKENS
    return max(1, min(usual // run.shape.context, share)) * run.shape.context


@dataclass(frozen=True)
class Fit:
    """How a run is made to fit: what is taken through the model at once, what is computed again, what it holds."""

    method: Method
    sequences: int
    recompute: int
    """Layers whose activations are computed again."""
    parts: dict[str, int]
    """Bytes on each device by part, as ``memory`` gives them."""
    usual: bool
    """Whether nothing had to give way."""

    @property
    def bytes(self) -> int:
        """All that is held on each device."""
        return sum(self.parts.values())


def fitted(run: Run, vocab: int, limit: int | None, method: Method) -> Fit:
    """The fastest way to train a run within ``limit`` bytes a device; smaller pieces are added up over the batch.

    Fewer sequences at once come first, then (for autograd) as many sequences as fit with all activations computed
    again, and the fewest layers of which that is needed. Raises OnsetError with advice when nothing fits, and for more
    devices than a batch has sequences.
    """
    if method.ranks > run.batch:
        raise OnsetError(
            f"a batch of {run.batch} sequences cannot be shared by {method.ranks} devices",
            where=f"run '{run.name}'",
            advice="use fewer devices, or a larger batch",
        )
    most = piece_tokens(run, method) // run.shape.context
    counts = sorted({max(1, most >> halvings) for halvings in range(most.bit_length())}, reverse=True)

    def holding(count: int, recompute: int) -> Fit:
        parts = memory(run, vocab, method, sequences=count, recompute=recompute)
        return Fit(method, count, recompute, parts, usual=(count, recompute) == (counts[0], 0))

    deepest = 0 if method.engine == "kernels" else layers(run.shape, vocab)
    for most_again in sorted({0, deepest}):
        for count in counts:
            found = holding(count, most_again)
            if limit is None or found.bytes <= limit:
                rising = (holding(count, again) for again in range(most_again + 1))
                return next(fit for fit in rising if limit is None or fit.bytes <= limit)
    fixed = found.bytes - found.parts["activations"] - found.parts["logits"]
    each = "" if method.ranks == 1 else f" on each of {method.ranks} devices"
    raise OnsetError(
        f"run '{run.name}' needs {found.bytes / 1e9:.3g} GB{each} even with one sequence at a time "
        f"({fixed / 1e9:.3g} GB of it weights, gradients and optimiser), and {(limit or 0) / 1e9:.3g} GB are allowed",
        advice="allow more memory, use more or larger devices, fewer threads, a shorter context or a smaller model"
        + ("" if method.holders == 1 else " (each thread holds gradients of its own)"),
    )


def usable(card: int) -> int:
    """Bytes that one training may plan with on a GPU of so many bytes that it has to itself."""
    return int(card * DEVICE_SHARE) - DEVICE_PROCESS_BYTES


def sharded(
    run: Run, vocab: int, limit: int | None, method: Method, *, devices: int, per_host: int = HOST_DEVICES
) -> Fit:
    """How ``devices`` train a run together: shards within a host where that fits, else over more of them.

    Fewer shards mean less communication between hosts (hybrid sharding). Processors that train together use autograd
    in float32, planned so whatever the method. Raises OnsetError as ``fitted`` does, for the most shards there can be.
    """
    if devices == 1:
        return fitted(run, vocab, limit, method)
    if run.optimizer.kind != "adamw" or run.optimizer.peaks:
        raise OnsetError(
            f"run '{run.name}' has the optimizer {run.optimizer.kind}, which several devices do not share",
            advice="train it on one device, or with adamw and one peak rate",
        )
    engine: Engine = "torch" if method.engine == "kernels" else method.engine
    least = min(devices, per_host)
    counts = [count for count in range(least, devices + 1) if devices % count == 0]
    for count in counts:
        half = method.bfloat16 and method.engine != "kernels"
        several = replace(method, engine=engine, bfloat16=half, shards=count, replicas=devices // count)
        try:
            return fitted(run, vocab, limit, several)
        except OnsetError:
            if count == counts[-1]:
                raise
    raise AssertionError("every number divides itself")


@dataclass(frozen=True)
class Training:
    """What a training asks of devices: the packer places it by this, and the trainer keeps to what it was given."""

    run: Run
    vocab: int
    method: Method
    limit: int | None = None
    """Bytes that the study allows it on each device."""
    per_host: int = HOST_DEVICES

    def fit(self, devices: int, limit: int | None = None) -> Fit:
        """How it trains on so many devices, within ``limit`` bytes of each. Raises OnsetError where it does not fit."""
        bounds = [bound for bound in (limit, self.limit) if bound is not None]
        return sharded(
            self.run, self.vocab, min(bounds, default=None), self.method, devices=devices, per_host=self.per_host
        )

    def least_devices(self, card: int) -> int | None:
        """The fewest cards of so many bytes that hold it: a power of two; None where no number up to its batch does."""
        for exponent in range(int(math.log2(self.run.batch)) + 1):
            try:
                self.fit(1 << exponent, usable(card))
            except OnsetError:
                continue
            return 1 << exponent
        return None


def hours(flops: float, rate: float) -> float:
    """Hours of so many floating-point operations at a rate of training in FLOP/s."""
    return flops / rate / 3600


def disk(run: Run, vocab: int) -> dict[str, int]:
    """Bytes that a run leaves on disk while it goes on: its checkpoints, and what a resume needs."""
    count = total_parameters(run.shape, vocab)
    return {
        "checkpoints": len(checkpoint_steps(run)) * count * WEIGHT_BYTES,
        "resume": STATES_KEPT * 3 * count * WEIGHT_BYTES,
    }
