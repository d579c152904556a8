"""Text as memory-mapped token ids, and batches of them as a pure function of seed and step.

A shard is a folder with ``tokens.bin`` (little-endian ids, each document followed by the separator) and
``shard.json``. It appears whole: written beside its place, then renamed.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from onset.data.tokenizer import Tokenizer
from onset.errors import OnsetError
from onset.store.parts import write_text

TOGETHER_DOCUMENTS, TOGETHER_CHARACTERS = 1024, 2_000_000
"""What is tokenized at once: enough to use the tokenizer's threads, little enough to hold."""

WEIGHT_UNITS = 1_000_000
"""Weights of a mixture are taken to a millionth of the whole, so that shares are exact whole numbers."""


@dataclass(frozen=True)
class Shard:
    """Token ids of one source, memory-mapped."""

    path: Path
    tokens: int
    """Ids in it, separators included."""
    documents: int
    bytes: int
    """UTF-8 bytes of the text."""
    eos: int
    """The separator's id."""
    ids: npt.NDArray[np.uint16] | npt.NDArray[np.uint32]

    @classmethod
    def open(cls, folder: Path) -> Shard:
        """Map a shard that ``write`` made. One that is cut short or edited in length is an OnsetError."""
        try:
            facts = json.loads((folder / "shard.json").read_text(encoding="utf-8"))
            ids = np.memmap(folder / "tokens.bin", dtype=np.dtype(facts["dtype"]), mode="r")
            shard = cls(folder, facts["tokens"], facts["documents"], facts["bytes"], facts["eos"], ids)
        except (OSError, ValueError, KeyError) as error:
            raise _damaged(folder, str(error)) from error
        if ids.size != shard.tokens:
            raise _damaged(folder, f"it holds {ids.size} tokens of {shard.tokens}")
        return shard


def write(documents: Iterable[str], tokenizer: Tokenizer, folder: Path) -> Shard:
    """Tokenize documents into a shard at ``folder``; one that is there already is opened, not made again.

    Two processes may make the same shard at once: one's work is used, the other's is dropped.
    """
    if (folder / "shard.json").exists():
        return Shard.open(folder)
    beside = folder.with_name(f".{folder.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.part")
    try:
        beside.mkdir(parents=True)
        _fill(documents, tokenizer, beside)
        os.rename(beside, folder)
    except OSError as error:
        if not (folder / "shard.json").exists():  # not another process that was quicker
            raise OnsetError(
                f"cannot write the token shard: {error.strerror or error}",
                where=folder,
                advice="free some space or choose another folder with --out, then run the same command again",
            ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return Shard.open(folder)


def _fill(documents: Iterable[str], tokenizer: Tokenizer, folder: Path) -> None:
    dtype = np.dtype("<u2" if tokenizer.vocab <= 1 << 16 else "<u4")
    counts = {"tokens": 0, "documents": 0, "bytes": 0}
    with open(folder / "tokens.bin", "wb") as stream:
        for texts in _together(documents):
            ids = array("I")
            for document in tokenizer.encode_batch(texts):
                ids.extend(document)
                ids.append(tokenizer.eos)
            np.asarray(ids).astype(dtype).tofile(stream)
            counts["tokens"] += len(ids)
            counts["documents"] += len(texts)
            counts["bytes"] += sum(len(text.encode()) for text in texts)
        stream.flush()
        os.fsync(stream.fileno())
    if counts["tokens"] < 2:
        raise OnsetError("the corpus is empty: it has no document with any text", where=folder)
    facts = {**counts, "dtype": dtype.str, "eos": tokenizer.eos, "vocab": tokenizer.vocab}
    write_text(folder / "shard.json", json.dumps(facts) + "\n")


def _together(documents: Iterable[str]) -> Iterator[list[str]]:
    """Documents in lists of a bounded size (one document alone may be larger)."""
    held: list[str] = []
    characters = 0
    for document in documents:
        held.append(document)
        characters += len(document)
        if len(held) == TOGETHER_DOCUMENTS or characters >= TOGETHER_CHARACTERS:
            yield held
            held, characters = [], 0
    if held:
        yield held


class Mixture:
    """Weighted shards, dealt out in batches: ``batch(step)`` depends on seed and step alone.

    Sequences are dealt to sources in exact proportion to their weights (each row of a batch holds as many
    tokens as any other, so shares of rows are shares of tokens). A source is cut into chunks of ``context``
    tokens; an epoch of it goes through every chunk once, in an order of its own. The last, shorter chunk is
    filled up with separators.
    """

    def __init__(self, shards: Sequence[Shard], weights: Sequence[float], context: int, batch: int, seed: int) -> None:
        if not shards or len(shards) != len(weights) or min(weights) <= 0:
            raise OnsetError("a mixture needs shards, each with a weight above zero")
        self.shards = tuple(shards)
        self.context = context
        self.rows = batch
        self.seed = seed
        self.chunks = tuple(-(-(shard.tokens - 1) // context) for shard in shards)
        self._units = [max(1, round(weight / sum(weights) * WEIGHT_UNITS)) for weight in weights]

    def batch(self, step: int, rows: range | None = None) -> npt.NDArray[np.int64]:
        """The batch of a step (0 is the first): ids (batch, context + 1); inputs and targets overlap by all but one.

        With ``rows``, only those of it: (rows, context + 1).
        """
        wanted = range(self.rows) if rows is None else rows
        out = np.empty((len(wanted), self.context + 1), dtype=np.int64)
        for row, (source, chunk) in enumerate(self.dealt(step, wanted)):
            shard = self.shards[source]
            start = chunk * self.context
            ids = shard.ids[start : start + self.context + 1]
            out[row, : len(ids)] = ids
            out[row, len(ids) :] = shard.eos
        return out

    def dealt(self, step: int, rows: range | None = None) -> Iterator[tuple[int, int]]:
        """The (source, chunk) of each row of a step's batch, or of those rows of it."""
        for row in range(self.rows) if rows is None else rows:
            slot = step * self.rows + row
            source, drawn = _deal(slot, self._units)
            epoch, place = divmod(drawn, self.chunks[source])
            yield source, _shuffled(place, self.chunks[source], _mix(self.seed, source, epoch))

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


def _damaged(folder: Path, why: str) -> OnsetError:
    return OnsetError(
        f"the token shard is damaged: {why}",
        where=folder,
        advice="delete this folder and run again: it is made anew",
    )
