"""The documentation site: it builds, and every link and every name in it exists."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    """A dead link or a renamed function would leave a reader of the documentation alone."""
    pytest.importorskip("mkdocs", reason="the extra 'docs' is not installed")
    pytest.importorskip("mkdocstrings", reason="the extra 'docs' is not installed")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    assert "onset threshold" not in built.stdout
    page = (tmp_path / "reference" / "command_line" / "index.html").read_text(encoding="utf-8")
    assert "onset analyze" in page
    assert "size_effect" in (tmp_path / "reference" / "python" / "index.html").read_text(encoding="utf-8")
