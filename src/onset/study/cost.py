"""What a run costs, by arithmetic alone: parameters, FLOPs, checkpoint steps, memory and disk."""

from __future__ import annotations

from dataclasses import dataclass

from onset.errors import OnsetError
from onset.study.spec import Run, Shape

WEIGHT_BYTES = 4
"""Checkpoints and the optimiser's weights are float32."""

FIRST_CHECKPOINT = 1 / 64
"""Where log-spaced checkpoints begin, as a share of the steps: early, so that high losses are covered."""

PIECE_TOKENS = 2048
"""Tokens that a thread takes through the model at once (at least one sequence): their activations stay in its cache."""

LOGITS = 1 << 22
"""Logits that a thread holds at once."""

TORCH_PIECE_TOKENS = 32_768
"""Tokens that autograd takes through the model at once (at least one sequence); gradients are summed in float32."""

TORCH_LOGITS = 1 << 28
"""Logits that are held at once on a GPU: half a gigabyte in bfloat16, whatever the batch."""

STATES_KEPT = 2
"""Resume states on disk while a run goes on: the newest, and the one before in case that is damaged."""


def parameters(shape: Shape, vocab: int) -> dict[str, int]:
    """Parameters by part; their sum is the model's own count.

    Per layer: queries and output width^2 each, keys and values width x kv_heads x head_dim each, the three
    SwiGLU matrices width x hidden each, and two gains of RMSNorm. A tied head has no weights of its own.
    """
    width, keys = shape.width, shape.kv_heads * shape.head_dim
    return {
        "embedding": vocab * width,
        "attention": shape.layers * (2 * width * width + 2 * width * keys),
        "feed_forward": shape.layers * 3 * width * shape.hidden,
        "norms": (2 * shape.layers + 1) * width,
        "head": 0 if shape.tied else vocab * width,
    }


def total_parameters(shape: Shape, vocab: int) -> int:
    """All parameters, embeddings included."""
    return sum(parameters(shape, vocab).values())


def flops_per_token(shape: Shape, vocab: int) -> int:
    """Floating-point operations of training per token: forward and backward, attention included.

    Six for each weight that takes part in a matrix product (two forward, four backward), so the head counts
    once, tied or not, and looking up an embedding is free; and 12 x layers x width x context for attention
    (Chowdhery et al. 2022, "PaLM", arXiv 2204.02311, appendix B), here with the (context + 1) / 2 keys that a
    causal query sees on average in place of context.
    """
    parts = parameters(shape, vocab)
    matrices = parts["attention"] + parts["feed_forward"] + vocab * shape.width
    return 6 * matrices + 6 * shape.layers * shape.width * (shape.context + 1)


def flops(run: Run, vocab: int) -> int:
    """Floating-point operations of a whole run."""
    return run.steps * run.tokens_per_step * flops_per_token(run.shape, vocab)


def checkpoint_steps(run: Run) -> tuple[int, ...]:
    """Steps of a run at which a checkpoint is written: ascending, distinct, the last step always among them.

    A count is log-spaced over the tokens, from ``FIRST_CHECKPOINT`` of the steps to the end, and gives as many
    steps as asked or as there are. Declared token counts go to the nearest step.
    """
    if isinstance(run.checkpoints, int):
        return _log_spaced(run.steps, min(run.checkpoints, run.steps))
    steps = {min(max(1, round(tokens / run.tokens_per_step)), run.steps) for tokens in run.checkpoints}
    return tuple(sorted(steps | {run.steps}))


def _log_spaced(last: int, count: int) -> tuple[int, ...]:
    """``count`` distinct steps up to ``last``, a constant ratio apart as far as whole numbers allow."""
    if count == 1:
        return (last,)
    first = max(1.0, last * FIRST_CHECKPOINT)
    steps = [round(first * (last / first) ** (index / (count - 1))) for index in range(count)]
    for index in range(1, count):  # early steps crowd: push them up to be distinct
        steps[index] = max(steps[index], steps[index - 1] + 1)
    for index in reversed(range(count)):  # and the last ones back under the end
        steps[index] = min(steps[index], last - (count - 1 - index))
    return tuple(steps)


