"""What training and evaluation stand on: tokenizers, token shards and held-out documents, by digest.

Everything here is derived from the study and can be made again. A part is named after the digest of all
that it depends on, so an edited study gets new parts and the old ones stay.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from onset import reading
from onset.data.chat import TEMPLATES
from onset.data.chat import conversations as read_conversations
from onset.errors import OnsetError
from onset.store.parts import write_text
from onset.store.text import documents as read_documents
from onset.study.files import WORLD
from onset.study.spec import SPEC_VERSION, Source, Study, TokenizerSpec, Validation, digest_of
from onset.world import build as build_world

if TYPE_CHECKING:
    from onset.data.mixture import Mixture
    from onset.data.shards import Shard
    from onset.data.tokenizer import Tokenizer
    from onset.study.spec import Run

Say = Callable[[str], None]


@dataclass(frozen=True)
class Materials:
    """The derived text of a study below its folder. Nothing is made at construction."""

    study: Study
    out: Path

    @property
    def folder(self) -> Path:
        return self.out / "text"

    def prepare(self, say: Say = lambda line: None) -> None:
        """Make every tokenizer and shard that is absent, and the world's entropy."""
        for name in sorted({run.tokenizer for run in self.study.runs}):
            say(f"tokenizer '{name}'")
            self.tokenizer(name)
        for run in self.study.runs:
            for source in self.study.mixes[run.mix].sources:
                self.shard(source, run.tokenizer, say)
        for name in sorted({run.tokenizer for run in self.study.runs}):
            self._write_floor(name)

    def tokenizer_folder(self, name: str) -> Path:
        spec = self.study.tokenizers[name]
        identity: dict[str, object] = {"version": SPEC_VERSION, "spec": spec.model_dump(mode="json", exclude={"path"})}
        if spec.path is None:
            identity["mix"] = [self._source_identity(source) for source in self.study.mixes[spec.mix].sources]
        return self.folder / f"tokenizer-{name}-{digest_of(identity)[:8]}"

    def tokenizer(self, name: str) -> Tokenizer:
        """The tokenizer of that name, trained (or copied from the given one) on first use."""
        from onset.data.tokenizer import Tokenizer, train

        folder = self.tokenizer_folder(name)
        if folder.exists():
            return Tokenizer.load(folder)
        spec = self.study.tokenizers[name]
        made = Tokenizer.load(Path(spec.path)) if spec.path is not None else train(self._tokenizer_text(spec), spec)
        _publish_folder(folder, made.save)
        return Tokenizer.load(folder)

    def vocab(self, name: str) -> int:
        """Entries of that tokenizer, from the specification where it states them."""
        stated = self.study.tokenizers[name].vocab
        return stated if stated is not None else self.tokenizer(name).vocab

    def shard(self, source: Source, tokenizer: str, say: Say = lambda line: None) -> Shard:
        """The tokens of a source under a tokenizer, written on first use."""
        from onset.data import chat_shards as chats
        from onset.data.shards import Shard
        from onset.data.writing import write

        folder = self.shard_folder(source, tokenizer)
        if not folder.exists():
            say(f"tokens of source '{source.name}'")
            if source.kind == "chat":
                made, template = self.tokenizer(tokenizer), self.template(source, tokenizer)
                conversations = self.conversations(source)
                _publish_folder(folder, lambda beside: chats.write(conversations, made, template, beside))
            else:
                write(self.documents(source), self.tokenizer(tokenizer), folder)
        return Shard.open(folder)

    def template(self, source: Source, tokenizer: str) -> str:
        """The Jinja template that a source's conversations are told by. Raises OnsetError where there is none."""
        if source.template != "tokenizer":
            return TEMPLATES[source.template]
        found = self.tokenizer(tokenizer).template
        if found is None:
            raise OnsetError(
                f"source '{source.name}' is told by the tokenizer's chat template, and tokenizer '{tokenizer}' has "
                "none",
                where=self.study.tokenizers[tokenizer].path,
                advice="put chat_template.jinja beside it, or state template = 'roles' in the source",
            )
        return found

    def conversations(self, source: Source) -> Iterator[list[dict[str, str]]]:
        """The conversations of a source: instructions about the world, or the files'."""
        if source.path != WORLD:
            return read_conversations(source.path, source.column)
        assert self.study.world is not None, "checked when the study was read"
        return build_world(self.study.world).conversations(source.language)

    def check_templates(self) -> None:
        """Raise OnsetError for conversations that no template tells."""
        for run in self.study.runs:
            for source in self.study.mixes[run.mix].sources:
                if source.kind == "chat":
                    self.template(source, run.tokenizer)

    def shard_folder(self, source: Source, tokenizer: str) -> Path:
        identity = {"source": self._source_identity(source), "tokenizer": self.tokenizer_folder(tokenizer).name}
        return self.folder / f"shard-{source.name}-{digest_of(identity)[:8]}"

    def mixture(self, run: Run) -> Mixture:
        """The run's batches: a pure function of its seed and the step."""
        from onset.data.mixture import Mixture

        sources = self.study.mixes[run.mix].sources
        return Mixture(
            [self.shard(source, run.tokenizer) for source in sources],
            [source.weight for source in sources],
            context=run.shape.context,
            batch=run.batch,
            seed=run.seed,
        )

    def documents(self, source: Source, split: Literal["train", "valid"] = "train") -> Iterator[str]:
        """The documents of a source: the world's of that split, or the files'."""
        if source.path != WORLD:
            return read_documents(source.path, source.column)
        if self.study.world is None:
            raise OnsetError("a source has path 'world' but the study has no [world] section", where=source.name)
        world = build_world(self.study.world)
        return (document.text for document in world.documents(source.language, split))

    def held_out(self, text: Validation) -> dict[str, list[str]]:
        """The documents of a validation text by language."""
        found: dict[str, list[str]] = {}
        for source in text.sources:
            found.setdefault(source.language, []).extend(self.documents(source, "valid"))
        return found

    def floor(self, tokenizer: str) -> dict[str, float] | None:
        """The world's entropy in nats per token by language and 'all'; None for real text."""
        path = self._floor_path(tokenizer)
        if not path.exists():
            return None
        found: dict[str, float] = reading.json_object(path, advice="delete this file: it is made anew")
        return found

    def _floor_path(self, tokenizer: str) -> Path:
        world = self.study.world
        identity = {
            "world": None if world is None else world.model_dump(mode="json"),
            "tokenizer": self.tokenizer_folder(tokenizer).name,
        }
        return self.folder / f"floor-{digest_of(identity)[:8]}.json"

    def _write_floor(self, tokenizer: str) -> None:
        path = self._floor_path(tokenizer)
        if self.study.world is None or path.exists():
            return
        encode = self.tokenizer(tokenizer).encode_batch
        floor = build_world(self.study.world).floor(lambda texts: [len(ids) for ids in encode(texts)])
        write_text(path, json.dumps(floor, indent=2) + "\n")

    def _source_identity(self, source: Source) -> dict[str, object]:
        identity: dict[str, object] = source.model_dump(mode="json", exclude={"path", "name", "weight"})
        if source.path == WORLD and self.study.world is not None:
            identity["world"] = self.study.world.model_dump(mode="json", exclude={"items", "valid_documents"})
        return identity

    def _tokenizer_text(self, spec: TokenizerSpec) -> Iterator[str]:
        mix = self.study.mixes[spec.mix]
        total = sum(source.weight for source in mix.sources)
        return chain.from_iterable(
            self._sample(source, int(spec.sample_bytes * source.weight / total)) for source in mix.sources
        )

    def _sample(self, source: Source, quota: int) -> Iterator[str]:
        """About ``quota`` bytes of a source, spread over all of it: files are often sorted by topic."""
        size = _text_bytes(source)
        share = 1.0 if size is None or size <= quota else quota / size
        for index, document in enumerate(self.documents(source)):
            if share < 1.0 and zlib.crc32(index.to_bytes(8, "little")) >= share * 2**32:
                continue
            yield document
            quota -= len(document.encode())
            if quota <= 0:
                return


def _text_bytes(source: Source) -> int | None:
    """A guess at the bytes of text in a source's files; None for the world, which is drawn as needed."""
    if source.path == WORLD:
        return None
    path = Path(source.path)
    files = [path] if path.is_file() else [entry for entry in path.rglob("*") if entry.is_file()]
    # Compressed text is about a third of its size; the guess only sets how evenly the sample is spread.
    return sum(entry.stat().st_size * (3 if entry.suffix in {".gz", ".parquet"} else 1) for entry in files)


def _publish_folder(folder: Path, save: Callable[[Path], object]) -> None:
    """Make a folder complete or not at all; where another process was faster, its folder stays."""
    beside = folder.with_name(f".{folder.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.part")
    try:
        beside.parent.mkdir(parents=True, exist_ok=True)
        save(beside)
        os.rename(beside, folder)
    except OnsetError:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    except OSError as error:
        shutil.rmtree(beside, ignore_errors=True)
        if folder.exists():
            return
        raise OnsetError(
            f"cannot write: {error.strerror or error}",
            where=folder,
            advice="free some space or choose another folder with --out, then run the same command again",
        ) from error
