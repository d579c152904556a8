"""Learning rate, batch and initialisation for a size, from published rules: what ``tuning = "rule"`` stands for.

The rules depend on the shape alone, so that all runs of one size agree in them and may share their trunk.
"""

from __future__ import annotations

import math
from typing import Any

TOKENS_PER_PARAMETER = 20
"""The budget that a size is tuned for, tokens for each parameter (Hoffmann et al. 2022, arXiv 2203.15556)."""

SOURCES = {
    "peak_rate": "0.3118 C^-0.1250 with C the operations of 20 tokens a parameter, embeddings left out "
    "(DeepSeek-AI 2024, arXiv 2401.02954, equation 1; Hoffmann et al. 2022, arXiv 2203.15556)",
    "batch": "0.2920 C^0.3271 tokens with the same C, in whole sequences "
    "(DeepSeek-AI 2024, arXiv 2401.02954, equation 1)",
    "warmup_steps": "2 / (1 - beta2) steps (Ma and Yarats 2021, arXiv 1910.04209, section 5)",
    "initialisation": "normal, deviation sqrt(2 / (5 width)), and 2 / (layers sqrt(width)) for what writes to "
    "the stream (Nguyen and Salazar 2019, arXiv 1910.05895; Black et al. 2022, arXiv 2204.06745, section 2.1)",
}
"""Where each rule is from."""


def compute(*, layers: int, width: int, heads: int, kv_heads: int, hidden: int, context: int) -> float:
    """Training operations of ``TOKENS_PER_PARAMETER`` tokens a parameter, embeddings and head left out.

    As the fit counts them: six for each weight, and 12 x layers x width x context a token for attention.
    """
    keys = kv_heads * (width // heads)
    weights = layers * (2 * width * width + 2 * width * keys + 3 * width * hidden)
    return (6.0 * weights + 12.0 * layers * width * context) * TOKENS_PER_PARAMETER * weights


def peak_rate(operations: float) -> float:
    """Highest learning rate for a budget of operations, to three digits."""
    return float(f"{0.3118 * operations**-0.1250:.3g}")


def batch(operations: float, context: int) -> int:
    """Sequences a step for a budget of operations; at least one."""
    return max(1, round(0.2920 * math.pow(operations, 0.3271) / context))


def warmup_steps(beta2: float) -> int:
    """Steps of warm-up that Adam asks for."""
    return round(2 / (1 - beta2))


def fill(run: dict[str, Any]) -> dict[str, Any]:
    """A run's values with those that the rule sets and nobody has stated; ``run`` stays as it is.

    The rules look at the shape; one that is not whole is left for the specification to refuse.
    """
    shape: Any = run.get("shape")
    shape = shape.model_dump() if hasattr(shape, "model_dump") else shape
    sizes = ("layers", "width", "heads", "kv_heads", "hidden", "context")
    if not isinstance(shape, dict) or not all(isinstance(shape.get(name), int) and shape[name] > 0 for name in sizes):
        return run
    operations = compute(**{name: shape[name] for name in sizes})
    schedule: Any = run.get("schedule", {})
    schedule = schedule.model_dump(exclude_unset=True) if hasattr(schedule, "model_dump") else schedule
    filled = dict(run)
    filled.setdefault("batch", batch(operations, shape["context"]))
    if isinstance(schedule, dict):
        filled["schedule"] = {"peak_rate": peak_rate(operations), **schedule}
    return filled
