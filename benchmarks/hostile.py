"""Bad and hostile inputs over all commands: each is to be refused in one message, or taken as it is meant.

The inputs are made here from a seed. Every one runs the program's own ``main`` in a fresh process, forked from one
that has only imported what commands import, in a folder of its own and under a limit of time. It fails on a
traceback, a hang, a signal, a refusal without advice, an acceptance that is none, and on a change to files that stood
before. ``python benchmarks/hostile.py`` writes results/hostile.md; ``--only KIND`` runs one kind.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hostile_case import Case
from hostile_odd import odd
from hostile_records import records
from hostile_tables import tables
from hostile_texts import texts

RESULTS = Path(__file__).parent / "results" / "hostile.md"
TRACE = "Traceback (most recent call last)"
MEMORY = 3 * 2**30
"""Bytes of memory that one input may take."""
STILL = 20.0
"""Seconds without any use of a processor after which a process that is over its time only waits."""
TOO_MUCH = -200
"""Exit code of one that took more."""


@dataclass(frozen=True)
class Outcome:
    """What became of one input."""

    case: Case
    status: str
    """refused, accepted, usage, or the fault: traceback, hang, signal, no advice, wrongly accepted, ..."""
    seconds: float
    said: str

    @property
    def fault(self) -> bool:
        """Whether it is not as it is wanted."""
        return self.status not in ("refused", "accepted", "usage")


def cases(seed: int) -> list[Case]:
    """All inputs of a seed."""
    return [
        *tables(seed),
        *texts(seed),
        *records(seed),
        *odd(seed),
    ]


def warm() -> None:
    """Import what the commands import, and start nothing: forked children share it."""
    import onset.adapters.command
    import onset.cli
    import onset.data.tokenizer
    import onset.store.query
    import onset.train.calibration
    import onset.train.precision
    import onset.work.findings
    import onset.work.jobs.foreign
    import onset.work.study  # noqa: F401


def run(case: Case, folder: Path) -> Outcome:
    """Run one input in a folder of its own, and say what became of it."""
    folder.mkdir(parents=True)
    case.make(folder)
    before = _contents(folder)
    began = time.monotonic()
    code, said, errors = _forked(case, folder)
    took = time.monotonic() - began
    status = _judged(case, code, said, errors, folder)
    if status in ("refused", "accepted", "usage"):
        after = _contents(folder)
        changed = [name for name, digest in before.items() if after.get(name) != digest and name not in case.changes]
        status = f"changed {changed[0]}" if changed else status
        left = [name for name in after if name.endswith(".part")]
        status = f"left {left[0]}" if left else status
    return Outcome(case, status, took, (errors + said)[-2000:])


def _judged(case: Case, code: int | None, said: str, errors: str, folder: Path) -> str:
    if code is None:
        return "hang"
    if code == TOO_MUCH:
        return f"more than {MEMORY >> 30} GiB of memory"
    if TRACE in errors or TRACE in said:
        return "traceback"
    if code < 0 or code == 134:
        return f"signal {-code}"
    if any(mark in errors + said for mark in ("\x1b", "\x9b", "\x07")):
        return "control characters on the terminal"
    if code == 2 and case.want != "accepted":
        return "usage"
    if code == 1:
        if case.want == "accepted":
            return "wrongly refused"
        if "onset: " not in errors or "  do: " not in errors:
            return "refused without advice"
        longest = max(map(len, errors.splitlines()), default=0)
        return "message too long" if longest > 1200 else "refused"
    if code != 0:
        return f"exit {code}"
    if case.want == "refused":
        return "wrongly accepted"
    wrong = case.check(folder, said) if case.check else None
    return f"accepted, not as meant: {wrong}" if wrong else "accepted"


def _forked(case: Case, folder: Path) -> tuple[int | None, str, str]:
    """Exit status (None: it hung and was killed), output and errors of the program's main in a forked process."""
    streams = [folder.parent / f"{folder.name}.{name}" for name in ("out", "err")]
    child = os.fork()
    if child == 0:
        _become(case, folder, streams)
    code = None
    watch = _Watch(child, case.timeout)
    while not watch.hangs():
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), *(_read(path) for path in streams)
        if _resident(child) > MEMORY:
            code = TOO_MUCH
            break
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return code, *(_read(path) for path in streams)


def _become(case: Case, folder: Path, streams: Sequence[Path]) -> None:
    """The child: the program with these arguments, as a shell would start it. Does not return."""
    code = 70
    try:
        os.setsid()
        os.chdir(folder)
        for number, path in enumerate(streams, start=1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        if case.largest_file is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (case.largest_file, case.largest_file))
        os.environ["HF_HUB_OFFLINE"] = "1"
        os.environ["XDG_CACHE_HOME"] = str(folder.parent / "cache")
        sys.argv = ["onset", *case.arguments]
        from onset.cli import main

        main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - told as the interpreter tells it
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        code = 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                code = code or 1
        os._exit(code)


