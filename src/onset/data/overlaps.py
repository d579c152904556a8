"""Overlap of validation texts with a study's own shards: by itself for every study, and for ``onset loss --overlap``.

A study's figures are found once for each tokenizer, mix and set of validation texts, and kept beside its shards.
Memory is bounded by the validation text (see ``onset.data.contamination``): shards are memory-mapped and read in parts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from onset.data.tokenize import Materials
from onset.errors import OnsetError
from onset.store.parts import write_text
from onset.study.files import parse
from onset.study.spec import Source, Study, digest_of

if TYPE_CHECKING:
    from onset.data.shards import Shard
    from onset.data.tokenizer import Tokenizer

Columns = dict[str, float]
"""Columns of the losses table: ``overlap_ngrams, overlap_documents``; empty for a text too short to tell."""
Texts = Mapping[str, Mapping[str, Sequence[str]]]
"""Validation texts: name to language to documents."""


def of_study(materials: Materials, mix: str, tokenizer: str, texts: Texts) -> dict[tuple[str, str], Columns]:
    """How much of each (validation text, language) is in the shards of a mix; kept, and read the next time."""
    path = _path(materials, mix, tokenizer)
    if path.exists():
        told = json.loads(path.read_text(encoding="utf-8"))
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


def _path(materials: Materials, mix: str, tokenizer: str) -> Path:
    study = materials.study
    identity = {
        "shards": [materials.shard_folder(source, tokenizer).name for source in study.mixes[mix].sources],
        "validation": [text.model_dump(mode="json") for text in study.validation],
        "world": None if study.world is None else study.world.model_dump(mode="json"),
    }
    return materials.folder / f"overlap-{tokenizer}-{digest_of(identity)[:8]}.json"


def columns(documents: Sequence[str], tokenizer: Tokenizer, shards: Iterable[Shard]) -> Columns:
    """The columns of one text."""
    from onset.data.contamination import overlap

    sizes = [len(text.encode()) for text in documents]
    found = overlap(tokenizer.encode_batch(list(documents)), sizes, (shard.ids for shard in shards))
    return {} if found is None else {"overlap_ngrams": found.ngrams, "overlap_documents": found.documents}


def opened(folder: Path) -> Materials:
    """The materials of a study's folder. Raises OnsetError where there is no study, or its shards are not made yet."""
    specification = folder / "study.toml"
    if not specification.exists():
        raise OnsetError("no study here", where=specification, advice="give the folder of 'onset run ... --out'")
    study = parse(specification.read_text(encoding="utf-8"), where=specification)
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
    """The sources of all mixes that runs are trained on, each once."""
    mixes = sorted({run.mix for run in study.runs})
    return list({source.name: source for mix in mixes for source in study.mixes[mix].sources}.values())
