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
from onset.work.engine import choose_engine

CLUSTER = """
import io, os, sys, threading, time
from pathlib import Path
import ray
from ray.cluster_utils import Cluster
from rich.console import Console
from onset.study.files import load
from onset.work.engine import choose_engine
from onset.work.run import run_study

study, out = load(sys.argv[1]), Path(sys.argv[2])
kill, threads = sys.argv[3] == "kill", int(sys.argv[4])
here = {"node_ip_address": "127.0.0.1"}
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **here})
nodes = [cluster.add_node(num_cpus=threads, **here) for _ in range(2)]
cluster.wait_for_nodes()

def kill_when_begun():
    while not any((out / "runs").glob("*/steps/0*")):
        time.sleep(0.02)
    cluster.remove_node(nodes[1], allow_graceful=False)

if kill:
    threading.Thread(target=kill_when_begun, daemon=True).start()
said = io.StringIO()
engine = choose_engine("ray", None, len(study.runs), out=out, threads=threads, address=cluster.address)
outcome = run_study(study, out, engine=engine, console=Console(file=said, width=200))
print(said.getvalue())
print("outcome", outcome.owed, outcome.problems)
print("nodes", sum(node["Alive"] for node in ray.nodes()) if ray.is_initialized() else "-")
"""


# The second keeps every server of the cluster on 127.0.0.1.
ONLY_HERE = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
ONLY_HERE["RAY_worker_niceness"] = "0"  # beside others on a busy machine, Ray's own 15 would starve them


def on_a_cluster(study: Study, folder: Path, *, kill: bool, threads: int = 1) -> str:
    """Run a study on a cluster of two nodes on this machine; what was said."""
    (folder / "study.toml").write_text(dump(study))
    command = [sys.executable, "-c", CLUSTER, str(folder / "study.toml"), str(folder / "ray")]
    command += ["kill" if kill else "leave", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=ONLY_HERE, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def content(out: Path) -> dict[str, object]:
    """Weights as bytes and parts as text, by name."""
    from onset.store.tables import read_part

    found: dict[str, object] = {}
    for path in sorted((out / "runs").rglob("*")):
        if path.suffix == ".safetensors" and "resume" not in path.parts:
            found[path.relative_to(out).as_posix()] = path.read_bytes()
        elif path.suffix == ".parquet":
            found[path.relative_to(out).as_posix()] = read_part(path).to_csv()
    return found


@pytest.mark.slow
def test_a_node_killed_in_the_middle_costs_its_pieces_only_and_results_equal_the_local_engine_s(
    small: Study, tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    from onset.work.run import run_study

    longer = tuple(run.model_copy(update={"tokens": 400_000, "checkpoints": 6}) for run in small.runs)
    study = small.model_copy(update={"runs": longer})
    told = on_a_cluster(study, tmp_path, kill=True)
    assert "outcome 0 ()" in told
    assert "a worker was lost" in told
    assert "is tried again" in told
    local = choose_engine("local", 2, 2, out=tmp_path / "local", threads=1)
    assert run_study(study, tmp_path / "local", engine=local).owed == 0
    alone = content(tmp_path / "local")
    assert len(alone) == 2 * 6 * 4
    assert content(tmp_path / "ray") == alone


@pytest.mark.slow
def test_a_piece_that_is_too_large_for_every_node_is_told_and_the_command_ends(small: Study, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    script = CLUSTER.replace(
        "said = io", "import onset.work.ray_engine as engines; engines.PATIENCE_SECONDS = 1.0\nsaid = io"
    )
    script = script.replace("threads=threads, address", "threads=64, address")
    (tmp_path / "study.toml").write_text(dump(small.model_copy(update={"runs": small.runs[:1]})))
    command = [sys.executable, "-c", script, str(tmp_path / "study.toml"), str(tmp_path / "ray"), "leave", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=ONLY_HERE, check=False)
    assert "no node of the cluster has 64 cores" in done.stdout, done.stderr[-2000:]


def test_ray_s_client_is_refused_because_it_sees_no_files(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    with pytest.raises(OnsetError, match="does not see the cluster's files"):
        choose_engine("ray", None, 1, out=tmp_path, address="ray://127.0.0.1:10001")


def test_without_ray_the_engine_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(OnsetError, match="not installed") as caught:
        choose_engine("ray", None, 1, out=tmp_path)
    assert "onset-lm[ray]" in str(caught.value)
