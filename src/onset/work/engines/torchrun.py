"""One training on several processes: started here by torchrun, or joined where a user's torchrun started this module.

::

    torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29400 \\
        -m onset.work.engines.torchrun STUDY --out DIR [--device cuda]

All processes do one training after another together; then the first one evaluates the checkpoints. When a process
dies, torchrun starts them all again (``--max-restarts``), with as many as are left where ``--nnodes`` is a
range, and the run goes on from its newest resume state.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onset.errors import OnsetError
from onset.work.engines.local import end_with_parent, limit_threads
from onset.work.ledger import Piece, Report, Workplace
from onset.work.resources import Held, Seat

if TYPE_CHECKING:
    from onset.train.parallel import Mesh

RESTARTS = 3
"""So often torchrun starts the processes of a training again."""

MARK = "@onset "
"""Begins a line of news on the standard output of the leader."""

LAUNCH = "import sys; from onset.work.engines.torchrun import launch; launch(sys.argv[1:])"


def train_in_team(place: Workplace, piece: Piece, seat: Seat, report: Report) -> None:
    """Train a run on the seat's devices, one process each, started by torchrun; this process passes on the news.

    Raises the OnsetError that the leader met, or one with the last lines of what the processes said.
    """
    with tempfile.TemporaryDirectory(prefix="onset-team-") as folder:
        order, said = Path(folder) / "order", Path(folder) / "said"
        order.write_bytes(pickle.dumps((place, piece, seat)))
        command = [sys.executable, "-c", LAUNCH, str(os.getpid()), str(len(seat.devices)), str(order)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(seat.threads)}
        if seat.device != "cpu":
            numbers = [device.rpartition(":")[2] for device in seat.devices]
            seen = os.environ.get("CUDA_VISIBLE_DEVICES")
            names = seen.split(",") if seen else [str(number) for number in range(1 + max(map(int, numbers)))]
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(names[int(number)] for number in numbers)
        with open(said, "wb") as errors:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment, text=True)
            assert process.stdout is not None
            failed: OnsetError | None = None
            ended = False
            for line in process.stdout:
                if not line.startswith(MARK):
                    continue
                news: dict[str, Any] = json.loads(line.removeprefix(MARK))
                if "error" in news:
                    failed = _error(news["error"])
                    process.terminate()  # torchrun would start all of them again, to meet the same error
                elif "ended" in news:
                    ended = True
                else:
                    report(news)
            process.wait()
        if failed is not None:
            raise failed
        if not ended:
            last = "\n".join(said.read_text(encoding="utf-8", errors="replace").splitlines()[-12:])
            raise OnsetError(
                f"the {len(seat.devices)} processes of this training ended {RESTARTS + 1} times before it did",
                where=piece.key,
                advice=f"often it was out of memory; run again to go on. The last they said:\n{last}",
            )


def launch(arguments: list[str]) -> None:
    """Be torchrun for one training, and end with the process that asked for it."""
    from torch.distributed.run import main

    parent, processes, order = arguments
    threading.Thread(target=end_with_parent, args=(int(parent),), daemon=True).start()
    main(
        [
            "--nnodes=1",
            f"--nproc-per-node={processes}",
            f"--max-restarts={RESTARTS}",
            "--monitor-interval=0.2",
            "--rdzv-backend=c10d",
            "--rdzv-endpoint=127.0.0.1:0",
            "--local-addr=127.0.0.1",
            "-m",
            "onset.work.engines.torchrun",
            "--order",
            order,
        ]
    )


def main() -> None:
    """One of torchrun's processes: all train together, and the first one does the rest alone."""
    from onset.train.parallel import joined

    threading.Thread(target=end_with_parent, args=(os.getppid(),), daemon=True).start()
    asked = _arguments()
    if asked.order:
        with joined(asked.device) as mesh:
            _one(mesh, Path(asked.order))
        return
    from onset.study.files import load

    place = Workplace(load(asked.study), Path(asked.out))
    with joined(asked.device) as mesh:
        _trainings(mesh, place)
    if mesh.leads:
        _rest(place)


def _one(mesh: Mesh, order: Path) -> None:
    """The one training of an order, with its news on the standard output of the process that leads."""
    place, piece, seat = pickle.loads(order.read_bytes())
    limit_threads(seat.threads)
    try:
        _train(mesh, place, piece, seat, _print)
    except OnsetError as error:
        if not mesh.leads:
            raise
        _print({"error": [error.what, error.where, error.advice, _held(error)]})
        raise
    if mesh.leads:
        _print({"ended": True})


def _train(mesh: Mesh, place: Workplace, piece: Piece, seat: Seat, report: Report) -> None:
    """This process's part of a training."""
    from onset.work.jobs.study import train_piece

    own = Seat(seat.threads, (mesh.device,), seat.memory)
    train_piece(place, piece, own, report if mesh.leads else (lambda news: None), mesh)


def _trainings(mesh: Mesh, place: Workplace) -> None:
    """All trainings of a study, one after another."""
    if mesh.leads:
        place.materials.prepare()
    mesh.told(None)
    seat = Seat(int(os.environ.get("OMP_NUM_THREADS", "1")), (mesh.device,))
    while (piece := mesh.told(_next(place) if mesh.leads else None)) is not None:
        _train(mesh, place, piece, seat, lambda news: None)


def _next(place: Workplace) -> Piece | None:
    return next((one for one in place.owing().pieces if one.kind == "train" and place.ready(one)), None)


def _rest(place: Workplace) -> None:
    """What is left of a study when its runs are trained, findings and page excepted."""
    from onset.work.study import run_study

    problems = run_study(place.study, place.out).problems
    if problems:
        sys.exit("onset: " + "\n".join(problems))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="torchrun ... -m onset.work.engines.torchrun", description=__doc__)
    parser.add_argument("study", nargs="?", help="a TOML file or a preset's name")
    parser.add_argument("--out", help="the study's folder")
    parser.add_argument("--device", default=None, choices=["cpu", "cuda"])
    parser.add_argument("--order", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.order is None and (asked.study is None or asked.out is None):
        parser.error("give a study and --out")
    if asked.device is None:
        import torch

        own = pickle.loads(Path(asked.order).read_bytes())[2].device if asked.order else None
        asked.device = own.split(":")[0] if own else "cuda" if torch.cuda.is_available() else "cpu"
    return asked


def _print(news: dict[str, Any]) -> None:
    print(MARK + json.dumps(news), flush=True)


def _held(error: OnsetError) -> bool:
    return isinstance(error, Held)


def _error(told: list[Any]) -> OnsetError:
    what, where, advice, held = told
    return Held(where) if held else OnsetError(what, where=where, advice=advice)


if __name__ == "__main__":
    main()
