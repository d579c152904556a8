"""Files that belong together are all new or all old, wherever the process that writes them is killed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onset.errors import OnsetError
from onset.store import generation as generations
from onset.store.generation import MANIFEST, changed, generation, settle

FILES = ("findings.json", "results/curve.parquet", "report.html", "figures/a.svg")


def _write(folder: Path, text: str, names: tuple[str, ...] = FILES) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{text} {name}")


def _made(out: Path, text: str, names: tuple[str, ...] = FILES) -> None:
    with generation(out) as staged:
        _write(staged, text, names)


def _failing(out: Path) -> None:
    with generation(out) as staged:
        _write(staged, "new")
        raise OnsetError("no", where=staged / "findings.json")


def _killed_at(step: int, work: Callable[[], None]) -> bool:
    """Whether a process that dies before its ``step``-th rename, removal or making of a folder gets that far."""
    child = os.fork()
    if child == 0:
        left = [step]

        def dying(call: Callable[..., Any]) -> Callable[..., Any]:
            def called(*given: Any, **named: Any) -> Any:
                left[0] -= 1
                if left[0] < 0:
                    os._exit(99)
                return call(*given, **named)

            return called

        for owner, name in ((os, "rename"), (os, "replace"), (os, "unlink"), (os, "mkdir"), (shutil, "rmtree")):
            setattr(owner, name, dying(getattr(owner, name)))
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 99


def _state(out: Path) -> dict[str, str]:
    return {
        path.relative_to(out).as_posix(): path.read_text()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.relative_to(out).as_posix() != MANIFEST
    }


def test_a_process_killed_at_any_step_leaves_the_old_files_or_all_new_ones(tmp_path: Path) -> None:
    """Lost otherwise: new findings lie beside the page of an older analysis, and nobody knows."""
    seen = set()
    for step in range(100):
        out = tmp_path / str(step)
        _made(out, "old", (*FILES, "figures/gone.svg"))
        (out / "figures" / "mine.svg").write_text("mine")
        before = _state(out)
        killed = _killed_at(step, lambda out=out: _made(out, "new"))  # type: ignore[misc]
        settle(out)
        settled = {name: text for name, text in _state(out).items() if not name.startswith(".generation")}
        new = {name: f"new {name}" for name in FILES} | {"figures/mine.svg": "mine"}
        assert settled in (before, new), (step, settled)
        assert changed(out, ("",)) == []
        seen.add("new" if settled == new else "old")
        _made(out, "last")  # a later one sweeps what the killed one left
        assert not [path for path in out.iterdir() if path.name.startswith(".generation")]
        assert _state(out)["report.html"] == "last report.html"
        if not killed:
            break
    assert not killed
    assert seen == {"old", "new"}


def test_an_error_inside_leaves_everything_as_it_was(tmp_path: Path) -> None:
    """Lost otherwise: half a set of results, or an empty folder that was not there."""
    _made(tmp_path / "out", "old")
    before = _state(tmp_path / "out")
    for out in (tmp_path / "out", tmp_path / "new" / "deeper"):
        with pytest.raises(OnsetError, match="no") as told:
            _failing(out)
        assert told.value.where == str(out / "findings.json")
    assert _state(tmp_path / "out") == before
    assert not (tmp_path / "new").exists()


def test_a_file_of_another_generation_is_told(tmp_path: Path) -> None:
    """Lost otherwise: a page copied beside other findings."""
    _made(tmp_path, "old")
    (tmp_path / "report.html").write_text("another")
    (tmp_path / "figures" / "a.svg").unlink()
    assert changed(tmp_path, ("",)) == ["report.html"]
    assert changed(tmp_path, ("results/",)) == []


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    """Lost otherwise: a pipe or a folder of the user's in the place of results."""
    _made(tmp_path, "old")
    (tmp_path / "report.html").unlink()
    os.mkfifo(tmp_path / "report.html")
    with pytest.raises(OnsetError, match="is not a file"):
        _made(tmp_path, "new")
    (tmp_path / "report.html").unlink()
    assert (tmp_path / "findings.json").read_text() == "old findings.json"


def test_results_may_be_a_link_to_another_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost otherwise: a rename cannot go from disk to disk, and the results stay half moved."""
    real = os.replace

    def other_disk(source: Any, target: Any) -> None:
        if generations.WHOLE in str(source) and Path(target).name == "a.svg":
            raise OSError(18, "Invalid cross-device link")
        real(source, target)

    monkeypatch.setattr(os, "replace", other_disk)
    _made(tmp_path, "new")
    assert _state(tmp_path) == {name: f"new {name}" for name in FILES}
