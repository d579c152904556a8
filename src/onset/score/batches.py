"""Rows into batches, and batches through a model: log-probabilities summed where they are asked for.

Rows are sorted by length and cut into batches of a bounded number of tokens, which the threads of a processor share;
logits are made only of the columns that are asked for. When memory runs out the batch is halved and tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from onset.cpu.threads import Lot, carry_out
from onset.errors import OnsetError
from onset.score import attention as sharing
from onset.score.causal import CausalLM
from onset.score.flash import KeysValues
from onset.score.logprobs import picked
from onset.score.requests import Group, Row

Keys = dict[int, KeysValues]
"""Keys and values by layer."""

CPU_STATES = 1 << 18
"""Numbers of one state of all tokens of a batch on a CPU, so that what lies between products stays in its caches:
measured on widths 96 (2,700 tokens) and 256 (1,000); twice as much is a tenth slower."""
CPU_TOKENS = (512, 4096)
"""Least and most tokens of a batch on a CPU."""
GPU_TOKENS = 32_768
WHOLE_LOGITS = 1 << 26
"""Most logits of a batch of a model that cannot make them for some tokens only."""


@dataclass
class Engine:
    """Runs groups of rows through one model. ``batch_tokens`` bounds a batch; it is halved when memory runs out."""

    lm: CausalLM
    batch_tokens: int

    def run(self, groups: Sequence[Group], sums: NDArray[np.float64], share: bool) -> None:
        """Add the log-probabilities that the rows ask for to ``sums``, in one order however the work is shared."""
        plans = [list(batches(group.rows, self.batch_tokens, share, self.lm.alone)) for group in groups]
        found: list[list[NDArray[np.float64]]] = [[_NOTHING] * len(plan) for plan in plans]

        def lot(number: int) -> Lot[Keys | None]:
            def batch(place: int) -> Callable[[Keys | None], None]:
                def do(prefix: Keys | None) -> None:
                    found[number][place] = self._run_batch(plans[number][place], prefix, share)

                return do

            prefix = groups[number].prefix
            return Lot(
                lambda: prefix_of(self.lm, prefix) if len(prefix) else None,
                [batch(place) for place in range(len(plans[number]))],
            )

        carry_out([lot(number) for number in range(len(groups))], threads(self.lm) if share else 1)
        for plan, made in zip(plans, found, strict=True):
            for rows, log_probs in zip(plan, made, strict=True):
                np.add.at(sums, np.concatenate([row.slots for row in rows]), log_probs)

    @torch.inference_mode()
    def _run_batch(self, rows: list[Row], prefix: Keys | None, share: bool) -> NDArray[np.float64]:
        """Log-probability of every target of the rows; a batch that does not fit is halved, and so are later ones."""
        fits = len(rows) == 1 or len(rows) * len(rows[0]) <= self.batch_tokens or not self._short
        if fits:
            try:
                return self._log_probs(rows, prefix, share)
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                if len(rows) == 1:
                    raise OnsetError(
                        f"memory ran out on one prompt of {len(rows[0])} tokens",
                        where=self.lm.name,
                        advice="give fewer --workers, a smaller --dtype, or another --device; what is done stays done",
                    ) from error
                self.batch_tokens, self._short = max(self.batch_tokens // 2, 1), True
        half = len(rows) // 2
        return np.concatenate([self._run_batch(part, prefix, share) for part in (rows[:half], rows[half:])])

    _short: bool = field(default=False, init=False)
    """Whether memory ran out once."""

    def _log_probs(self, rows: list[Row], prefix: Keys | None, share: bool) -> NDArray[np.float64]:
        """Log-probability of every target of the rows, in order."""
        device, plan, positions = self.lm.device, None, None
        if share:
            # End to end in one long row.
            starts = np.cumsum([0] + [len(row) for row in rows])
            plan = sharing.plan_of([row.branches for row in rows], prefix, device, self.lm.dtype)
            tokens = np.concatenate([row.tokens for row in rows], dtype=np.int64)[None]
            places = np.concatenate([row.places for row in rows], dtype=np.int64)[None]
            positions = torch.from_numpy(places).to(device)
        else:
            tokens = padded([row.tokens for row in rows])
            starts = np.arange(len(rows) + 1) * tokens.shape[1]
        targets = np.concatenate([row.targets for row in rows])
        self.lm.check_ids(tokens, targets)
        columns = np.concatenate([row.columns + start for row, start in zip(rows, starts, strict=False)])
        wanted = torch.from_numpy(columns).to(device)
        states = self.lm.states(torch.from_numpy(tokens).to(device), positions, plan, wanted)
        begins = np.cumsum([0] + [len(row.columns) for row in rows])
        asked = np.concatenate([row.asked + begin for row, begin in zip(rows, begins, strict=False)])
        return picked(self.lm, states, asked, targets)


_NOTHING: NDArray[np.float64] = np.zeros(0)


def threads(lm: CausalLM) -> int:
    """Threads among which the batches of a model may be shared: one where its attention is switched pass by pass."""
    return torch.get_num_threads() if lm.device.type == "cpu" and lm.reach >= lm.context else 1


@torch.inference_mode()
def prefix_of(lm: CausalLM, prefix: NDArray[np.int32]) -> Keys:
    """Keys and values of a prefix by layer, computed once."""
    lm.check_ids(prefix)
    tokens = torch.from_numpy(prefix.astype(np.int64))[None].to(lm.device)
    plan = sharing.plan_of([np.zeros(len(prefix), dtype=np.int32)], None, lm.device, lm.dtype)
    plan.keep = True
    none = torch.zeros(0, dtype=torch.long, device=lm.device)
    lm.states(tokens, torch.arange(len(prefix), device=lm.device)[None], plan, none)
    return plan.kept


def batches(rows: Sequence[Row], budget: int, share: bool, alone: int | None = None) -> Iterator[list[Row]]:
    """Rows by length, longest first, in batches of at most ``budget`` tokens; shared rows have no padding."""
    batch: list[Row] = []
    tokens = 0
    for row in sorted(rows, key=len, reverse=True):
        if batch:
            longest = len(batch[0])
            full = tokens + len(row) > budget if share else (len(batch) + 1) * longest > budget
            if full or (alone is not None and not share and longest > alone):
                yield batch
                batch, tokens = [], 0
        batch.append(row)
        tokens += len(row)
    if batch:
        yield batch


def batch_size(lm: CausalLM) -> int:
    """Tokens of a batch: bounded on a CPU by caches, elsewhere by free memory."""
    if lm.device.type != "cuda":
        budget = min(max(CPU_STATES // lm.width, CPU_TOKENS[0]), CPU_TOKENS[1])
    else:
        free, _ = torch.cuda.mem_get_info(lm.device)
        # About forty numbers of the width are alive per token at the widest point of a block.
        budget = max(min(GPU_TOKENS, int(free * 0.5 / (40 * lm.width * lm.dtype.itemsize))), CPU_TOKENS[0])
    if lm.states_are_logits:
        budget = min(budget, max(WHOLE_LOGITS // lm.vocab, 1))
    return budget


def out_of_memory(error: RuntimeError) -> bool:
    """Whether an error says that memory ran out, on a GPU or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def padded(rows: Sequence[NDArray[np.int32]]) -> NDArray[np.int64]:
    """Rows of unequal lengths as one array (rows, length), filled with 0 on the right."""
    made = np.zeros((len(rows), max(len(row) for row in rows)), dtype=np.int64)
    for index, row in enumerate(rows):
        made[index, : len(row)] = row
    return made
