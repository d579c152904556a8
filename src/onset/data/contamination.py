"""Overlap of validation texts with training data: which of their token n-grams are in the shards.

An n-gram is as many tokens as cover fifty bytes of the text on average, eight or more. The text's n-grams are kept as
64-bit hashes; shards are read some thousand tokens at a time, so that memory is bounded by the text. Two n-grams with
one hash are likelier than not only among five billion: an n-gram that is called found is found, but for that.

A study's figures are found once for each tokenizer, mix and set of validation texts, and kept beside its shards;
``onset loss --overlap`` asks for those of other texts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from onset import reading
from onset.data.shards import Ids, Shard
from onset.data.tokenize import Materials
from onset.errors import OnsetError
from onset.store.parts import write_text
from onset.study.files import written
from onset.study.spec import Source, Study, digest_of

if TYPE_CHECKING:
    from onset.data.tokenizer import Tokenizer

BYTES = 50
"""Bytes that an n-gram covers, about: ten English words, sixteen Chinese characters."""
FEWEST = 8
"""Tokens of an n-gram, at least."""
CHUNK = 1 << 16
"""Tokens of a shard that are hashed at once: what lies between steps stays in a processor's caches."""
FLAGGED = 0.5
"""A document is in the training data when more of its n-grams than this are."""

Columns = dict[str, float]
"""Columns of the losses table: ``overlap_ngrams, overlap_documents``; empty for a text too short to tell."""
Texts = Mapping[str, Mapping[str, Sequence[str]]]
"""Validation texts: name to language to documents."""

Hashes = NDArray[np.uint64]
_STEP = 0x9E3779B97F4A7C15
_BASE = 0xD1342543DE82EF95  # odd, so that it has an inverse modulo 2**64
_INVERSE = pow(_BASE, -1, 1 << 64)


@dataclass(frozen=True)
class Overlap:
    """How much of a text is in the training data."""

    n: int
    """Tokens of an n-gram."""
    ngrams: float
    """Share of the text's distinct n-grams that are in the shards."""
    documents: float
    """Share of its documents, of those long enough, most of whose n-grams are."""
    counted: int
    """Documents long enough to have an n-gram."""


def overlap(documents: Sequence[Sequence[int]], sizes: Sequence[int], shards: Iterable[Ids]) -> Overlap | None:
    """How much of a text, given as token ids and UTF-8 bytes of its documents, is in the shards' ids.

    None where no document has as many tokens as an n-gram.
    """
    tokens = sum(len(ids) for ids in documents)
    n = max(FEWEST, math.ceil(BYTES * tokens / max(sum(sizes), 1)))
    own = [found for ids in documents if len(found := hashes(np.asarray(ids), n))]
    if not own:
        return None
    known = np.unique(np.concatenate(own))
    found = np.zeros(len(known), dtype=bool)
    shift = np.uint64(64 - max(16, (8 * len(known)).bit_length()))
    bits = np.zeros(1 << (64 - int(shift)), dtype=bool)  # a first look that spares most of a shard the search
    bits[known >> shift] = True
    for ids in shards:
        for start in range(0, len(ids), CHUNK):
            here = hashes(np.asarray(ids[start : start + CHUNK + n - 1]), n)
            here = here[bits[here >> shift]]
            place = np.minimum(np.searchsorted(known, here), len(known) - 1)
            found[place[known[place] == here]] = True
    shares = [found[np.searchsorted(known, of_document)].mean() for of_document in own]
    return Overlap(n, float(found.mean()), float(np.mean([share > FLAGGED for share in shares])), len(own))


def hashes(ids: NDArray[Any], n: int) -> Hashes:
    """A 64-bit hash of each n-gram of a sequence of ids.

    A polynomial with a random number for each id, from running sums: with powers of an odd base, and of its inverse,
    one pass does for every n.
    """
    if len(ids) < n:
        return np.zeros(0, dtype=np.uint64)
    with np.errstate(over="ignore"):
        sums = np.cumsum(_numbers(int(ids.max()))[ids] * _powers(_INVERSE, len(ids)), dtype=np.uint64)
        windows = sums[n - 1 :].copy()
        windows[1:] -= sums[: len(sums) - n]
        windows *= _powers(_BASE, len(windows))
        return windows


