"""Formats of one's own: named as FILE.py:NAME before a path, or brought by an installed package."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pandas as pd
import pytest

from adapters.test_journeys import run
from onset.adapters import registry
from onset.adapters.source import Reading
from onset.errors import OnsetError

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_format.py"
LINES = """ladder-70M/1000 loss=3.5 arc_easy=0.30/2376 piqa=0.55/1838
ladder-70M/2000 loss=3.25 arc_easy=0.35/2376 piqa=0.60/1838
ladder-160M/1000 loss=3.0 arc_easy=0.45/2376 piqa=0.65/1838
"""


@pytest.fixture
def results(tmp_path: Path) -> Path:
    (tmp_path / "runs.txt").write_text(LINES)
    return tmp_path / "runs.txt"


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package is installed that offers the example's format as ``lines``."""
    monkeypatch.syspath_prepend(str(EXAMPLE.parent))
    point = metadata.EntryPoint("lines", "own_format:FORMAT", registry.GROUP)
    monkeypatch.setattr(metadata, "entry_points", lambda group: metadata.EntryPoints([point]))
    registry.packaged.cache_clear()
    yield
    registry.packaged.cache_clear()


@pytest.mark.parametrize("words", [(f"{EXAMPLE}:FORMAT:",), (f"{EXAMPLE}:",), (EXAMPLE,)])
def test_a_format_of_a_file_is_read_by_one_command(words: tuple[object, ...], results: Path, tmp_path: Path) -> None:
    """Lost otherwise: whoever has results in another form edits the package."""
    named = [f"{words[0]}{results}"] if str(words[0]).endswith(":") else [*words, results]
    run(*named, "--tokens-per-step", "1000", "--out", tmp_path / "obs.csv")
    frame = pd.read_csv(tmp_path / "obs.csv").set_index(["run", "step", "task"]).sort_index()
    assert len(frame) == 6
    first = frame.loc[("ladder-70M", 2000, "arc_easy")]
    assert (first.loss, first.score, first.n_examples, first.tokens) == (3.25, 0.35, 2376, 2_000_000)


@pytest.mark.usefixtures("package")
def test_a_format_of_a_package_has_a_name_and_is_recognised(results: Path) -> None:
    """Lost otherwise: a group that shares its format as a package must still name a file of it."""
    for given in (f"lines:{results}", str(results), str(results.parent)):
        assert registry.read(given, Reading()).losses.loss.tolist() == [3.5, 3.25, 3.0]


def test_what_is_no_format_is_told(results: Path, tmp_path: Path) -> None:
    """Lost otherwise: a traceback, or a wrong word about the path."""
    with pytest.raises(OnsetError, match="no format"):
        registry.read(f"{EXAMPLE}:read:{results}", Reading())
    with pytest.raises(OnsetError, match="has no 'FORMATS'"):
        registry.read(f"{EXAMPLE}:FORMATS:{results}", Reading())
    broken = tmp_path / "broken.txt"
    broken.write_text(LINES + "ladder-160M/2000 loss=nothing\n")
    with pytest.raises(OnsetError, match="line 4"):
        registry.read(f"{EXAMPLE}:{broken}", Reading())
