"""The notebooks of the examples: every cell runs, in order, in a fresh interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "examples" / "notebooks"


@pytest.mark.slow
@pytest.mark.parametrize("name", [path.stem for path in sorted(FOLDER.glob("*.ipynb"))])
def test_a_notebook_runs_from_its_first_cell_to_its_last(name: str, tmp_path: Path) -> None:
    """A reader who follows a notebook would be stopped by a name that is no longer there."""
    if name == "study":
        pytest.importorskip("torch", reason="torch is not installed")
    cells = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    guarded = 'if __name__ == "__main__":\n' + "\n".join(f"    {line}" for line in "\n".join(code).splitlines())
    script = tmp_path / "notebook.py"
    script.write_text(guarded, encoding="utf-8")
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_notebooks_are_kept_without_their_outputs() -> None:
    """Outputs would be numbers that no test looks at."""
    paths = sorted(FOLDER.glob("*.ipynb"))
    assert len(paths) == 2
    for path in paths:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            assert cell.get("outputs", []) == [], path.name
