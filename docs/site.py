"""What the documentation site makes by itself: the reference of the command line, and the results of the benchmarks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

PAGE = "reference/command_line.md"
RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"


def on_files(files: Files, config: Any) -> Files:
    """Add the page of the command line and those of the benchmarks."""
    made = subprocess.run(
        [sys.executable, "-m", "typer", "onset.cli", "utils", "docs", "--name", "onset"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    files.append(File.generated(config, PAGE, content=made.stdout.replace("# `onset`", "# Command line", 1)))
    for result in sorted(RESULTS.glob("*.md")):
        text = result.read_text(encoding="utf-8").replace("](../../docs/", "](../")
        files.append(File.generated(config, f"benchmarks/{result.name}", content=text))
    return files


def on_page_markdown(markdown: str, **others: Any) -> str:
    """In the repository the results stand beside the documentation, on the site below it."""
    return markdown.replace("](../benchmarks/results/", "](benchmarks/")
