"""Without these a node that dies would cost more than the piece in hand, or a cluster would give other numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from onset.errors import OnsetError
from onset.study.files import dump
from onset.study.spec import Study
from onset.work.engines import choose_engine
from onset.work.study import run_study

CLUSTER = """
import subprocess, sys, threading, time
from pathlib import Path
from ray.cluster_utils import Cluster

study, out, kill, threads = sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "kill", sys.argv[4]
url = sys.argv[5]
here = {"node_ip_address": "127.0.0.1"}
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **here})
# Nothing but the store is common to the nodes, where there is one: each keeps its copies in a folder of its own.
own = [{"ONSET_SCRATCH": f"{out}-node{number}"} for number in range(2)]
nodes = [cluster.add_node(num_cpus=1, env_vars=variables, **here) for variables in own]
cluster.wait_for_nodes()

def kill_when_begun():
    while not all(any(out.glob(f"runs/{run}-*/steps/0*")) for run in ("w16", "w24")):
        time.sleep(0.02)
    cluster.remove_node(nodes[1], allow_graceful=False)

if kill:
    threading.Thread(target=kill_when_begun, daemon=True).start()
patience = "import onset.work.engines.ray as engine; engine._RayExecutor.patience = 1.0; "
command = [sys.executable, "-c", patience + "from onset.cli import main; main()", "run", study]
command += ["--out", url, "--engine", "ray", "--ray-address", cluster.address, "--threads", threads]
print("exit", subprocess.run(command, stderr=subprocess.STDOUT).returncode)
"""


# The second keeps every server of the cluster on 127.0.0.1.
ONLY_HERE = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
ONLY_HERE["RAY_worker_niceness"] = "0"  # beside others on a busy machine, Ray's own 15 would starve them


def on_a_cluster(study: Study, folder: Path, *, kill: bool = False, threads: int = 1, protocol: str = "file") -> str:
    """Run a study by the command on a cluster of two nodes of one core; what was said."""
    (folder / "study.toml").write_text(dump(study))
    command = [sys.executable, "-c", CLUSTER, str(folder / "study.toml"), str(folder / "ray")]
    command += ["kill" if kill else "leave", str(threads), f"{protocol}://{folder / 'ray'}"]
    env = {**ONLY_HERE, "ONSET_SCRATCH": str(folder / "command")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=env, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def content(out: Path) -> dict[str, object]:
    """Weights as bytes and parts as text, by name."""
    from onset.store.parts import read_part

    found: dict[str, object] = {}
    for path in sorted((out / "runs").rglob("*")):
        if path.suffix == ".safetensors" and "resume" not in path.parts:
            found[path.relative_to(out).as_posix()] = path.read_bytes()
        elif path.suffix == ".parquet":
            found[path.relative_to(out).as_posix()] = read_part(path).to_csv()
    return found


@pytest.mark.slow
def test_a_node_killed_in_the_middle_costs_its_piece_only_and_results_equal_the_local_engine_s(
    small: Study, tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    longer = tuple(run.model_copy(update={"tokens": 400_000, "checkpoints": 6}) for run in small.runs)
    study = small.model_copy(update={"runs": longer})
    told = on_a_cluster(study, tmp_path, kill=True)
    assert "exit 0" in told, told
    assert told.count("a worker was lost") == 1, told
    assert told.count("is tried again") == 1
    local = choose_engine("local", 2, 2, out=tmp_path / "local", threads=1)
    assert run_study(study, tmp_path / "local", engine=local).pending == 0
    alone = content(tmp_path / "local")
    assert len(alone) == 2 * 6 * 5  # runs, checkpoints; weights, losses, losses of documents, two tasks
    assert content(tmp_path / "ray") == alone


@pytest.mark.slow
def test_nodes_that_share_no_folder_do_a_study_in_a_store_and_one_may_die(small: Study, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    longer = tuple(run.model_copy(update={"tokens": 400_000, "checkpoints": 6}) for run in small.runs)
    study = small.model_copy(update={"runs": longer})
    told = on_a_cluster(study, tmp_path, kill=True, protocol="local")
    assert "exit 0" in told, told
    assert told.count("a worker was lost") == 1, told
    local = choose_engine("local", 2, 2, out=tmp_path / "local", threads=1)
    assert run_study(study, tmp_path / "local", engine=local).pending == 0
    assert content(tmp_path / "ray") == content(tmp_path / "local")
    for node in ("ray-node0", "ray-node1"):
        assert list((tmp_path / node).rglob("work/runs/*/log.jsonl")), f"{node} trained nothing"


@pytest.mark.slow
def test_without_a_cluster_the_command_uses_a_ray_of_this_machine(small: Study, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    (tmp_path / "study.toml").write_text(dump(small))
    command = [sys.executable, "-m", "onset", "run", str(tmp_path / "study.toml"), "--out", str(tmp_path / "ray")]
    command += ["--engine", "ray", "--threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (
        run_study(small, tmp_path / "local", engine=choose_engine("local", 1, 2, out=tmp_path, threads=1)).pending == 0
    )
    assert content(tmp_path / "ray") == content(tmp_path / "local")


@pytest.mark.slow
def test_a_piece_that_is_too_large_for_every_node_is_told_and_the_command_ends(small: Study, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    told = on_a_cluster(small.model_copy(update={"runs": small.runs[:1]}), tmp_path, threads=64)
    assert "no node of the cluster has 64 cores" in told
    assert "exit 1" in told


def test_ray_s_client_is_refused_because_it_sees_no_files(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    with pytest.raises(OnsetError, match="does not see the cluster's files"):
        choose_engine("ray", None, 1, out=tmp_path, address="ray://127.0.0.1:10001")


def test_without_ray_the_engine_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(OnsetError, match="not installed") as caught:
        choose_engine("ray", None, 1, out=tmp_path)
    assert "[ray]" in str(caught.value)


def test_a_training_on_a_part_of_a_gpu_plans_with_that_part_of_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost otherwise: four trainings on one GPU, each planned as if it were alone there."""
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    from types import SimpleNamespace

    import torch

    from onset.study.cost import usable
    from onset.work.engines.ray import part_of_gpu
    from onset.work.resources import Slot

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=80 * 10**9))
    assert part_of_gpu(Slot(1, ("cuda:0",)), 0.25).memory == usable(20 * 10**9)
