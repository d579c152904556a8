"""An error that loses its advice on the way to the user helps nobody."""

from __future__ import annotations

import pickle
from importlib import metadata
from pathlib import Path

import pytest

from onset import errors
from onset.errors import OnsetError, did_you_mean


def test_an_error_tells_what_where_and_what_to_do_also_from_another_process() -> None:
    error = OnsetError("it broke", where="here", advice="mend it")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) == "it broke\n  where: here\n  do: mend it"


def test_the_nearest_words_are_offered_and_else_the_known_ones() -> None:
    assert did_you_mean("helaswag", ["hellaswag", "race"]) == "did you mean 'hellaswag'?"
    assert did_you_mean("qqq", ["b", "a"]) == "known: a, b"


def test_the_command_that_installs_an_extra_is_of_where_the_package_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lost otherwise: the advice to install a package of that name from an index that may not have it."""

    class Told:
        def __init__(self, url: str) -> None:
            self.url = url

        def read_text(self, name: str) -> str:
            return f'{{"url": "{self.url}"}}'

    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.setattr(errors, "__file__", str(tmp_path / "venv" / "lib" / "onset" / "errors.py"))
    monkeypatch.setattr(metadata, "distribution", lambda name: Told(f"file://{tmp_path}"))
    assert errors.install("lm") == f"pip install '{tmp_path}[lm]'"
    monkeypatch.setattr(metadata, "distribution", lambda name: Told("https://example.org/onset_lm.whl"))
    assert errors.install("lm") == "pip install 'onset-lm[lm]'"
