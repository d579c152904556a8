"""Bad input must end in one message: a sample of benchmarks/hostile.py, which holds a thousand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_a_sample_of_hostile_inputs_is_refused_or_taken_as_meant(tmp_path: Path) -> None:
    """Lost otherwise: tracebacks, hangs, and wrong numbers without a word."""
    words = [sys.executable, str(ROOT / "benchmarks" / "hostile.py"), "--every", "20", "--keep", str(tmp_path / "kept")]
    done = subprocess.run(
        words, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False
    )
    assert "No fault." in done.stdout, done.stdout[-3000:] + done.stderr[-2000:]
    assert done.returncode == 0
