"""Batches of a weighted mix of shards, as a pure function of seed and step.

Of conversations only the answers are learnt: an id that is read and not to be learnt stands in a batch as ``~id``,
which is negative.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from onset.data.shards import Array, Shard
from onset.errors import OnsetError

WEIGHT_UNITS = 1_000_000
"""Weights of a mixture are taken to a millionth of the whole, so that shares are exact whole numbers."""


class Chunks:
    """Documents one after another, cut into chunks; the last, shorter one is filled up with separators."""

    def __init__(self, shard: Shard, context: int) -> None:
        self.shard, self.context = shard, context
        self.count = -(-(shard.tokens - 1) // context)

    def fill(self, number: int, row: Array) -> None:
        """Write a row's ids (context + 1,)."""
        start = number * self.context
        ids = self.shard.ids[start : start + self.context + 1]
        row[: len(ids)] = ids
        row[len(ids) :] = self.shard.eos


class Conversations:
    """Whole conversations, as many in a row as fit, in their order; none is cut.

    A row begins with the separator, as a text that is asked about does. Those longer than a row are left out and
    counted. Raises OnsetError where none fits.
    """

    def __init__(self, shard: Shard, context: int) -> None:
        assert shard.answers is not None
        assert shard.starts is not None
        self.shard, self.answers, self.starts = shard, shard.answers, shard.starts
        self.rows: list[list[int]] = []
        self.left_out = 0
        room = 0
        for number, size in enumerate(np.diff(shard.starts).tolist()):
            if size > context:
                self.left_out += 1
                continue
            if size > room:
                self.rows.append([])
                room = context
            self.rows[-1].append(number)
            room -= size
        if not self.rows:
            raise OnsetError(
                f"no conversation fits into {context} tokens", where=shard.path,
                advice="train with a longer context, or give shorter conversations",
            )  # fmt: skip

    @property
    def count(self) -> int:
        """Rows."""
        return len(self.rows)

    def fill(self, number: int, row: Array) -> None:
        """Write a row's ids (context + 1,), those that are not to be learnt as ``~id``."""
        row[:] = ~self.shard.eos
        at = 1
        for one in self.rows[number]:
            begin, end = int(self.starts[one]), int(self.starts[one + 1])
            ids = np.asarray(self.shard.ids[begin:end], dtype=row.dtype)
            row[at : at + end - begin] = np.where(self.answers[begin:end], ids, ~ids)
            at += end - begin


class Mixture:
    """Weighted shards, dealt out in batches: ``batch(step)`` depends on seed and step alone.

    Sequences are dealt to sources in exact proportion to their weights (each row of a batch holds as many
    tokens as any other, so shares of rows are shares of tokens). A source is cut into chunks of ``context``
    tokens, or its conversations are packed into rows; an epoch goes through every one once, in an order of its own.
    """

    def __init__(self, shards: Sequence[Shard], weights: Sequence[float], context: int, batch: int, seed: int) -> None:
        if not shards or len(shards) != len(weights) or min(weights) <= 0:
            raise OnsetError("a mixture needs shards, each with a weight above zero")
        self.shards = tuple(shards)
        self.context = context
        self.rows = batch
        self.seed = seed
        self.parts: tuple[Chunks | Conversations, ...] = tuple(
            Chunks(shard, context) if shard.answers is None else Conversations(shard, context) for shard in shards
        )
        self.chunks = tuple(part.count for part in self.parts)
        self._units = [max(1, round(weight / sum(weights) * WEIGHT_UNITS)) for weight in weights]

    def batch(self, step: int, rows: range | None = None) -> npt.NDArray[np.int64]:
        """The batch of a step (0 is the first): ids (batch, context + 1); inputs and targets overlap by all but one.

        An id that is read and not learnt stands as ``~id``. With ``rows``, only those of it: (rows, context + 1).
        """
        wanted = range(self.rows) if rows is None else rows
        out = np.empty((len(wanted), self.context + 1), dtype=np.int64)
        for row, (source, chunk) in enumerate(self.dealt(step, wanted)):
            self.parts[source].fill(chunk, out[row])
        return out

    def dealt(self, step: int, rows: range | None = None) -> Iterator[tuple[int, int]]:
        """The (source, chunk) of each row of a step's batch, or of those rows of it."""
        for row in range(self.rows) if rows is None else rows:
            slot = step * self.rows + row
            source, drawn = _deal(slot, self._units)
            epoch, place = divmod(drawn, self.chunks[source])
            yield source, _shuffled(place, self.chunks[source], _mix(self.seed, source, epoch))

    @property
    def left_out(self) -> int:
        """Conversations that are longer than a row."""
        return sum(part.left_out for part in self.parts if isinstance(part, Conversations))

    def epochs(self, step: int) -> list[float]:
        """How often each source has been gone through before this step."""
        return [
            drawn / chunks
            for drawn, chunks in zip(_dealt_before(step * self.rows, self._units), self.chunks, strict=True)
        ]


def _deal(slot: int, units: Sequence[int]) -> tuple[int, int]:
    """The source of a slot, and how many earlier slots were that source's.

    The first source takes the slots at which floor(slot * share) grows (a Beatty sequence: evenly spread and
    counted in closed form); the others share out the rest in the same way.
    """
    left = sum(units)
    for source, unit in enumerate(units):
        before = slot * unit // left
        if (slot + 1) * unit // left > before:
            return source, before
        slot -= before
        left -= unit
    raise AssertionError("the last source takes all that is left")


def _dealt_before(slot: int, units: Sequence[int]) -> list[int]:
    counts, left = [], sum(units)
    for unit in units:
        counts.append(slot * unit // left)
        slot -= counts[-1]
        left -= unit
    return counts


def _shuffled(place: int, size: int, key: int) -> int:
    """Where a keyed permutation of range(size) sends ``place``, without making the permutation.

    Four rounds of a Feistel network on an even number of bits permute a range of at most four times the size;
    results outside are sent on until one falls inside (cycle walking; Black and Rogaway 2002, "Ciphers with
    arbitrary finite domains").
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    while True:
        left, right = place >> half, place & mask
        for turn in range(4):
            left, right = right, left ^ (_mix(key, turn, right) & mask)
        place = left << half | right
        if place < size:
            return place


def _mix(*values: int) -> int:
    """A 64-bit hash of whole numbers: the finaliser of SplitMix64 (Steele et al. 2014) over them in turn."""
    state = 0
    for value in values:
        state = (state + value + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        state = (state ^ state >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state
