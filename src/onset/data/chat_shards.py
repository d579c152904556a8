"""Shards of conversations: token ids, which of them are answers, and where each conversation begins.

A folder like that of any shard, with ``answers.npy`` (one truth value an id) and ``starts.npy`` beside the ids. Each
conversation is followed by the separator, which is learnt where an answer goes before it.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from onset.data.chat import Message, segments
from onset.data.shards import count
from onset.data.tokenizer import Tokenizer
from onset.errors import OnsetError
from onset.store.parts import write_text


def write(conversations: Iterable[Sequence[Message]], tokenizer: Tokenizer, template: str, folder: Path) -> None:
    """Fill an empty folder with the shard of conversations told by a template (Jinja text).

    Raises OnsetError for a conversation without an answer, and where there is none at all.
    """
    folder.mkdir(parents=True)
    ids, answers, starts, size = array("I"), bytearray(), array("Q", [0]), 0
    for messages in conversations:
        told = segments(messages, template, tokenizer.end)
        for (text, learnt), tokens in zip(told, tokenizer.encode_told([text for text, _ in told]), strict=True):
            ids.extend(tokens)
            answers.extend([learnt] * len(tokens))
            size += len(text.encode())
        ids.append(tokenizer.eos)
        answers.append(told[-1][1])
        starts.append(len(ids))
    if len(starts) < 2:
        raise OnsetError("there is no conversation to learn from", where=folder)
    whole = np.asarray(ids, dtype=np.uint32)
    dtype = np.dtype("<u2" if tokenizer.vocab <= 1 << 16 else "<u4")
    whole.astype(dtype).tofile(folder / "tokens-00000.bin")
    np.save(folder / "counts.npy", count(whole, tokenizer.vocab))
    np.save(folder / "answers.npy", np.frombuffer(bytes(answers), dtype=bool))
    np.save(folder / "starts.npy", np.asarray(starts, dtype=np.int64))
    facts = {
        "tokens": len(whole), "documents": len(starts) - 1, "bytes": size, "dtype": dtype.str, "eos": tokenizer.eos,
        "vocab": tokenizer.vocab, "files": ["tokens-00000.bin"], "chat": True,
    }  # fmt: skip
    write_text(folder / "shard.json", json.dumps(facts) + "\n")
