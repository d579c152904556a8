"""Text as memory-mapped token ids.

A shard is a folder: ``tokens-*.bin`` (little-endian ids, each document followed by the separator, in files of about
a gigabyte), ``counts.npy`` (how often each id occurs) and ``shard.json``. It appears whole: written beside its place
(see ``onset.data.writing``), then renamed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from onset import reading
from onset.errors import OnsetError

Array = npt.NDArray[Any]
COUNTED = 1 << 24
"""Ids that are counted at once."""


class Tokens:
    """The ids of several files as one sequence that can be sliced."""

    def __init__(self, files: Sequence[Array]) -> None:
        self.files = tuple(files)
        self.dtype = self.files[0].dtype
        self._ends = list(accumulate(len(file) for file in self.files))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, part: slice) -> Array:
        """The ids of a slice without a step: a view where they lie in one file, else a copy."""
        start, stop, _ = part.indices(len(self))
        found = []
        while start < stop:
            number = bisect_right(self._ends, start)
            begin = self._ends[number] - len(self.files[number])
            end = min(stop, self._ends[number])
            found.append(self.files[number][start - begin : end - begin])
            start = end
        if len(found) == 1:
            return found[0]
        return np.concatenate(found) if found else np.zeros(0, dtype=self.dtype)


Ids = Array | Tokens
"""Ids of a shard: an array, or several as one."""


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
    ids: Ids
    answers: Array | None = None
    """Of conversations: which ids are answers, the only ones that are learnt."""
    starts: Array | None = None
    """Of conversations: where each begins, and the end of the last."""

    @classmethod
    def open(cls, folder: Path) -> Shard:
        """Map a shard that ``writing.write`` made. One that is cut short or edited in length is an OnsetError."""
        try:
            facts = reading.json_object(folder / "shard.json")
            names = facts.get("files", ["tokens.bin"])  # shards made by earlier versions have one file
            maps = [np.memmap(folder / name, dtype=np.dtype(facts["dtype"]), mode="r") for name in names]
            ids = maps[0] if len(maps) == 1 else Tokens(maps)
            chat = [np.load(folder / f"{name}.npy") for name in ("answers", "starts")] if facts.get("chat") else []
            shard = cls(folder, facts["tokens"], facts["documents"], facts["bytes"], facts["eos"], ids, *chat)
        except (OnsetError, OSError, ValueError, KeyError, TypeError) as error:
            raise _damaged(folder, str(error)) from error
        for name, held in (("tokens", ids), ("answers", shard.answers)):
            if held is not None and len(held) != shard.tokens:
                raise _damaged(folder, f"it holds {len(held)} {name} of {shard.tokens}")
        return shard

    def counts(self, vocab: int) -> npt.NDArray[np.int64]:
        """How often each id occurs (vocab,): as counted while tokenising, or now where that was not done."""
        file = self.path / "counts.npy"
        try:
            found = np.load(file) if file.exists() else count(self.ids, vocab)
        except (OSError, ValueError) as error:
            raise _damaged(self.path, str(error)) from error
        if found.shape != (vocab,) or found.sum() != self.tokens:
            raise _damaged(self.path, f"counts of {found.sum()} tokens in {len(found)} entries")
        return np.asarray(found, dtype=np.int64)


def count(ids: Ids, vocab: int) -> npt.NDArray[np.int64]:
    """How often each id occurs (vocab,)."""
    counts = np.zeros(vocab, dtype=np.int64)
    for start in range(0, len(ids), COUNTED):
        counts += np.bincount(ids[start : start + COUNTED], minlength=vocab)
    return counts


def _damaged(folder: Path, why: str) -> OnsetError:
    return OnsetError(
        f"the token shard is damaged: {why}",
        where=folder,
        advice="delete this folder and run again: it is made anew",
    )
