"""A small study killed again and again ends like one left alone: the same losses, weights and rows, bit for bit.

    python benchmarks/soak.py [--kills 50] [--seed 1] [--tokens 120000] [--out benchmarks/results/soak.md]

Every kill is SIGKILL to the command and all its workers. Half of them come at a random moment; the others wait for a
folder or a part that is being written (its name ends in .part) and strike within it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

STUDY = Path(__file__).parent.parent / "examples" / "tiny.toml"
COMMAND = [sys.executable, "-c", "from onset.cli import main; main()", "run"]


def shortened(study: Path, tokens: int, folder: Path) -> Path:
    """The study with runs of so many tokens and two of its tasks, as a file in the folder."""
    from onset.study.files import dump, load

    whole = load(str(study))
    runs = tuple(run.model_copy(update={"tokens": tokens}) for run in whole.runs)
    short = folder / study.name
    short.write_text(dump(whole.model_copy(update={"runs": runs, "tasks": whole.tasks[:2]})), encoding="utf-8")
    return short


def start(study: Path, out: Path) -> subprocess.Popen[bytes]:
    """The study in a process group of its own."""
    command = [*COMMAND, str(study), "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def kill(process: subprocess.Popen[bytes]) -> bool:
    """SIGKILL to the whole group; whether it was still at work."""
    alive = process.poll() is None
    if alive:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return alive


def writing(out: Path) -> bool:
    """Whether a checkpoint, a resume state or a part is being written at this moment."""
    return any((out / "runs").glob("*/*/.*.part")) or any((out / "runs").glob("*/*/*/.*.part"))


def content(out: Path) -> dict[str, object]:
    """All that the study made, by name: weights as bytes, rows as text, logs without what a clock says."""
    from onset.store.parts import read_part

    found: dict[str, object] = {}
    for path in sorted((out / "runs").rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.suffix == ".safetensors":
            found[name] = path.read_bytes()
        elif path.suffix == ".parquet":
            found[name] = read_part(path).to_csv()
        elif path.name == "log.jsonl":
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            found[name] = [(line["step"], line["loss"], line["grad_norm"]) for line in lines]
    return found


def soak(study: Path, out: Path, kills: int, took: float, rng: random.Random) -> tuple[int, int]:
    """Kill the study so often; returns how many kills struck at work, and how many inside a write."""
    struck = within = 0
    while struck < kills:
        if all_done(out):
            for path in sorted((out / "runs").glob("*/*/*"))[:: rng.randint(2, 5)]:
                discard(path)  # it ended too soon: some of what it made is lost, and owed again
                if path.parent.name == "steps":  # weights are owed only while what is asked of them is
                    discard(path.parent.parent / "loss" / f"{path.name}.parquet")
        process = start(study, out)
        until = time.monotonic() + rng.uniform(0.2, 1.0) * took
        wanted = rng.random() < 0.5
        while time.monotonic() < until and process.poll() is None and not (wanted and writing(out)):
            time.sleep(0.002)
        inside = writing(out)
        if kill(process):
            struck += 1
            within += inside
    return struck, within


def all_done(out: Path) -> bool:
    """Whether every run has reached its end."""
    runs = list((out / "runs").glob("*/run.json"))
    return bool(runs) and all((run.parent / "DONE").exists() for run in runs)


def discard(path: Path) -> None:
    """Remove a file or a folder, as a careless hand would."""
    import shutil

    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def main() -> None:
    """Run the soak, say what came of it, and write it down where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--study", type=Path, default=STUDY)
    parser.add_argument("--tokens", type=int, default=120_000, help="of each run")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="onset-soak-") as folder:
        began = time.monotonic()
        study = shortened(asked.study, asked.tokens, Path(folder))
        alone, killed = Path(folder) / "alone", Path(folder) / "killed"
        assert start(study, alone).wait() == 0, "the study fails even when left alone"
        took = time.monotonic() - began
        struck, within = soak(study, killed, asked.kills, took, random.Random(asked.seed))
        assert start(study, killed).wait() == 0, "the study does not end after the kills"
        one, two = content(alone), content(killed)
        differ = sorted(name for name in one.keys() | two.keys() if one.get(name) != two.get(name))
        minutes = (time.monotonic() - began) / 60
    text = (
        f"# Soak: a study killed at random\n\n{date.today()}. `{asked.study.name}` with {asked.tokens:,} tokens a run "
        f"and two tasks, {struck} kills (SIGKILL to the command and its workers), {within} of them while a "
        f"checkpoint, a resume state or a part was being written; seed {asked.seed}. Left alone the study took "
        f"{took:.0f} s; the whole soak {minutes:.1f} min.\n\n"
        f"Compared bit for bit with the study left alone: {len(one)} files (weights, item rows, held-out losses, and "
        f"the training losses of every step). Different: {len(differ)}{': ' if differ else ''}{', '.join(differ)}.\n"
    )
    print(text)
    if asked.out:
        asked.out.write_text(text, encoding="utf-8")
    sys.exit(bool(differ))


if __name__ == "__main__":
    main()
