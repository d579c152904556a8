"""A study whose folder is kept in a store: every machine works in a copy of its own, and sends what it makes.

The command's machine mirrors the store: rows and descriptions are copied, of checkpoints it only knows that they are
there. A worker fetches what its piece needs, works as if the folder were its own, and meanwhile sends what appears
whole. A machine that dies costs the piece in hand; a training goes on elsewhere from the newest state that was sent.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from onset import reading
from onset.errors import OnsetError
from onset.store.lock import lock_study
from onset.store.object_store import ELSEWHERE, Copy, Store, unit_of, units_in, url_of
from onset.study.branching import branches
from onset.study.spec import Study
from onset.work.jobs import study as jobs
from onset.work.ledger import StudyLedger
from onset.work.piece import Control, Event, Pending, Piece
from onset.work.resources import Slot

SCRATCH = "ONSET_SCRATCH"
"""The variable that names where a machine keeps its copies; else the user's cache."""
LOOK_SECONDS = 5.0
"""How often a worker looks for what it can send."""
LEASE = ".lease.json"
LEASE_SECONDS = 300.0
"""A command that has not said for so long that it is at work counts as ended."""
LAST = ("DONE", "FAILED")
"""Files that say that others are whole."""

Parts = dict[str, tuple[int, int]]
"""Files by name with their size and time of change; folders that appear whole, which never change, with zeros."""


def scratch(url: str) -> Path:
    """Where this machine keeps its copies of the study at that URL."""
    base = os.environ.get(SCRATCH)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "onset" / "studies"
    return (Path(base) if base else cache) / hashlib.sha256(url.encode()).hexdigest()[:12]


class StoredLedger(StudyLedger):
    """A study in a store, seen from the machine that gave the command."""

    refresh_seconds = 15.0

    def __init__(self, study: Study, url: Path | str) -> None:
        self.url = url_of(url)
        super().__init__(study, scratch(self.url) / "mirror")
        self.copy = Copy(Store(self.url), self.out)
        self.looked, self.took, self.news_until = 0.0, 0.0, 0.0

    def pending(self, *, fresh: bool = False) -> Pending:
        """What is done and pending, as the store has it: looked at often only while something was heard."""
        now = time.monotonic()
        waited = now - self.looked
        if fresh or waited >= self.refresh_seconds or (now < self.news_until and waited > max(1.0, 3 * self.took)):
            self.update()
            fresh = True
        return super().pending(fresh=fresh)

    def hear(self, event: Event) -> None:
        """Take note of what happened to a piece; what it made comes to the store a moment later."""
        if event.kind != "start" and (event.kind != "progress" or "checkpoint" in event.data):
            self.news_until = time.monotonic() + 2 * LOOK_SECONDS
        if event.kind in ("done", "failed"):
            self.update()
        if "checkpoint" not in event.data:  # a checkpoint counts once it has come
            super().hear(event)

    def divide(self, piece: Piece) -> tuple[Piece, ...]:
        """The piece itself: the rows of a chunk stay on the machine that made them."""
        return (piece,)

    def update(self, *, logs: bool = False) -> None:
        """Let the mirror be as the store is; logs of trainings, which grow, only where they are asked for."""
        began = time.monotonic()
        mirror(self.copy, logs=logs)
        self.looked = time.monotonic()
        self.took = self.looked - began

    def begun_with(self) -> str | None:
        """The study.toml with which this study was begun; None before."""
        self.copy.fetch_file("study.toml")
        return super().begun_with()

    def publish(self) -> None:
        """Send what this machine has made for all: the study, its texts, findings and the page."""
        there = self.copy.store.names()
        known = units_in(there) | {name for name in there if unit_of(name) is None}
        made = parts(self.copy.folder, ["text", *_own(self.copy.folder)])
        texts = {name: sign for name, sign in made.items() if name.startswith("text/") and name in known}
        send(self.copy, made, texts, ())

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the study for this command: its mirror by a lock, the store by a lease that is renewed."""
        with lock_study(self.out), _lease(self.copy.store):
            yield


def run_piece(ledger: StoredLedger, piece: Piece, slot: Slot, control: Control) -> None:
    """Do a piece in this machine's working copy and send what it makes; done already, it is not done again."""
    here = StudyLedger(ledger.study, scratch(ledger.url) / "work")
    here.logs = ledger.logs
    copy = Copy(ledger.copy.store, here.out)
    scope = _scope(here, piece)
    with lock_study(here.out, patience=float("inf")):  # several processes of a machine share the copy
        known = fetch(copy, here, piece, scope)
    if all(piece.key != one.key for one in here.pending(fresh=True).pieces):
        return
    if piece.kind in ("evaluate", "loss") and not here.ready(piece):  # its checkpoint was found damaged meanwhile
        return
    with sending(copy, scope, known):
        jobs.run_piece(here, piece, slot, control)


