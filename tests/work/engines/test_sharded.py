"""Without these a training on several devices would end elsewhere than on one, or not at all when a node dies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from onset.errors import OnsetError
from onset.store.rundir import RunDir
from onset.study.files import dump
from onset.study.spec import Study
from onset.work.engines import choose_engine, sharded
from onset.work.ledger import StudyLedger
from onset.work.piece import Control, Piece
from onset.work.resources import Slot
from onset.work.study import run_study

CLUSTER = """
import subprocess, sys, threading, time
from pathlib import Path
import psutil
from ray.cluster_utils import Cluster

study, out = sys.argv[1], Path(sys.argv[2])
here = {"node_ip_address": "127.0.0.1"}
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **here})
nodes = [cluster.add_node(num_cpus=1, **here) for _ in range(3)]  # two for the training, one in reserve
cluster.wait_for_nodes()
raylets = [psutil.Process(node.all_processes["raylet"][0].process.pid) for node in nodes]

def trains(raylet):
    return any("TrainWorker" in " ".join(child.cmdline()) for child in raylet.children(recursive=True))

def kill_one_in_the_middle():
    while len(list(out.glob("runs/*/steps/0*"))) < 2:
        time.sleep(0.02)
    at_work = [raylet for raylet in raylets if trains(raylet)]
    print("at work", len(at_work), flush=True)
    at_work[-1].kill()
    print("killed", flush=True)

threading.Thread(target=kill_one_in_the_middle, daemon=True).start()
command = [sys.executable, "-m", "onset", "run", study, "--out", str(out), "--engine", "ray"]
command += ["--ray-address", cluster.address, "--threads", "1", "--processes", "2"]
print("exit", subprocess.run(command, stderr=subprocess.STDOUT).returncode, flush=True)
"""

ONLY_HERE = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
ONLY_HERE["RAY_worker_niceness"] = "0"  # beside others on a busy machine, Ray's own 15 would starve them


def logged(rundir: RunDir, what: str) -> list[float]:
    lines = rundir.log_path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line)[what] for line in lines]


@pytest.mark.slow
def test_two_processes_on_two_nodes_of_which_one_is_killed_train_a_run_like_one(small: Study, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    longer = small.runs[1].model_copy(update={"tokens": 300_000, "checkpoints": 6})
    study = small.model_copy(update={"precision": "float32", "runs": (longer,)})
    (tmp_path / "study.toml").write_text(dump(study))
    alone = choose_engine("local", 1, 1, out=tmp_path / "alone", threads=1)
    assert run_study(study, tmp_path / "alone", engine=alone).pending == 0
    command = [sys.executable, "-c", CLUSTER, str(tmp_path / "study.toml"), str(tmp_path / "two")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=900, env=ONLY_HERE, check=False)
    assert "exit 0" in ran.stdout, ran.stdout + ran.stderr[-3000:]
    assert "at work 2\nkilled" in ran.stdout, "the study ended before a node was killed"
    one, two = (StudyLedger(study, tmp_path / name).rundir(longer) for name in ("alone", "two"))
    assert two.steps() == one.steps()
    arithmetic = json.loads(two.done_path.read_text(encoding="utf-8"))["arithmetic"]
    assert arithmetic.get("shards", 1) * arithmetic.get("replicas", 1) == 2
    assert logged(two, "step") == logged(one, "step")
    assert logged(two, "loss") == pytest.approx(logged(one, "loss"), abs=5e-6)


@pytest.mark.slow
def test_a_machine_shares_one_training_between_two_of_its_processes(small: Study, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    study = small.model_copy(update={"precision": "float32", "runs": small.runs[1:]})
    for name, processes in (("alone", 1), ("two", 2)):
        engine = choose_engine("local", 2, 1, out=tmp_path / name, threads=1, processes=processes)
        assert run_study(study, tmp_path / name, engine=engine).pending == 0
    one, two = (StudyLedger(study, tmp_path / name).rundir(study.runs[0]) for name in ("alone", "two"))
    assert logged(two, "loss") == pytest.approx(logged(one, "loss"), abs=5e-6)


def test_without_ray_a_training_on_several_processes_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(Exception, match="Ray is not installed"):
        choose_engine("local", 2, 1, out=tmp_path, processes=2)


def test_gpus_of_a_slot_are_named_as_this_process_was_given_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost otherwise: a training on the GPUs of somebody else."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert sharded._visible(("cuda:1", "cuda:3")) == "1,3"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,GPU-aa")
    assert sharded._visible(("cuda:1", "cuda:3")) == "5,GPU-aa"


def refuse(ledger: StudyLedger, piece: Piece, slot: Slot, control: Control) -> None:
    """The first process meets an error; the other one waits for it in a collective."""
    import torch.distributed as dist

    (ledger.out / f"begun-{dist.get_rank()}-{time.time()}").touch()
    if dist.get_rank() == 0:
        raise OnsetError("the disk is full", where=piece.key)
    dist.barrier()


@pytest.mark.slow
def test_an_error_of_one_process_is_told_at_once_and_not_met_again(
    small: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lost otherwise: half an hour in which all devices wait, and then three times the same error."""
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[3]), *sys.path]))
    ledger = StudyLedger(small, tmp_path)
    with pytest.raises(OnsetError, match="the disk is full"):
        sharded.run_here(refuse, ledger, Piece("train", "w16"), Slot(1, ("cpu", "cpu")), Control())
    assert len(list(tmp_path.glob("begun-*"))) == 2
