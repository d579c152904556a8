"""All benchmarks, one after another: ``python -m benchmarks``, or ``make bench``.

Each measures us and a peer in one run and prints the ratio. Scoring and loss need the folder of local task rows and
texts that ``ONSET_SHARED`` names and an interpreter with lm_eval in ``ONSET_PEERS``; without them they are left out,
and that is said.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def commands() -> list[tuple[str, list[str] | None, str]]:
    """Name, arguments (None where it is left out) and the reason for leaving out."""
    shared, peers = os.environ.get("ONSET_SHARED"), os.environ.get("ONSET_PEERS")
    absent = [name for name in ("ONSET_SHARED", "ONSET_PEERS") if not os.environ.get(name)]
    why = f"{' and '.join(absent)} not set" if absent else ""
    data = Path(shared or "") / "data"
    scoring = ["--data", str(data / "tasks"), "--tasks", "mmlu,hellaswag"]
    loss = ["--text", str(data / "text" / "en.valid.jsonl.gz")]
    return [
        ("training.py", [], ""),
        ("scoring.py", None if absent else scoring, why),
        ("loss.py", None if absent else loss, why),
        ("study.py", ["--peer-python", peers] if peers else None, "" if peers else "ONSET_PEERS not set"),
        ("analysis.py", ["--way"], ""),
        ("planted.py", [], ""),
        ("size_effects.py", ["--peers", "20"], ""),
        ("forecast_planted.py", [], ""),
        ("design.py", [], ""),
        ("items.py", [], ""),
        ("forecast.py", [] if shared else None, "" if shared else "ONSET_SHARED not set"),
        ("soft_to_hard.py", [] if shared else None, "" if shared else "ONSET_SHARED not set"),
    ]


def main() -> int:
    """Run them all; the exit status is the number of those that failed."""
    failed = 0
    for name, arguments, why in commands():
        print(f"\n== {name}", flush=True)
        if arguments is None:
            print(f"left out: {why}", flush=True)
            continue
        failed += subprocess.run([sys.executable, str(HERE / name), *arguments], check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
