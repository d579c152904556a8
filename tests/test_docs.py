"""The documentation site: it builds, and every link and every name in it exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

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


def commands() -> list[tuple[str, str]]:
    """The commands of onset in the blocks of README and docs: file and line, continued lines joined."""
    found = []
    for file in [*sorted(ROOT.glob("README*.md")), *sorted((ROOT / "docs").rglob("*.md"))]:
        for block in re.findall(r"^ *```\w*\n(.*?)^ *```", file.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
            lines = block.replace("\\\n", " ").splitlines()
            found += [(file.name, line.strip()) for line in lines if line.strip().startswith("onset ")]
    return found


def test_commands_of_the_documentation_have_the_options_that_they_are_given() -> None:
    """A reader who copies a command would be told that there is no such option."""
    import typer.main

    from onset.cli import app

    known: Any = typer.main.get_command(app)
    told = commands()
    assert len(told) > 40
    for file, line in told:
        words = line.partition("  #")[0].split()
        options = [word.partition("=")[0] for word in words if word.startswith("--")]
        named = re.split(r"\s*\|\s*", words[1])[0]
        assert named.startswith("-") or named in known.commands, f"{file}: {line}"
        if not named.startswith("-"):
            offered = {name for one in known.commands[named].params for name in (*one.opts, *one.secondary_opts)}
            assert set(options) <= offered | {"--help"}, f"{file}: {line}"