class _Watch:
    """Whether a process takes more than so many seconds of a processor, or waits for so long for nothing.

    Wall-clock time alone would call an input a hang because others use the machine.
    """

    def __init__(self, process: int, limit: float) -> None:
        self.process, self.limit, self.used = process, limit, 0.0
        self.began = self.moved = time.monotonic()

    def hangs(self) -> bool:
        """Asked again and again while the process goes on."""
        try:
            fields = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return False
        used = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        now = time.monotonic()
        if used > self.used:
            self.used, self.moved = used, now
        return used > self.limit or (now - self.began > self.limit and now - self.moved > STILL)


def _resident(process: int) -> int:
    """Bytes of memory that a process holds. Address space would not do: the drawing engine reserves much of it."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def _read(path: Path) -> str:
    return path.read_bytes()[:200_000].decode("utf-8", errors="replace") if path.exists() else ""


def _contents(folder: Path) -> dict[str, str]:
    """Digest of every plain file below a folder, and the kind of what is none."""
    found = {}
    for top, folders, files in os.walk(folder):
        for name in (*files, *folders):
            path = Path(top) / name
            if path.is_symlink() or (name in files and not path.is_file()):
                found[str(path.relative_to(folder))] = f"mode {path.lstat().st_mode}"
            elif name in files:
                found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def outcomes(chosen: Sequence[Case], base: Path, workers: int) -> list[Outcome]:
    """Run inputs, each in a folder that is removed when it is as wanted, in processes that share them out."""
    warm()
    children = []
    for worker in range(workers):
        child = os.fork()
        if child == 0:
            found = []
            for number in range(worker, len(chosen), workers):
                outcome = run(chosen[number], folder := base / f"{number:04d}")
                if not outcome.fault:
                    shutil.rmtree(folder, ignore_errors=True)
                found.append((number, outcome.status, outcome.seconds, outcome.said))
            (base / f"outcomes{worker}.json").write_text(json.dumps(found))
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    told = [one for worker in range(workers) for one in json.loads((base / f"outcomes{worker}.json").read_text())]
    return [Outcome(chosen[number], *rest) for number, *rest in sorted(told)]


def page(found: Sequence[Outcome], seed: int, every: int) -> str:
    """The counts and the faults as Markdown."""
    kinds = Counter(one.case.kind for one in found)
    lines = [
        "# Bad and hostile inputs",
        "",
        f"`python benchmarks/hostile.py --seed {seed} --every {every}`: {len(found)} inputs, made from the seed, each",
        "in a process of its own, forked from one that had imported the package and done nothing else.",
        "",
        "| inputs | number | refused | wrong usage | accepted, and checked | faults | longest, s |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind in (*kinds, None):
        of = [one for one in found if kind is None or one.case.kind == kind]
        counts = Counter("fault" if one.fault else one.status for one in of)
        lines.append(
            f"| {kind or 'all'} | {len(of)} | {counts['refused']} | {counts['usage']} | {counts['accepted']} "
            f"| {counts['fault']} | {max(one.seconds for one in of):.1f} |"
        )
    faults = [one for one in found if one.fault]
    lines += ["", "No fault." if not faults else "Faults:", ""]
    lines += [f"- {one.case.kind}: {one.case.name}: {one.status}" for one in faults]
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    """Run all inputs; the exit status is 1 where any is not as wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="one kind of inputs, or part of their names")
    parser.add_argument("--every", type=int, default=1, help="of all inputs, one in so many: a short form")
    parser.add_argument("--workers", type=int, default=1, help="processes that share the inputs out")
    parser.add_argument("--keep", type=Path, help="keep folders of faults there")
    given = parser.parse_args()
    base = given.keep or Path(tempfile.mkdtemp(prefix="hostile"))
    base.mkdir(parents=True, exist_ok=True)
    chosen = [one for one in cases(given.seed) if not given.only or given.only in f"{one.kind}: {one.name}"]
    chosen = chosen[:: given.every]
    found = outcomes(chosen, base, given.workers)
    for outcome in found:
        if outcome.fault:
            last = "\n    ".join(outcome.said.strip().splitlines()[-4:])
            print(f"{outcome.case.kind}: {outcome.case.name}: {outcome.status}\n    {last}")
    print(page(found, given.seed, given.every))
    if not given.only and given.every <= 2:
        RESULTS.write_text(page(found, given.seed, given.every), encoding="utf-8")
    if given.keep is None:
        shutil.rmtree(base, ignore_errors=True)
    return int(any(one.fault for one in found))


if __name__ == "__main__":
    sys.exit(main())
