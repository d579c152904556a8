"""The demo with other seeds: what of its findings is the world's, and what the draw's.

    python benchmarks/seeds.py --folder FOLDER [--seeds 5] [--out FILE]

Seed 0 is the demo itself; seed k trains the same sizes on the same text, with other initial weights and another order
of the batches. A folder whose study has ended is read, not trained again. No seed is left out. Prints Markdown.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

from markdown import table
from onset.results.findings import Finding, LossInterval
from onset.results.folder import load
from onset.study.files import dump
from onset.study.presets import demo

COMMAND = [sys.executable, "-c", "from onset.cli import main; main()", "run"]


def trained(seed: int, folder: Path) -> Path:
    """The folder of the demo with that seed, run where it has not been."""
    study = demo()
    runs = tuple(run.model_copy(update={"seed": run.seed + len(study.runs) * seed}) for run in study.runs)
    text = folder / f"demo-{seed}.toml"
    out = folder / f"demo-{seed}"
    if not (out / "findings.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        text.write_text(dump(study.model_copy(update={"runs": runs})), encoding="utf-8")
        begun = time.monotonic()
        subprocess.run([*COMMAND, str(text), "--out", str(out)], check=True, stdout=subprocess.DEVNULL)
        print(f"seed {seed}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    return out


def cell(finding: Finding) -> str:
    """Verdict, onset loss and log Bayes factor of a threshold, in few words."""
    onset = finding.onset.loss if isinstance(finding.onset, LossInterval) else float("nan")
    factor = finding.log_bayes_factor.threshold if finding.log_bayes_factor else None
    told = f"; {factor:+.1f}" if factor is not None else ""
    return f"{finding.verdict} {onset:.2f}{told}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="file that the table is written to")
    asked = parser.parse_args()
    columns, counts = {}, []
    for seed in range(asked.seeds):
        found = load(trained(seed, asked.folder)).headlines()
        columns[f"seed {seed}"] = {one.task: cell(one) for one in found}
        counts.append({"seed": seed} | pd.Series([one.verdict for one in found]).value_counts().to_dict())
    by_task = pd.DataFrame(columns).rename_axis("task").reset_index()
    text = "\n\n".join((table(by_task), table(pd.DataFrame(counts).fillna(0).astype(int))))
    print(text)
    if asked.out:
        asked.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