def copied(url: Path | str, *, logs: bool = False) -> Path:
    """The folder of this machine with a fresh copy of what tells how a store's study stands, and its results."""
    address = url_of(url)
    copy = Copy(Store(address), scratch(address) / "mirror")
    with lock_study(copy.folder, patience=60.0):
        mirror(copy, logs=logs)
        copy.fetch_file("study.toml")
    if not (copy.folder / "study.toml").exists():
        raise OnsetError("no study here", where=address, advice="give the URL of 'onset run ... --out'")
    return copy.folder


def mirror(copy: Copy, *, logs: bool = False) -> None:
    """Let a copy hold what tells how a study stands: its files, and which folders are whole."""
    there = copy.store.names()
    whole = units_in(there)
    files = {name: size for name, size in there.items() if _told(name, logs)}
    for unit in sorted(whole):
        if unit.startswith("text/"):
            copy.fetch_unit(unit)
        else:
            copy.note_unit(unit)
    for name, size in files.items():
        path = copy.folder / name
        if not path.is_file() or path.stat().st_size != size:
            copy.fetch_file(name)
    for name in parts(copy.folder, ["runs"]):
        if name in whole or name in there:
            continue
        if unit_of(name) is not None:
            copy.drop_unit(name)
        else:
            (copy.folder / name).unlink(missing_ok=True)


def _told(name: str, logs: bool) -> bool:
    if unit_of(name) is not None or Path(name).name.startswith("."):
        return False
    return name.startswith(("runs/", "text/")) and (logs or not name.endswith("/log.jsonl"))


def _own(folder: Path) -> list[str]:
    """What lies at the top of a study's folder besides its runs and texts."""
    if not folder.is_dir():
        return []
    return [entry.name for entry in folder.iterdir() if entry.name not in ("runs", "text") and entry.name[0] != "."]


class _Scope:
    """The part of a study's folder that a piece makes: ``own`` is its alone, of ``handed`` it only adds what lacks."""

    def __init__(self, own: Iterable[str], handed: Iterable[str] = ()) -> None:
        self.own, self.handed = tuple(own), tuple(handed)

    def parts(self, folder: Path) -> Parts:
        return parts(folder, (*self.own, *self.handed))


def _scope(here: StudyLedger, piece: Piece) -> _Scope:
    def of(run: str, *names: str) -> list[str]:
        folder = here.rundir(here.study.run(run)).path.relative_to(here.out).as_posix()
        return [f"{folder}/{name}" for name in names]

    if piece.kind == "overlap":
        return _Scope([here.overlap(piece.run).relative_to(here.out).as_posix()])
    if piece.kind != "train":
        rundir = here.rundir(here.study.run(piece.run))
        step = rundir.checkpoint(piece.step).name
        names = (f"steps/{step}", f"items/{step}", f"loss/{step}.parquet", f"documents/{step}.parquet")
        return _Scope(of(piece.run, *names))
    begun = ("run.json", "log.jsonl", "steps", "resume")
    handed = [name for other, _ in branches(here.study, here.study.run(piece.run)) for name in of(other.name, *begun)]
    return _Scope(of(piece.run, *begun, *LAST), handed)


def fetch(copy: Copy, here: StudyLedger, piece: Piece, scope: _Scope) -> Parts:
    """Bring what a piece needs into the working copy; returns what the store has of the piece's scope.

    What lies there of an earlier piece and never came to the store is removed: what is at the URL counts.
    """
    run = here.rundir(here.study.run(piece.run)).path.relative_to(here.out).as_posix()
    there = copy.store.names()
    whole = units_in(there)
    known = dict.fromkeys({*whole, *(name for name in there if unit_of(name) is None)}, (0, 0))
    own = {name for name in known if _within(name, scope.own)}
    evaluated = f"{run}/steps/{piece.step:08d}" if piece.kind in ("evaluate", "loss") else None
    if evaluated is not None and not (copy.folder / evaluated).is_dir():
        own_rows = parts(copy.folder, scope.own)
        _forget(copy, own_rows)  # rows of a checkpoint that is no longer here
    for name in parts(copy.folder, scope.own):
        if name not in own:
            _forget(copy, [name])
    begun_from = _begun_from(here, piece)
    for name in sorted(name for name in known if name in own or name == begun_from or _wanted(name, run, scope)):
        if name not in whole:
            if name in own or not (copy.folder / name).is_file():
                copy.fetch_file(name)
        elif name in (evaluated, begun_from) or name.startswith(("text/", f"{run}/resume/")):
            copy.fetch_unit(name)
        else:
            copy.note_unit(name)
    present = scope.parts(copy.folder)
    return {name: present.get(name, sign) for name, sign in known.items() if _within(name, (*scope.own, *scope.handed))}


def _begun_from(here: StudyLedger, piece: Piece) -> str | None:
    """The checkpoint that a tuning starts from."""
    start = here.study.run(piece.run).start
    if piece.kind != "train" or start is None:
        return None
    return here.folder(start.run).checkpoint(int(start.at)).relative_to(here.out).as_posix()


def _wanted(name: str, run: str, scope: _Scope) -> bool:
    """Whether a piece needs a part that it does not make: texts, and what says what is done of its run."""
    return name.startswith(("text/", f"{run}/")) or _within(name, scope.handed)


