"""Requests in chunks: what is asked at once, kept at once, and lost at most when a process is killed."""

from __future__ import annotations

from collections.abc import Sequence

from onset.tasks.task import Request

CHARACTERS = 400_000
"""Characters to be read in a chunk, a prefix that its items share counted once: half a minute for a small model on a
CPU, a second or two for a large one on a GPU."""
GENERATED = 16
"""A token that is to be generated counts as so many characters: it costs a pass of its own."""

Chunks = tuple[tuple[int, ...], ...]


def chunks(requests: Sequence[Request], characters: int | None = None) -> Chunks:
    """Requests as chunks of whole items, by their indices; the same for every model.

    Items that share their examples stand together, so that few prefixes are computed twice.
    """
    limit = CHARACTERS if characters is None else characters
    by_prefix: dict[tuple[str, tuple[str, ...]], dict[str, list[int]]] = {}
    for index, request in enumerate(requests):
        by_prefix.setdefault((request.header, request.shots), {}).setdefault(request.item, []).append(index)
    made: list[list[int]] = [[]]
    size = 0
    for (header, shots), items in by_prefix.items():
        shared = len(header) + sum(map(len, shots))
        size += shared
        for indices in items.values():
            if made[-1] and size >= limit:
                made.append([])
                size = shared
            made[-1] += indices
            size += len(requests[indices[0]].question) + sum(_own(requests[index]) for index in indices)
    return tuple(tuple(chunk) for chunk in made)


def _own(request: Request) -> int:
    """What a request costs beside its question."""
    return len(request.continuation) + GENERATED * request.max_tokens * (request.kind == "generate")
