"""The chunks of a task's item rows: each is written as it is done, and together they become the task's part."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from onset.store.parts import ITEMS, read_about, write_part
from onset.store.rundir import RunDir
from onset.tasks.chunks import Chunks
from onset.tasks.chunks import chunks as chunks_of
from onset.tasks.constant import constant_answer
from onset.tasks.task import Task


def chunk_file(rundir: RunDir, step: int, task: str, digest: str, number: int) -> Path:
    """Where the rows of one chunk are kept until all of them are there."""
    return rundir.chunks(step, task, digest) / f"{number:04d}.parquet"


def chunks(task: Task) -> Chunks:
    """The chunks of a task, found once in a process."""
    digest = task.digest()
    if digest not in _plans:
        _plans[digest] = chunks_of(task.requests())
    return _plans[digest]


_plans: dict[str, Chunks] = {}


def told_of(task: Task) -> dict[str, Any]:
    """What a part says of its task, so that its rows can be read where the task's definition is not at hand."""
    told = {"faults": task.faults(), "shots": task.shots, "language": task.language, "metric": task.metric}
    return told | ({"constant_answer": constant_answer(task.items())} if task.open else {})


def join(task: Task, digest: str, rundir: RunDir, step: int) -> bool:
    """Make the part of a task once all its chunks are there, and remove them; returns whether the part is there now.

    For one process at a time. Chunks that do not belong together (other prompts, another dtype) are removed.
    """
    whole, folder, plan = rundir.items(step, task.name, digest), rundir.chunks(step, task.name, digest), chunks(task)
    if not whole.exists():
        files = [chunk_file(rundir, step, task.name, digest, number) for number in range(len(plan))]
        if not all(file.exists() for file in files):
            return False
        said = [read_about(file) for file in files]
        expected = {**said[0], "digest": digest, "chunks": len(plan)}
        if any(one != {**expected, "chunk": number} for number, one in enumerate(said)):
            shutil.rmtree(folder)
            return False
        order = [index for chunk in plan for index in chunk]
        places = sorted(range(len(order)), key=order.__getitem__)
        rows = pa.concat_tables([pq.ParquetFile(file).read() for file in files], promote_options="default").take(places)
        write_part(whole, rows, ITEMS, {**told_of(task), "dtype": said[0]["dtype"]})
    shutil.rmtree(folder, ignore_errors=True)
    return True
