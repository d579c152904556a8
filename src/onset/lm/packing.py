"""Rows into batches, and batches through a model: log-probabilities summed where they are asked for.

Rows are sorted by length and cut into batches of a bounded number of tokens; logits are made only of the columns
that are asked for, a bounded number at a time. When memory runs out the batch is halved and tried again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onset.lm import sharing
from onset.lm.causal import CausalLM, not_finite
from onset.lm.prefixes import Group, Row

CPU_TOKENS = 4096
"""Tokens of a batch on a CPU: enough to keep its matrix units busy, few enough for its caches."""
GPU_TOKENS = 32_768
LOGITS = 1 << 24
"""Most logits held at once (64 MiB in float32)."""
PASS_PRICE = 256
"""Padding that is worth saving a pass, in tokens."""


@dataclass
class Engine:
    """Runs groups of rows through one model. ``batch_tokens`` bounds a batch; it is halved when memory runs out."""

    lm: CausalLM
    batch_tokens: int

    @torch.inference_mode()
    def run(self, groups: Sequence[Group], sums: NDArray[np.float64], share: bool) -> None:
        """Add the log-probabilities that the rows ask for to ``sums``."""
        for group in groups:
            prefix = prefix_of(self.lm, group.prefix) if len(group.prefix) else None
            for batch in batches(group.rows, self.batch_tokens, self.lm.alone):
                self._run_batch(batch, prefix, sums, share)

    def _run_batch(
        self,
        rows: list[Row],
        prefix: dict[int, sharing.KeysValues] | None,
        sums: NDArray[np.float64],
        share: bool,
    ) -> None:
        try:
            found = self._log_probs(rows, prefix, share)
        except RuntimeError as error:
            if not out_of_memory(error) or len(rows) == 1:
                raise
            self.batch_tokens = max(self.batch_tokens // 2, 1)
        else:
            np.add.at(sums, np.concatenate([row.slots for row in rows]), found)
            return
        half = len(rows) // 2
        for part in (rows[:half], rows[half:]):
            self._run_batch(part, prefix, sums, share)

    def _log_probs(
        self, rows: list[Row], prefix: dict[int, sharing.KeysValues] | None, share: bool
    ) -> NDArray[np.float64]:
        """Log-probability of every target of the rows, in order."""
        device = self.lm.device
        length = max(len(row) for row in rows)
        tokens = torch.from_numpy(padded([row.tokens for row in rows], length, 0)).to(device)
        if share:
            places = torch.from_numpy(padded([row.places for row in rows], length, 0)).to(device)
            plan = sharing.Plan(prefix=prefix, mask=self._mask(rows, length))
            states = self.lm.states(tokens, places, plan)
        else:
            states = self.lm.states(tokens)
        columns = np.concatenate([row.columns + index * length for index, row in enumerate(rows)])
        starts = np.cumsum([0] + [len(row.columns) for row in rows])
        asked = np.concatenate([row.asked + start for row, start in zip(rows, starts, strict=False)])
        targets = np.concatenate([row.targets for row in rows])
        return self._picked(states.reshape(-1, states.shape[-1]), columns, asked, targets)

    def _mask(self, rows: list[Row], length: int) -> Tensor | None:
        if all(row.branches[-1] == sharing.QUESTION for row in rows):
            return None
        branches = torch.from_numpy(padded([row.branches for row in rows], length, sharing.PADDING))
        return sharing.branch_mask(branches.to(self.lm.device), self.lm.dtype)

    def _picked(
        self, states: Tensor, columns: NDArray[np.int64], asked: NDArray[np.int64], targets: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        """log p of each target at its column, the logits made a bounded number at a time."""
        order = np.argsort(asked, kind="stable")
        asked, wanted = asked[order], targets[order].astype(np.int64)
        picked = np.empty(len(asked))
        step = max(LOGITS // self.lm.vocab, 1)
        for start in range(0, len(columns), step):
            here = torch.from_numpy(columns[start : start + step]).to(states.device)
            logits = self.lm.logits(states[here])
            low, high = np.searchsorted(asked, [start, start + step])
            at = torch.from_numpy(asked[low:high] - start).to(states.device)
            target = torch.from_numpy(wanted[low:high]).to(states.device)
            total = torch.logsumexp(logits, dim=-1)
            picked[low:high] = (logits[at, target] - total[at]).double().cpu().numpy()
        if not np.isfinite(picked).all():
            raise not_finite(self.lm.name)
        back = np.empty_like(picked)
        back[order] = picked
        return back


def prefix_of(lm: CausalLM, prefix: NDArray[np.int32]) -> dict[int, sharing.KeysValues]:
    """Keys and values of a prefix by layer, computed once."""
    tokens = torch.from_numpy(prefix.astype(np.int64))[None].to(lm.device)
    plan = sharing.Plan(keep=True)
    lm.states(tokens, torch.arange(len(prefix), device=lm.device)[None], plan)
    return plan.kept


def batches(rows: Sequence[Row], budget: int, alone: int | None = None) -> Iterator[list[Row]]:
    """Rows by length, longest first, in batches of at most ``budget`` tokens with little padding."""
    batch: list[Row] = []
    padding = 0
    for row in sorted(rows, key=len, reverse=True):
        if batch:
            longest = len(batch[0])
            padding += longest - len(row)
            full = (len(batch) + 1) * longest > budget
            if full or padding > PASS_PRICE or (alone is not None and longest > alone):
                yield batch
                batch, padding = [], 0
        batch.append(row)
    if batch:
        yield batch


def batch_size(lm: CausalLM) -> int:
    """Tokens of a batch: bounded on a CPU by caches, elsewhere by free memory."""
    if lm.device.type != "cuda":
        budget = CPU_TOKENS
    else:
        free, _ = torch.cuda.mem_get_info(lm.device)
        # About forty numbers of the width are alive per token at the widest point of a block.
        budget = min(GPU_TOKENS, int(free * 0.5 / (40 * lm.width * lm.dtype.itemsize)))
    if lm.states_are_logits:
        budget = min(budget, max(LOGITS * 4 // lm.vocab, 1))
    return max(budget, 256)


def out_of_memory(error: RuntimeError) -> bool:
    """Whether an error says that memory ran out, on a GPU or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def padded(rows: Sequence[NDArray[np.int32]], length: int | None = None, fill: int = 0) -> NDArray[np.int64]:
    """Rows of unequal lengths as one array (rows, length), filled on the right."""
    length = length if length is not None else max(len(row) for row in rows)
    made = np.full((len(rows), length), fill, dtype=np.int64)
    for index, row in enumerate(rows):
        made[index, : len(row)] = row
    return made
