"""Tokens drawn from a model's distribution: the same draws for an answer whatever else is in its batch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from onset.score.causal import CausalLM, not_finite
from onset.tasks.task import Sampling

ROWS = 64
"""Rows that are drawn at once: probabilities are kept in float64, of a whole vocabulary each."""


@dataclass(eq=False)
class Draw:
    """What the tokens of one sampled answer are drawn with."""

    uniform: np.random.Generator
    temperature: float

    @classmethod
    def of(cls, how: Sampling, item: str, number: int) -> Draw:
        """For sample ``number`` of an item: seeded by the seed, the item's name and the number."""
        words = np.frombuffer(hashlib.sha256(item.encode()).digest()[:16], dtype=np.uint32)
        return cls(np.random.default_rng([how.seed, number, *map(int, words)]), how.temperature)


def drawn(lm: CausalLM, states: Tensor, draws: Sequence[Draw | None]) -> list[int]:
    """A token of each state with a draw, by the inverse of the cumulative distribution at one uniform number each.

    States without a draw get token 0. Raises OnsetError when the logits are not finite numbers.
    """
    found = [0] * len(draws)
    asked = [index for index, one in enumerate(draws) if one is not None]
    for start in range(0, len(asked), ROWS):
        rows = asked[start : start + ROWS]
        chosen = [one for index in rows if (one := draws[index]) is not None]
        logits = lm.logits(states[torch.tensor(rows, device=states.device)]).double()
        if not bool(torch.isfinite(logits.amax(-1)).all()):
            raise not_finite(lm.name)
        heat = logits.new_tensor([one.temperature for one in chosen])
        total = torch.softmax(logits / heat[:, None], -1).cumsum(-1)
        places = logits.new_tensor([one.uniform.random() for one in chosen])[:, None] * total[:, -1:]
        tokens = torch.searchsorted(total, places, right=True)[:, 0].clamp_max(total.shape[1] - 1)
        for index, token in zip(rows, tokens.tolist(), strict=True):
            found[index] = int(token)
    return found
