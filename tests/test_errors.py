"""An error that loses its advice on the way to the user helps nobody."""

from __future__ import annotations

import pickle

from onset.errors import OnsetError, did_you_mean


def test_an_error_tells_what_where_and_what_to_do_also_from_another_process() -> None:
    error = OnsetError("it broke", where="here", advice="mend it")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) == "it broke\n  where: here\n  do: mend it"


def test_the_nearest_words_are_offered_and_else_the_known_ones() -> None:
    assert did_you_mean("helaswag", ["hellaswag", "race"]) == "did you mean 'hellaswag'?"
    assert did_you_mean("qqq", ["b", "a"]) == "known: a, b"
