"""Which pieces are tried again after a worker died on them, how long each then rests, and which are given up."""

from __future__ import annotations

import time

from onset.errors import OnsetError
from onset.store.lock import Locked
from onset.work.piece import Event, Listener, Piece

DEATHS = 3
"""A piece whose worker died so often is given up."""

SETTLE_SECONDS = 5.0
"""A piece that was reported done is not handed out again for so long: a shared file system may show its parts late."""


class Retries:
    """The failures of one call of a scheduler."""

    def __init__(self, listen: Listener, pause: float) -> None:
        """``pause`` is the first rest of a piece in seconds; it doubles with every death."""
        self.listen, self.pause = listen, pause
        self.given_up: dict[str, OnsetError] = {}
        self._deaths: dict[str, int] = {}
        self._rests: dict[str, float] = {}

    def resting(self, key: str) -> bool:
        """Whether a piece is not to be tried yet."""
        return time.monotonic() < self._rests.get(key, 0.0)

    def rest(self, key: str, seconds: float) -> None:
        """Leave a piece alone for so long."""
        self._rests[key] = time.monotonic() + seconds

    def give_up(self, piece: Piece, error: OnsetError) -> None:
        """The piece is not tried again in this call."""
        self.given_up[piece.key] = error
        self.listen(Event("failed", piece, {"error": error}))

    def lost(self, piece: Piece, how: str, advice: str) -> None:
        """A worker died with the piece in hand: it is pending again, unless it has cost several workers already."""
        count = self._deaths[piece.key] = self._deaths.get(piece.key, 0) + 1
        if count >= DEATHS:
            what = f"the worker died {DEATHS} times ({how})"
            self.give_up(piece, OnsetError(what, where=piece.key, advice=advice))
            return
        self.rest(piece.key, self.pause * 2 ** (count - 1))
        self.listen(Event("progress", piece, {"notice": f"a worker was lost ({how}): '{piece}' is tried again"}))

    def failed(self, piece: Piece, error: OnsetError) -> None:
        """The piece ended with an error: given up, unless the one who died on it still holds its run."""
        if isinstance(error, Locked) and piece.key in self._deaths:
            self.lost(piece, "its run is still locked", error.advice or "")
        else:
            self.give_up(piece, error)
