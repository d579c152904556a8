"""Writing a shard: documents tokenised by several processes, in files of about a gigabyte.

The bytes are those of one process that tokenises document after document, whatever the number of processes. Each file
is finished by its ``.json``; what a killed process had finished is kept, and the rest is made by the next call.
"""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import shutil
from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
from tokenizers import Tokenizer as Backend

from onset import reading
from onset.data.shards import Array, Shard, count
from onset.data.tokenizer import Tokenizer
from onset.errors import OnsetError
from onset.store.parts import write_text

TOGETHER_DOCUMENTS, TOGETHER_CHARACTERS = 1024, 2_000_000
"""What is tokenised at once: enough to use the tokenizer's threads, little enough to hold."""
ALONE_CHARACTERS = 16_000_000
"""Text that this process tokenises itself before others are started, which takes each of them about a second."""
FILE_BYTES = 1 << 30
"""A file is closed once it is as long as this."""


@dataclass(frozen=True)
class _Batch:
    """Documents that were tokenised together."""

    ids: Array
    documents: int
    bytes: int


@dataclass
class _Written:
    """What a file holds."""

    tokens: int = 0
    documents: int = 0
    bytes: int = 0


def write(documents: Iterable[str], tokenizer: Tokenizer, folder: Path) -> Shard:
    """Tokenise documents into a shard at ``folder``; one that is there already is opened, not made again.

    Where a process was killed midway, the files that it finished are kept: ``documents`` have to be the same again.
    A second process that is asked for the same shard waits for the first. Raises OnsetError for a corpus without
    text, and where the shard cannot be written.
    """
    beside = folder.with_name(f".{folder.name}.part")
    try:
        while not (folder / "shard.json").exists():
            with _held(beside) as alone:
                if alone and not (folder / "shard.json").exists():
                    _fill(documents, tokenizer, beside)
                    os.rename(beside, folder)
    except OSError as error:
        raise OnsetError(
            f"cannot write the token shard: {error.strerror or error}",
            where=folder,
            advice="free some space or choose another folder with --out, then run the same command again",
        ) from error
    return Shard.open(folder)


@contextmanager
def _held(beside: Path) -> Iterator[bool]:
    """Hold the working folder, waiting for a process that has it; False where that process has renamed it.

    The lock ends with the process that holds it. A folder without a finished file is not left behind.
    """
    beside.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(beside, os.O_RDONLY)
    except FileNotFoundError:  # renamed or removed just now
        yield False
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield beside.exists() and os.path.samestat(os.stat(beside), os.fstat(handle))
    finally:
        ours = beside.exists() and os.path.samestat(os.stat(beside), os.fstat(handle))
        if ours and not _finished(beside):
            shutil.rmtree(beside, ignore_errors=True)
        os.close(handle)


def _fill(documents: Iterable[str], tokenizer: Tokenizer, folder: Path) -> None:
    dtype = np.dtype("<u2" if tokenizer.vocab <= 1 << 16 else "<u4")
    done = _finished(folder)
    rest = islice(documents, sum(one.documents for one in done), None)
    encoded = tokenised(_together(rest), tokenizer)
    while (written := _write_file(encoded, folder, len(done), dtype, tokenizer.vocab)).documents:
        done.append(written)
    if sum(one.tokens for one in done) < 2:
        raise OnsetError("the corpus is empty: it has no document with any text", where=folder)
    numbers = range(len(done))
    np.save(folder / "counts.npy", np.sum([np.load(_file(folder, number, "npy")) for number in numbers], axis=0))
    facts = {
        **{name: sum(asdict(one)[name] for one in done) for name in ("tokens", "documents", "bytes")},
        "dtype": dtype.str, "eos": tokenizer.eos, "vocab": tokenizer.vocab,
        "files": [_file(folder, number, "bin").name for number in numbers],
    }  # fmt: skip
    write_text(folder / "shard.json", json.dumps(facts) + "\n")
    for number in [*numbers, len(done)]:  # the last one was begun and got no document
        for kind in ("npy", "json") if number < len(done) else ("bin",):
            _file(folder, number, kind).unlink(missing_ok=True)