_kept: dict[int, Hashes] = {}


def _powers(base: int, count: int) -> Hashes:
    """The first powers of a base, kept for the next chunk."""
    if len(_kept.get(base, ())) < count:
        factors = np.full(max(count, 2 * CHUNK), base, dtype=np.uint64)
        factors[0] = 1
        _kept[base] = np.cumprod(factors, dtype=np.uint64)
    return _kept[base][:count]


def _numbers(last: int) -> Hashes:
    """A random number for each id up to ``last`` (SplitMix64, Steele et al. 2014), kept for the next chunk."""
    if len(_kept.get(0, ())) <= last:
        values = np.arange(1, 2 * last + 3, dtype=np.uint64) * np.uint64(_STEP)
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        _kept[0] = values ^ (values >> np.uint64(31))
    return _kept[0]


def of_study(materials: Materials, mix: str, tokenizer: str, texts: Texts) -> dict[tuple[str, str], Columns]:
    """How much of each (validation text, language) is in the shards of a mix; kept, and read the next time."""
    path = file_of(materials, mix, tokenizer)
    if path.exists():
        told = reading.json_object(path)
        return {
            (text, language): found for text, by_language in told.items() for language, found in by_language.items()
        }
    shards = [materials.shard(source, tokenizer) for source in materials.study.mixes[mix].sources]
    encoder = materials.tokenizer(tokenizer)
    made = {
        (text, language): columns(documents, encoder, shards)
        for text, by_language in texts.items()
        for language, documents in by_language.items()
    }
    nested: dict[str, dict[str, Columns]] = {}
    for (text, language), found in made.items():
        nested.setdefault(text, {})[language] = found
    write_text(path, json.dumps(nested, indent=2, ensure_ascii=False) + "\n")
    return made


def file_of(materials: Materials, mix: str, tokenizer: str) -> Path:
    """Where the figures of a mix under a tokenizer are kept."""
    study = materials.study
    identity = {
        "shards": [materials.shard_folder(source, tokenizer).name for source in study.mixes[mix].sources],
        "validation": [text.model_dump(mode="json") for text in study.validation],
        "world": None if study.world is None else study.world.model_dump(mode="json"),
    }
    return materials.folder / f"overlap-{tokenizer}-{digest_of(identity)[:8]}.json"


def columns(documents: Sequence[str], tokenizer: Tokenizer, shards: Iterable[Shard]) -> Columns:
    """The columns of one text."""
    sizes = [len(text.encode()) for text in documents]
    found = overlap(tokenizer.encode_batch(list(documents)), sizes, (shard.ids for shard in shards))
    return {} if found is None else {"overlap_ngrams": found.ngrams, "overlap_documents": found.documents}


def opened(folder: Path) -> Materials:
    """The materials of a study's folder. Raises OnsetError where there is no study, or its shards are not made yet."""
    specification = folder / "study.toml"
    if not specification.exists():
        raise OnsetError("no study here", where=specification, advice="give the folder of 'onset run ... --out'")
    study = written(specification)
    materials = Materials(study, folder)
    name = study.runs[0].tokenizer
    folders = [materials.tokenizer_folder(name), *(materials.shard_folder(one, name) for one in _sources(study))]
    absent = next((one for one in folders if not one.exists()), None)
    if absent is not None:
        raise OnsetError("the study's training text is not there yet", where=absent, advice="run the study first")
    return materials


@lru_cache(maxsize=16)
def of_text(folder: Path, documents: tuple[str, ...]) -> Columns:
    """How much of a text is in the training text of a study, of all its mixes, under its first tokenizer."""
    materials = opened(folder)
    name = materials.study.runs[0].tokenizer
    shards = (materials.shard(source, name) for source in _sources(materials.study))
    return columns(documents, materials.tokenizer(name), shards)


def _sources(study: Study) -> list[Source]:
    """The sources of all mixes that runs are trained on, each once; those of tunings do not count."""
    mixes = sorted({study.base(run).mix for run in study.runs})
    return list({source.name: source for mix in mixes for source in study.mixes[mix].sources}.values())
