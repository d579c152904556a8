"""What ``onset loss`` does beside measuring: what is owed, a reference for unigrams, overlap, and models compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from onset.data import contamination
from onset.data.heldout_text import Text, content, there
from onset.errors import OnsetError
from onset.store.parts import read_about, read_part, read_rows
from onset.store.rundir import RunDir
from onset.store.text import documents
from onset.work.jobs.evaluate import Kept, Texts, write_losses

if TYPE_CHECKING:
    from onset.score.causal import CausalLM
    from onset.score.server import ServedModel

SMOOTHING = "one added to every count"

Record = Mapping[str, Mapping[str, Any]]
"""By text: its content and how it is measured, as JSON. Kept with the figures, which are stale once it differs."""


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
    begin: str | None = None
    """Served models: text that begins every document, where the server puts no token there."""

    def record(self, texts: Mapping[str, Mapping[str, Text]]) -> Record:
        """All that the figures of each text depend on. Raises OnsetError for a reference or study that is not there."""
        unigrams = overlap = None
        if self.reference is not None:
            known = content(there(self.reference, "reference text"))
            unigrams = {"counted_on": str(self.reference), "content": known, "smoothing": SMOOTHING}
        if self.study is not None:
            overlap = {"study": str(self.study), "digest": contamination.opened(self.study).study.digest()}
        how: dict[str, Any] = {
            "stride": self.stride, "most_changed": self.most_changed, "unigrams": unigrams, "overlap_with": overlap,
        }  # fmt: skip
        if self.begin is not None:
            how["begin"] = self.begin
        return {
            name: {"content": {language: content(text) for language, text in by_language.items()}, **how}
            for name, by_language in texts.items()
        }


PLAIN = Measuring()


def owed(rundir: RunDir, step: int, record: Record) -> list[str]:
    """Texts that are not measured yet, or were when they or the way of measuring were others."""
    part = rundir.loss(step)
    if not part.exists() or not rundir.documents(step).exists():
        return list(record)
    said = read_about(part).get("texts", {})
    return [name for name, entry in record.items() if said.get(name) != entry]


def measure(
    lm: CausalLM | ServedModel, texts: Texts, rundir: RunDir, step: int, measuring: Measuring, record: Record
) -> None:
    """Measure one set of weights on the texts and write its parts anew, with what they hold of other texts."""
    from onset.score.server import ServedModel

    said, kept = _kept(rundir, step, set(texts))
    unigram = None
    if measuring.reference is not None:
        if isinstance(lm, ServedModel):
            raise OnsetError(
                "unigrams are counted in the model's tokens, which a server does not tell", where=lm.address,
                advice="leave --reference out, or measure the weights",
            )  # fmt: skip
        from onset.score.heldout import Unigram

        unigram = Unigram.of_texts(list(documents(measuring.reference)), lm.encoder, lm.vocab)
    columns: dict[tuple[str, str], contamination.Columns] = {}
    for name, by_language in texts.items():
        for language, held_out in by_language.items():
            if measuring.study is not None:
                columns[name, language] = contamination.of_text(measuring.study, tuple(held_out))
    write_losses(
        lm, texts, rundir, step, unigram, about={"texts": {**said, **{name: record[name] for name in texts}}},
        columns=columns, kept=kept, stride=measuring.stride, most_changed=measuring.most_changed,
        begin=measuring.begin,
    )  # fmt: skip


def _kept(rundir: RunDir, step: int, names: set[str]) -> tuple[dict[str, Any], Kept]:
    """What the parts of a checkpoint say and hold of other texts than these.

    Raises OnsetError where one of these is a text that a study measures by itself, or where it has yet to do so: its
    own losses would be lost, or taken for measured.
    """
    part = rundir.loss(step)
    if not part.exists():
        meta = rundir.meta() if rundir.meta_path.exists() else {}
        if meta.get("study") and (rundir.path.parent.parent / "study.toml").exists():
            raise OnsetError(
                "the study has not measured this checkpoint yet", where=rundir.checkpoint(step),
                advice="finish the study with 'onset run', or give another --out",
            )  # fmt: skip
        return {}, ([], [])
    said = read_about(part).get("texts", {})
    rows, told = read_rows(part), read_rows(rundir.documents(step)) if rundir.documents(step).exists() else []
    foreign = next((row["text"] for row in rows if row["text"] in names and row["text"] not in said), None)
    if foreign is not None:
        raise OnsetError(
            f"the losses here hold a text '{foreign}' already, which is the study's own", where=part,
            advice="rename the file, or give another --out",
        )  # fmt: skip
    said = {name: entry for name, entry in said.items() if name not in names}
    return said, ([row for row in rows if row["text"] not in names], [row for row in told if row["text"] not in names])


def compare(parts: Mapping[str, pd.DataFrame], level: float = 0.95) -> pd.DataFrame:
    """Every model against the first, paired by document: ``text, language, model, against, bits_per_byte, low, high``.

    ``parts`` are rows of the documents table by model. The difference is of pooled bits per byte, below zero where
    ``model`` has the lower loss; its standard error is that of a ratio of sums over documents, its interval
    Student's t. Raises OnsetError where the documents are not the same.
    """
    from scipy import stats

    from onset.score.figures import ratio_stderr

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