def memory(
    run: Run,
    vocab: int,
    *,
    bfloat16: bool = False,
    threads: int = 1,
    sequences: int | None = None,
    recompute: bool = False,
    kernels: bool = True,
) -> dict[str, int]:
    """Bytes that training holds, by part.

    Weights, gradients and the two moments of AdamW are float32, with gradients once a thread; with bfloat16 there
    are a copy of the weights and one product of the gradients' size in it. Activations are what the backward pass
    needs of the tokens that are in hand at once, counted tensor by tensor in the manner of Korthikanti et al. 2022
    (arXiv 2205.05198, section 4). Per token and layer: in float32 the stream before each half and the logarithms of
    attention's sums, one a head (attention itself is done again: Dao et al. 2022, arXiv 2205.14135); as elements the
    two normed inputs, queries, what attention read, keys, values, and three times ``hidden``. Autograd (``kernels``
    false) keeps more: the float32 copies of the norms, turned queries and keys, and one more ``hidden``.

    ``sequences`` are taken through the model at once (by default as many as usual), and with ``recompute`` only each
    layer's input is held, and one layer's activations (Chen et al. 2016, arXiv 1604.06174).
    """
    shape, count = run.shape, total_parameters(run.shape, vocab)
    size = 2 if bfloat16 else WEIGHT_BYTES
    copy = size if bfloat16 else 0
    keys = shape.kv_heads * shape.head_dim
    elements = 4 * shape.width + 2 * keys + 3 * shape.hidden
    floats = 2 * shape.width + shape.heads + 2
    holders = threads if kernels else 1
    if not kernels:
        elements += 3 * shape.width + keys + shape.hidden
    tokens = holders * (sequences * shape.context if sequences else piece_tokens(run, threads, kernels=kernels))
    layer = elements * size + floats * 4
    whole = shape.layers * shape.width * size + layer if recompute else shape.layers * layer
    logits = holders * min(tokens * vocab, LOGITS) * size if kernels else min(tokens * vocab, TORCH_LOGITS) * (size + 4)
    return {
        "weights": count * (WEIGHT_BYTES + copy),
        "gradients": count * holders * (WEIGHT_BYTES + copy),
        "optimizer": count * 2 * WEIGHT_BYTES,
        "activations": tokens * whole,
        "logits": logits,
    }


def piece_tokens(run: Run, threads: int, *, kernels: bool = True) -> int:
    """Tokens that a thread (or autograd) takes through the model at once: whole sequences of its share of the batch."""
    share = -(-run.batch // threads) if kernels else run.batch
    usual = PIECE_TOKENS if kernels else TORCH_PIECE_TOKENS
    return max(1, min(usual // run.shape.context, share)) * run.shape.context


@dataclass(frozen=True)
class Fit:
    """How a run is made to fit: what is taken through the model at once, what is computed again, what it holds."""

    sequences: int
    recompute: bool
    parts: dict[str, int]
    """Bytes by part, as ``memory`` gives them."""
    usual: bool
    """Whether nothing had to give way."""

    @property
    def bytes(self) -> int:
        """All that is held."""
        return sum(self.parts.values())


def fitted(
    run: Run, vocab: int, limit: int | None, *, bfloat16: bool = False, threads: int = 1, kernels: bool = True
) -> Fit:
    """The fastest way to train a run within ``limit`` bytes; gradients of smaller pieces are added up over the batch.

    Fewer sequences at once come first, then (for autograd) activations that are computed again. Raises OnsetError
    with advice when nothing fits.
    """
    most = piece_tokens(run, threads, kernels=kernels) // run.shape.context
    counts = sorted({max(1, most >> halvings) for halvings in range(most.bit_length())}, reverse=True)
    tried = [(count, recompute) for recompute in ((False,) if kernels else (False, True)) for count in counts]
    for count, recompute in tried:
        parts = memory(
            run, vocab, bfloat16=bfloat16, threads=threads, sequences=count, recompute=recompute, kernels=kernels
        )
        found = Fit(count, recompute, parts, usual=(count, recompute) == tried[0])
        if limit is None or found.bytes <= limit:
            return found
    fixed = found.bytes - found.parts["activations"] - found.parts["logits"]
    raise OnsetError(
        f"run '{run.name}' needs {found.bytes / 1e9:.3g} GB even with one sequence at a time "
        f"({fixed / 1e9:.3g} GB of it weights, gradients and optimiser), and {(limit or 0) / 1e9:.3g} GB are allowed",
        advice="allow more memory, use fewer threads, a shorter context or a smaller model"
        + ("" if threads == 1 else " (each thread holds gradients of its own)"),
    )


def disk(run: Run, vocab: int) -> dict[str, int]:
    """Bytes that a run leaves on disk while it goes on: its checkpoints, and what a resume needs."""
    count = total_parameters(run.shape, vocab)
    return {
        "checkpoints": len(checkpoint_steps(run)) * count * WEIGHT_BYTES,
        "resume": STATES_KEPT * 3 * count * WEIGHT_BYTES,
    }
