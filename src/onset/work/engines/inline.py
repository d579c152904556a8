"""The engine for one worker: this very process. No second interpreter is started and nothing is rendered twice."""

from __future__ import annotations

from onset.errors import OnsetError
from onset.work.engines.local import Event, Listener
from onset.work.ledger import Piece, Place
from onset.work.resources import Seat, cores


class Here:
    """Carries out pieces one after another in this process.

    It has the threads that torch takes by itself: all cores, or as many as OMP_NUM_THREADS says, which counts on a
    machine that is shared (threads that wait for each other there burn what they wait for).
    """

    def carry_out(self, place: Place, listen: Listener) -> dict[str, OnsetError]:
        """Do all that is owed and can be done; returns the pieces given up, by key."""
        given_up: dict[str, OnsetError] = {}
        while (piece := self._next(place, given_up)) is not None:
            listen(Event("start", piece))
            try:
                place.carry_out(piece, Seat(cores()), lambda data, of=piece: listen(Event("progress", of, data)))  # type: ignore[misc]
            except OnsetError as error:
                given_up[piece.key] = error
                listen(Event("failed", piece, {"error": error}))
            else:
                listen(Event("done", piece))
        return given_up

    def _next(self, place: Place, given_up: dict[str, OnsetError]) -> Piece | None:
        return next((one for one in place.owing().pieces if one.key not in given_up and place.ready(one)), None)
