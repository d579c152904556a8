"""Without these a machine would run code that another user put there, or lose its speed without a word."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from onset.cpu import build


@pytest.fixture
def forgetful() -> Iterator[None]:
    """What was built or found before is looked up anew, and again afterwards."""
    for one in (build.identity, build.kernels):
        one.cache_clear()
    yield
    for one in (build.identity, build.kernels):
        one.cache_clear()


needs_compiler = pytest.mark.skipif(build.compiler() is None, reason="no C compiler on this machine")

BUILD = """
import torch
from onset.cpu.build import kernels
built = kernels(bfloat16=True)
ids, table = torch.tensor([1]), torch.arange(32.).view(2, 16)
out = torch.zeros(1, 16)
built.embed(ids, table, out, 1, 16)
assert torch.equal(out[0], table[1])
"""


@needs_compiler
def test_processes_that_build_at_once_all_get_whole_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers start together on an empty cache: none may load what another has half written."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    running = [subprocess.Popen([sys.executable, "-c", BUILD], stderr=subprocess.PIPE) for _ in range(3)]
    for process in running:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said.decode()[-2000:]
    assert [path.suffix for path in (tmp_path / "onset").iterdir()] == [".so"], "nothing is left lying about"


@needs_compiler
def test_the_folder_of_compiled_code_is_ours_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgetful: None
) -> None:
    """Whoever can write to it can have us run what they like."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "onset").mkdir(mode=0o777)
    assert build.kernels(bfloat16=False) is not None
    assert (tmp_path / "onset").stat().st_mode & 0o777 == 0o700


@needs_compiler
def test_code_in_a_folder_of_another_user_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgetful: None
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "onset").mkdir()
    monkeypatch.setattr(os, "getuid", lambda: (tmp_path / "onset").stat().st_uid + 1)
    assert build.kernels(bfloat16=False) is None  # its own folder, too, is of another here
    assert list((tmp_path / "onset").iterdir()) == []


def test_without_a_compiler_the_reason_is_given(monkeypatch: pytest.MonkeyPatch, forgetful: None) -> None:
    """A machine without one trains on torch, and its user hears why it takes longer."""
    monkeypatch.setattr(build, "compiler", lambda: None)
    assert build.kernels(bfloat16=False) is None
    assert build.why_not(bfloat16=False) == "no C compiler"


@needs_compiler
def test_flags_that_the_compiler_refuses_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgetful: None
) -> None:
    """The code would be several times slower, and nobody would know why."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(build, "TUNING", ("-mno-such-thing", "-mprefer-vector-width=512"))
    told = build.untuned(bfloat16=False)
    assert told is not None
    assert "-mno-such-thing and -mprefer-vector-width=512" in told
    assert build.untuned(bfloat16=False) == told  # of code that was built before, too


def test_a_switch_turns_the_kernels_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who doubts a number can have it from torch alone."""
    monkeypatch.setenv("ONSET_CPU_KERNELS", "0")
    assert build.why_not(bfloat16=False) == "ONSET_CPU_KERNELS=0"
