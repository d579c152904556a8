"""A small study killed again and again ends like one left alone: the same losses, weights and rows, bit for bit.

    python benchmarks/soak.py [--kills 50] [--seed 1] [--tokens 120000] [--out benchmarks/results/soak.md]

One kill in three is SIGTERM to the command, as a scheduler sends it: trainings then write a recovery state and stop.
The others are SIGKILL to the command and all its workers. Half of all kills come at a random moment; the others wait
for a folder or a part that is being written (its name ends in .part) and strike within it. Runs declare few
checkpoints and write recovery states every second, so that most kills strike between declared checkpoints.
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
from dataclasses import dataclass
from datetime import date
from pathlib import Path

STUDY = Path(__file__).parent.parent / "examples" / "tiny.toml"
STATE_SECONDS = 1.0
"""Recovery states are written so often."""
COMMAND = [sys.executable, "-c", "from onset.cli import main; main()", "run"]


def shortened(study: Path, tokens: int, folder: Path) -> Path:
    """The study with runs of so many tokens and two of its tasks, as a file in the folder."""
    from onset.study.files import dump, load

    whole = load(str(study))
    runs = tuple(run.model_copy(update={"tokens": tokens, "checkpoints": 3}) for run in whole.runs)
    changed = {"runs": runs, "tasks": whole.tasks[:2], "state_minutes": STATE_SECONDS / 60}
    short = folder / study.name
    short.write_text(dump(whole.model_copy(update=changed)), encoding="utf-8")
    return short


def start(study: Path, out: Path) -> subprocess.Popen[bytes]:
    """The study in a process group of its own."""
    command = [*COMMAND, str(study), "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def kill(process: subprocess.Popen[bytes], how: signal.Signals) -> bool:
    """End the command, by SIGKILL with its whole group; whether it was still at work."""
    alive = process.poll() is None
    if alive and how == signal.SIGKILL:
        os.killpg(process.pid, how)
    elif alive:
        process.send_signal(how)
    process.wait()
    return alive


def between(out: Path) -> bool:
    """Whether the newest recovery state of any run is past its newest declared checkpoint."""
    for run in (out / "runs").glob("*"):
        newest = [
            max((int(path.name) for path in (run / kind).glob("[0-9]*") if path.name.isdigit()), default=0)
            for kind in ("resume", "steps")
        ]
        if newest[0] > newest[1]:
            return True
    return False


def writing(out: Path) -> bool:
    """Whether a checkpoint, a recovery state or a part is being written at this moment."""
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


@dataclass
class Struck:
    """How many kills struck at work, and of them inside a write, by SIGTERM, and past a declared checkpoint."""

    kills: int = 0
    within: int = 0
    stopped: int = 0
    between: int = 0


def soak(study: Path, out: Path, kills: int, took: float, rng: random.Random) -> Struck:
    """Kill the study so often."""
    struck = Struck()
    while struck.kills < kills:
        if all_done(out):
            for path in sorted((out / "runs").glob("*/*/*"))[:: rng.randint(2, 5)]:
                discard(path)  # it ended too soon: some of what it made is lost, and pending again
                if path.parent.name == "steps":  # weights are pending only while what is asked of them is
                    discard(path.parent.parent / "loss" / f"{path.name}.parquet")
        process = start(study, out)
        until = time.monotonic() + rng.uniform(0.2, 1.0) * took
        wanted = rng.random() < 0.5
        how = signal.SIGTERM if rng.random() < 1 / 3 else signal.SIGKILL
        while time.monotonic() < until and process.poll() is None and not (wanted and writing(out)):
            time.sleep(0.002)
        inside = writing(out)
        if kill(process, how):
            struck.kills += 1
            struck.within += inside
            struck.stopped += how == signal.SIGTERM
            struck.between += between(out)
    return struck


def all_done(out: Path) -> bool:
    """Whether every run has reached its end."""
    runs = list((out / "runs").glob("*/run.json"))
    return bool(runs) and all((run.parent / "DONE").exists() for run in runs)


def discard(path: Path) -> None:
    """Remove a file or a folder, as a careless hand would."""
    import shutil

    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def report(
    asked: argparse.Namespace, struck: Struck, files: int, differ: list[str], took: float, minutes: float
) -> str:
    """What came of the soak, as a page."""
    return (
        f"# Soak: a study killed at random\n\n{date.today()}. `{asked.study.name}` with {asked.tokens:,} tokens and "
        f"three declared checkpoints a run and two tasks, {struck.kills} kills: {struck.stopped} by SIGTERM to the "
        f"command, the others by SIGKILL to it and its workers; {struck.within} while a checkpoint, a recovery state "
        f"or a part was being written, {struck.between} where a run's newest recovery state was past its newest "
        f"declared checkpoint; seed {asked.seed}. Left alone the study took {took:.0f} s; the whole soak "
        f"{minutes:.1f} min.\n\n"
        f"Compared bit for bit with the study left alone: {files} files (weights, item rows, held-out losses, and "
        f"the training losses of every step). Different: {len(differ)}{': ' if differ else ''}{', '.join(differ)}.\n"
    )


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
        struck = soak(study, killed, asked.kills, took, random.Random(asked.seed))
        assert start(study, killed).wait() == 0, "the study does not end after the kills"
        one, two = content(alone), content(killed)
        differ = sorted(name for name in one.keys() | two.keys() if one.get(name) != two.get(name))
        minutes = (time.monotonic() - began) / 60
    text = report(asked, struck, len(one), differ, took, minutes)
    print(text)
    if asked.out:
        asked.out.write_text(text, encoding="utf-8")
    sys.exit(bool(differ))


if __name__ == "__main__":
    main()
