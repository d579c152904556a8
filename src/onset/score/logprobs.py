"""Log-probabilities of tokens from last states, without ever holding all logits.

On a processor the output matrix is gone through in blocks of the vocabulary, each met once by all states of a batch,
and the sum over the vocabulary is carried from block to block (the online softmax: Milakov and Gimelshein 2018,
arXiv 1805.02867). Elsewhere, and where a model's head is more than a matrix, the states are gone through in blocks.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onset.cpu.products import Words
from onset.score.causal import CausalLM, not_finite

LOGITS = {"cpu": 1 << 20, "cuda": 1 << 26}
"""Logits made at once where blocks are of states, by kind of device."""
LEAST_ROWS = 128
"""States of such a block at least, so that reading the output matrix pays."""


def picked(lm: CausalLM, states: Tensor, asked: NDArray[np.int64], targets: NDArray[np.int32]) -> NDArray[np.float64]:
    """log p of each target (n,) at its state ``asked`` (n,) of states (rows, width).

    Raises OnsetError when the model's numbers are not finite.
    """
    order = np.argsort(asked, kind="stable")
    at, wanted = asked[order], targets[order].astype(np.int64)
    if lm.output is None:
        sorted_found = _by_states(lm, states, at, wanted)
    else:
        sorted_found = _by_words(states, lm.output, torch.from_numpy(at), torch.from_numpy(wanted))
    if not np.isfinite(sorted_found).all():
        raise not_finite(lm.name)
    found = np.empty_like(sorted_found)
    found[order] = sorted_found
    return found


def _by_words(states: Tensor, words: Words, at: Tensor, wanted: Tensor) -> NDArray[np.float64]:
    """Block by block of the vocabulary; ``at`` and ``wanted`` as they are."""
    right = torch.empty(len(at))
    top, sums = torch.full((len(states),), -torch.inf), torch.zeros(len(states))
    order = torch.argsort(wanted)
    starts = torch.tensor([start for start, _ in words.blocks])
    bounds = [*torch.searchsorted(wanted[order], starts).tolist(), len(at)]
    for (start, block), (low, high) in zip(words.blocks, pairwise(bounds), strict=True):
        logits, here = block(states).float(), order[low:high]
        right[here] = logits[at[here], wanted[here] - start]
        _total(logits, top, sums)
    return (right - (top + sums.log_())[at]).double().numpy()


def _total(logits: Tensor, top: Tensor, sums: Tensor) -> None:
    """Take a block of logits (rows, words) up into the rows' greatest and sums of e^(logit - greatest), in place.

    Begin with ``top`` (rows,) at minus infinity and ``sums`` (rows,) at zero. The logits are overwritten.
    """
    higher = torch.maximum(top, logits.amax(-1))
    sums.mul_((top - higher).exp_()).add_(logits.sub_(higher[:, None]).exp_().sum(-1))
    top.copy_(higher)


def _by_states(lm: CausalLM, states: Tensor, at: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.float64]:
    """Block by block of the states; ``at`` rises."""
    found = np.empty(len(at))
    step = max(LOGITS.get(lm.device.type, LOGITS["cpu"]) // lm.vocab, LEAST_ROWS)
    for start in range(0, len(states), step):
        logits = lm.logits(states[start : start + step])
        low, high = np.searchsorted(at, [start, start + step])
        rows = torch.from_numpy(at[low:high] - start).to(states.device)
        target = torch.from_numpy(wanted[low:high]).to(states.device)
        total = torch.logsumexp(logits, dim=-1)
        found[low:high] = (logits[rows, target] - total[rows]).double().cpu().numpy()
    return found
