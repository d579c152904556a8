"""What ``onset loss`` measures beside the plain loss: a reference for unigrams, overlap, and models compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from onset.errors import OnsetError
from onset.store.rundir import RunDir
from onset.store.tables import read_about, read_part
from onset.store.text import documents
from onset.work.evaluate import Texts, write_losses

if TYPE_CHECKING:
    from onset.lm.causal import CausalLM

SMOOTHING = "one added to every count"


@dataclass(frozen=True)
class Measuring:
    """How losses are measured."""

    reference: Path | None = None
    """Text that unigrams are counted on; without it nothing is normalised."""
    stride: int | None = None
    """Tokens that a window after the first adds; None for the whole context."""
    most_changed: float = 0.01
    """Share of a text's bytes that a tokenizer may drop or change."""
    study: Path | None = None
    """Folder of a study whose shards the texts are looked for in."""

    def about(self, texts: Texts) -> dict[str, Any]:
        """What a part of losses says of itself."""
        return {
            "texts": sorted(texts), "stride": self.stride, "most_changed": self.most_changed,
            "unigrams": None if self.reference is None else {"counted_on": str(self.reference), "smoothing": SMOOTHING},
            "overlap_with": None if self.study is None else str(self.study),
        }  # fmt: skip


PLAIN = Measuring()


def measured(rundir: RunDir, step: int, names: Sequence[str], measuring: Measuring) -> bool:
    """Whether the part of losses is there, of these texts and measured so; one without a word of itself counts."""
    if not rundir.loss(step).exists():
        return False
    said = read_about(rundir.loss(step))
    return not said or said == measuring.about({name: {} for name in names})


def measure(lm: CausalLM, texts: Texts, rundir: RunDir, step: int, measuring: Measuring) -> None:
    """Measure one set of weights on the texts and write its parts."""
    from onset.lm.heldout import Unigram

    unigram = None
    if measuring.reference is not None:
        unigram = Unigram.of_texts(list(documents(measuring.reference)), lm.encoder, lm.vocab)
    columns: dict[tuple[str, str], dict[str, Any]] = {}
    for name, by_language in texts.items():
        for language, held_out in by_language.items():
            if measuring.study is not None:
                columns[name, language] = overlap_of(measuring.study, tuple(held_out))
    write_losses(
        lm, texts, rundir, step, unigram, about=measuring.about(texts), columns=columns,
        stride=measuring.stride, most_changed=measuring.most_changed,
    )  # fmt: skip


@lru_cache(maxsize=16)
def overlap_of(study: Path, held_out: tuple[str, ...]) -> dict[str, Any]:
    """How much of a text is in a study's training text, under the study's first tokenizer; empty for short texts."""
    from onset.lm.overlap import overlap
    from onset.study.files import parse
    from onset.work.materials import Materials

    specification = study / "study.toml"
    if not specification.exists():
        raise OnsetError("no study here", where=specification, advice="give the folder of 'onset run ... --out'")
    spec = parse(specification.read_text(encoding="utf-8"), where=specification)
    materials = Materials(spec, study)
    name = spec.runs[0].tokenizer
    tokenizer = materials.tokenizer(name)
    mixes = {run.mix for run in spec.runs}
    sources = {source.name: source for mix in sorted(mixes) for source in spec.mixes[mix].sources}
    shards = (materials.shard(source, name).ids for source in sources.values())
    found = overlap(tokenizer.encode_batch(list(held_out)), [len(text.encode()) for text in held_out], shards)
    return {} if found is None else {"overlap_ngrams": found.ngrams, "overlap_documents": found.documents}


def compare(parts: Mapping[str, pd.DataFrame], level: float = 0.95) -> pd.DataFrame:
    """Every model against the first, paired by document: ``text, language, model, against, bits_per_byte, low, high``.

    ``parts`` are rows of the documents table by model. The difference is of pooled bits per byte, below zero where
    ``model`` has the lower loss; its standard error is that of a ratio of sums over documents, its interval
    Student's t. Raises OnsetError where the documents are not the same.
    """
    from scipy import stats

    from onset.lm.heldout import ratio_stderr

    names = list(parts)
    rows = []
    keys = ["text", "language", "document"]
    for name in names[1:]:
        both = parts[names[0]].merge(parts[name], on=keys, suffixes=("", "_other"))
        if len(both) != len(parts[names[0]]) or (both.bytes != both.bytes_other).any():
            raise OnsetError("the models were measured on different documents", where=f"{names[0]}, {name}")
        groups = [(text, language, of) for (text, language), of in both.groupby(["text", "language"], sort=False)]
        groups += [(text, "all", of) for text, of in both.groupby("text", sort=False) if of.language.nunique() > 1]
        for text, language, of_text in groups:
            bits = (of_text.nats_other - of_text.nats).to_numpy(float) / math.log(2)
            size = of_text.bytes.to_numpy(float)
            stderr = ratio_stderr(bits, size)
            gap = float(bits.sum() / size.sum())
            known = int((size > 0).sum())
            reach = math.nan if stderr is None else float(stats.t.ppf(0.5 + level / 2, known - 1)) * stderr
            rows.append(
                {
                    "text": text, "language": language, "model": name, "against": names[0], "bits_per_byte": gap,
                    "low": gap - reach, "high": gap + reach, "documents": known,
                    "lower_in": float(np.mean(bits < 0)),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def compared(rundirs: Mapping[str, tuple[RunDir, int]], texts: Sequence[str], level: float = 0.95) -> pd.DataFrame:
    """``compare`` for models as they stand on disk."""
    parts = {}
    for name, (rundir, step) in rundirs.items():
        if rundir.documents(step).exists():
            rows = read_part(rundir.documents(step))
            parts[name] = rows[rows.text.isin(list(texts))]
    return compare(parts, level) if len(parts) > 1 else pd.DataFrame()
