"""What a run costs, by arithmetic alone: parameters, FLOPs, checkpoint steps, memory and disk."""

from __future__ import annotations

from onset.study.spec import Run, Shape

WEIGHT_BYTES = 4
"""Checkpoints and the optimiser's weights are float32."""

FIRST_CHECKPOINT = 1 / 64
"""Where log-spaced checkpoints begin, as a share of the steps: early, so that high losses are covered."""

PIECE_TOKENS = 2048
"""Tokens that a thread takes through the model at once (at least one sequence): their activations stay in its cache."""

LOGITS = 1 << 22
"""Logits that a thread holds at once."""

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


def memory(run: Run, vocab: int, *, bfloat16: bool = False, threads: int = 1) -> dict[str, int]:
    """Bytes that training holds, by part.

    Weights, gradients and the two moments of AdamW are float32, with gradients once a thread; with bfloat16 there
    are a copy of the weights and one product of the gradients' size in it. Activations are what the backward pass
    needs of the tokens that are in hand at once, counted tensor by tensor in the manner of Korthikanti et al. 2022
    (arXiv 2205.05198, section 4). Per token and layer: in float32 the stream before each half and the logarithms of
    attention's sums, one a head (attention itself is done again: Dao et al. 2022, arXiv 2205.14135); as elements the
    two normed inputs, queries, what attention read, keys, values, and three times ``hidden``.
    """
    shape, count = run.shape, total_parameters(run.shape, vocab)
    size = 2 if bfloat16 else WEIGHT_BYTES
    copy = size if bfloat16 else 0
    elements = 4 * shape.width + 2 * shape.kv_heads * shape.head_dim + 3 * shape.hidden
    floats = 2 * shape.width + shape.heads + 2
    tokens = threads * piece_tokens(run, threads)
    return {
        "weights": count * (WEIGHT_BYTES + copy),
        "gradients": count * threads * (WEIGHT_BYTES + copy),
        "optimizer": count * 2 * WEIGHT_BYTES,
        "activations": tokens * shape.layers * (elements * size + floats * 4),
        "logits": threads * min(tokens * vocab, LOGITS) * size,
    }


def piece_tokens(run: Run, threads: int) -> int:
    """Tokens that a thread takes through the model at once: whole sequences of its share of the batch."""
    share = -(-run.batch // threads)
    return max(1, min(PIECE_TOKENS // run.shape.context, share)) * run.shape.context


def disk(run: Run, vocab: int) -> dict[str, int]:
    """Bytes that a run leaves on disk while it goes on: its checkpoints, and what a resume needs."""
    count = total_parameters(run.shape, vocab)
    return {
        "checkpoints": len(checkpoint_steps(run)) * count * WEIGHT_BYTES,
        "resume": STATES_KEPT * 3 * count * WEIGHT_BYTES,
    }