def _within(name: str, places: Iterable[str]) -> bool:
    return any(name == place or name.startswith(f"{place}/") for place in places)


def _forget(copy: Copy, names: Iterable[str]) -> None:
    for name in names:
        if (copy.folder / name).is_dir():
            copy.drop_unit(name)
        else:
            (copy.folder / name).unlink(missing_ok=True)


def parts(folder: Path, places: Iterable[str]) -> Parts:
    """What stands whole in a copy at some places: no half-written file, nothing that was set aside or only noted."""
    found: Parts = {}
    for place in places:
        _collect(folder, folder / place, found)
    return found


def _collect(folder: Path, path: Path, found: Parts) -> None:
    name = path.relative_to(folder).as_posix()
    if path.name.startswith(".") or path.suffix == ".chunks" or ".damaged" in path.name:
        return
    try:
        if path.is_dir() and unit_of(f"{name}/") is not None:
            found[name] = (0, 0)
        elif path.is_dir():
            for entry in sorted(path.iterdir()):
                _collect(folder, entry, found)
        elif path.is_file():
            found[name] = (path.stat().st_size, path.stat().st_mtime_ns)
    except FileNotFoundError:  # it was renamed or dropped while we looked
        return


def send(copy: Copy, now: Parts, before: Parts, own: Iterable[str]) -> None:
    """Send what is new or changed since ``before``, folders first; remove from the store what is gone of ``own``."""
    changed = [name for name, sign in now.items() if before.get(name) != sign]
    for name in sorted(changed, key=lambda name: (now[name] != (0, 0), Path(name).name in LAST)):
        path = copy.folder / name
        if now[name] != (0, 0):
            with suppress(FileNotFoundError):  # gone meanwhile, which the next look tells
                copy.store.send(path, name)
        elif path.is_dir() and not (path / ELSEWHERE).exists():
            copy.send_unit(name)
    for name in before:
        if name not in now and _within(name, own):
            if unit_of(f"{name}/") is not None:
                copy.remove_unit(name)
            else:
                copy.store.remove([name])


@contextmanager
def sending(copy: Copy, scope: _Scope, known: Parts) -> Iterator[None]:
    """Within, send what appears in the scope now and then; at the end all of it, however the end came."""
    sender = _Sender(copy, scope, known)
    over = threading.Event()

    def look() -> None:
        while not over.wait(LOOK_SECONDS):
            try:
                sender.turn()
            except OnsetError:  # it is tried again, and told at the end
                continue

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        sender.turn()


class _Sender:
    """What of a piece's scope has come to the store so far."""

    def __init__(self, copy: Copy, scope: _Scope, known: Parts) -> None:
        self.copy, self.scope, self.known = copy, scope, dict(known)

    def turn(self) -> None:
        """Send what is new; files are looked up before folders, so that none tells of a folder not yet seen."""
        before = self.known
        files = {name: sign for name, sign in self.scope.parts(self.copy.folder).items() if sign != (0, 0)}
        units = {name: sign for name, sign in self.scope.parts(self.copy.folder).items() if sign == (0, 0)}
        now = files | units
        for name in list(now):
            if name in before and _within(name, self.scope.handed):
                now[name] = before[name]  # another's by now
        send(self.copy, now, before, self.scope.own)
        self.known = now | {name: sign for name, sign in before.items() if _within(name, self.scope.handed)}


def _lease_of(content: bytes) -> dict[str, Any]:
    """Who holds the study, and since when. Raises OnsetError for a lease that was edited."""
    advice = f"if nobody is at work on the study, delete {LEASE} in the store"
    found = reading.json_dict(content, where=LEASE, advice=advice)
    if not isinstance(found.get("time"), int | float):
        raise OnsetError("the lease of the study does not say its time", where=LEASE, advice=advice)
    return {"process": "?", "host": "?"} | found


@contextmanager
def _lease(store: Store) -> Iterator[None]:
    """Hold a study in a store, where there are no locks: a file that says who is at work, renewed while he is."""
    found = store.read(LEASE)
    if found is not None:
        other = _lease_of(found)
        if time.time() - other["time"] < LEASE_SECONDS:
            raise OnsetError(
                f"another command is working on this study (process {other['process']} on {other['host']})",
                where=store.url,
                advice=f"wait for it to end; if it was killed, wait {LEASE_SECONDS / 60:.0f} minutes or delete {LEASE}",
            )
    own = {"id": uuid.uuid4().hex, "host": socket.gethostname(), "process": os.getpid()}

    def renew() -> None:
        store.write(LEASE, json.dumps(own | {"time": time.time()}).encode())

    renew()
    written = reading.json_dict(store.read(LEASE) or b"{}", where=LEASE)
    if written.get("id") != own["id"]:
        raise OnsetError("another command has begun on this study at this moment", where=store.url, advice="try again")
    over = threading.Event()

    def go_on() -> None:
        while not over.wait(LEASE_SECONDS / 5):
            try:
                renew()
            except OnsetError:  # the store will tell the work itself
                continue

    threading.Thread(target=go_on, daemon=True).start()
    try:
        yield
    finally:
        over.set()
        store.remove([LEASE])