def _write_file(
    encoded: Iterator[_Batch], folder: Path, number: int, dtype: np.dtype[np.uint16 | np.uint32], vocab: int
) -> _Written:
    """Write batches until a file is full or none is left; its ``.json`` comes last and says that it is whole."""
    written, counts = _Written(), np.zeros(vocab, dtype=np.int64)
    with open(_file(folder, number, "bin"), "wb") as stream:
        for batch in encoded:
            batch.ids.astype(dtype).tofile(stream)
            counts += count(batch.ids, vocab)
            written.tokens += len(batch.ids)
            written.documents += batch.documents
            written.bytes += batch.bytes
            if written.tokens * dtype.itemsize >= FILE_BYTES:
                break
        _flush(stream)
    if written.documents:
        with open(_file(folder, number, "npy"), "wb") as stream:
            np.save(stream, counts)
            _flush(stream)
        write_text(_file(folder, number, "json"), json.dumps(asdict(written)) + "\n")
    return written


def _flush(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def _file(folder: Path, number: int, kind: str) -> Path:
    return folder / f"tokens-{number:05d}.{kind}"


def _finished(folder: Path) -> list[_Written]:
    """The files that an earlier call finished, in order."""
    found: list[_Written] = []
    while (said := _file(folder, len(found), "json")).exists():
        found.append(_Written(**reading.json_object(said, advice="delete this folder and run again: it is made anew")))
    return found


def tokenised(batches: Iterator[list[str]], tokenizer: Tokenizer, processes: int | None = None) -> Iterator[_Batch]:
    """Batches of ids in order; long texts are shared among ``processes`` (None: one a core)."""
    characters = 0
    for texts in batches:
        yield _encoded(tokenizer, texts)
        characters += sum(map(len, texts))
        if characters >= ALONE_CHARACTERS:
            break
    count = len(os.sched_getaffinity(0)) if processes is None else processes
    if multiprocessing.current_process().daemon:
        count = 1  # such a process may not start others
    if count > 1 and (first := next(batches, None)) is not None:
        yield from _shared(first, batches, tokenizer, count)
        return
    for texts in batches:
        yield _encoded(tokenizer, texts)


def _shared(first: list[str], batches: Iterator[list[str]], tokenizer: Tokenizer, processes: int) -> Iterator[_Batch]:
    """Batches of ids in order, made by several processes; twice as many batches as processes are under way."""
    context = multiprocessing.get_context("spawn")
    given = tokenizer.dumps(), tokenizer.end
    with ProcessPoolExecutor(processes, context, _begin, given) as pool:
        waiting: deque[Future[_Batch]] = deque([pool.submit(_encoded_here, first)])
        try:
            while waiting:
                for texts in islice(batches, 2 * processes - len(waiting)):
                    waiting.append(pool.submit(_encoded_here, texts))
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise OnsetError(
                "a process that tokenises was killed", advice="free some memory and run the same command again"
            ) from error


_tokenizer: list[Tokenizer] = []
"""The tokenizer of a process that only tokenises."""


def _begin(said: str, end: str) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes are the parallel ones
    _tokenizer[:] = [Tokenizer(Backend.from_str(said), end)]


def _encoded_here(texts: list[str]) -> _Batch:
    return _encoded(_tokenizer[0], texts)


def _encoded(tokenizer: Tokenizer, texts: list[str]) -> _Batch:
    """Ids of documents, each followed by the separator."""
    ids = array("I")
    for document in tokenizer.encode_batch(texts):
        ids.extend(document)
        ids.append(tokenizer.eos)
    return _Batch(np.asarray(ids, dtype=np.uint32), len(texts), sum(len(text.encode()) for text in texts))


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
