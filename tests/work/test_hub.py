"""Revisions of a hub as checkpoints: against a small server that speaks the hub's protocol, never the network."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from onset.data.tokenizer import train
from onset.errors import OnsetError
from onset.study.spec import TokenizerSpec
from onset.tables.items import scored
from onset.tasks.catalogue import find
from onset.work import hub

TASK = "modular_arithmetic"


def handler(repositories: dict[str, dict[str, Path]]) -> type[BaseHTTPRequestHandler]:
    """Serves refs, the description of a revision and its files; a revision is a folder."""

    class Hub(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            if not self.found():
                self.send_response(404)
                self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()

        def found(self) -> bool:
            path = urlsplit(self.path).path
            for name, revisions in repositories.items():
                commits = {revision: hashlib.sha1(revision.encode()).hexdigest() for revision in revisions}
                if path == f"/api/models/{name}/refs":
                    refs = [
                        {"name": one, "ref": f"refs/heads/{one}", "targetCommit": commit}
                        for one, commit in commits.items()
                    ]
                    return self.reply({"branches": refs, "converts": [], "tags": []})
                for revision, folder in revisions.items():
                    commit, files = commits[revision], sorted(one.name for one in folder.iterdir())
                    for ref in (revision, commit):
                        if path == f"/api/models/{name}/revision/{ref}":
                            siblings = [{"rfilename": one} for one in files]
                            return self.reply({"id": name, "sha": commit, "siblings": siblings, "tags": []})
                        if path == f"/api/models/{name}/tree/{ref}":
                            sizes = [
                                {"type": "file", "path": one, "size": (folder / one).stat().st_size, "oid": commit}
                                for one in files
                            ]
                            return self.reply(sizes)
                        if path.startswith(f"/{name}/resolve/{ref}/") and (file := path.rpartition("/")[2]) in files:
                            return self.reply((folder / file).read_bytes(), commit)
            return False

        def reply(self, content: object, commit: str = "") -> bool:
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            if commit:
                self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
                self.send_header("X-Repo-Commit", commit)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)
            return True

    return Hub


@pytest.fixture
def endpoint(tmp_path: Path, llama_folder: Callable[..., Path]) -> Iterator[str]:
    """A hub with one model: four revisions of which two are checkpoints of a first stage."""
    tokenizer = train([task.requests()[0].prompt * 20 for task in find([TASK])], TokenizerSpec(vocab=280))
    names = ("main", "step20-tokens1M", "step100", "step100-seed-two", "notes")
    folders = {
        name: llama_folder(tmp_path / "hub" / str(number), tokenizer, seed=number) for number, name in enumerate(names)
    }
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler({"lab/toy": folders}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def onset(endpoint: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own: the hub's library reads where the hub is once."""
    about = {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(folder / "cache"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
    }
    return subprocess.run(
        [sys.executable, "-m", "onset", *words], capture_output=True, text=True, cwd=folder, check=False,
        env={**os.environ, **about},
    )  # fmt: skip


def test_revisions_that_a_pattern_names_become_checkpoints(endpoint: str, tmp_path: Path) -> None:
    """Lost otherwise: a published series is given one revision at a time, with its tokens typed from the model card."""
    out = tmp_path / "out"
    asked = ("--tasks", TASK, "--limit", "4", "--out", str(out), "--json")
    done = onset(endpoint, tmp_path, "eval", "lab/toy@step*", *asked)
    assert done.returncode == 0, done.stderr
    runs = {run.name.rpartition("-")[0]: run for run in (out / "runs").iterdir()}
    assert set(runs) == {"lab-toy", "lab-toy-seed-two"}
    meta = json.loads((runs["lab-toy"] / "run.json").read_text())
    assert meta["tokens_at"] == {"20": 1_000_000}
    assert {step for row in json.loads(done.stdout) for step in [row["step"]]} == {20, 100}
    assert [one.step for one in scored([runs["lab-toy"]])] == [100]

    done = onset(endpoint, tmp_path, "eval", "lab/toy@ckpt*", *asked)
    assert done.returncode == 1
    assert "no revision that names a step is like 'ckpt*'" in done.stderr
    assert "it has main, step20-tokens1M" in done.stderr
    done = onset(endpoint, tmp_path, "eval", "lab/other@step*", *asked)
    assert done.returncode == 1
    assert "cannot list the revisions" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_series_knows_its_repositories_and_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost otherwise: tokens of a step are looked up by hand, and mistyped."""
    asked: list[str] = []

    def listed(repository: str, pattern: str) -> list[str]:
        asked.append(f"{repository} {pattern}")
        return ["step0", "step512", "step143000"]

    monkeypatch.setattr(hub, "revisions", listed)
    found = hub.expanded("series:pythia:70m,160M@step*00")
    assert asked == ["EleutherAI/pythia-70m step*", "EleutherAI/pythia-160m step*"]
    assert found["EleutherAI/pythia-70m@step143000"] == 143_000 * 2_097_152 == 299_892_736_000
    assert len(found) == 2
    assert hub.expanded("series:smollm2:135m")["HuggingFaceTB/SmolLM2-135M-intermediate-checkpoints@step512"] == 2**29
    assert hub.expanded("series:smollm2:360m")["HuggingFaceTB/SmolLM2-360M-intermediate-checkpoints@step512"] is None
    for wrong, what in (("series:pythea", "no series 'pythea'"), ("series:pythia:75m", "no size '75m'")):
        with pytest.raises(OnsetError, match=what) as caught:
            hub.expanded(wrong)
        assert "did you mean" in str(caught.value)


def test_the_catalogue_of_series_says_where_its_facts_are_from() -> None:
    """Lost otherwise: a number of tokens that nobody can check."""
    frame = hub.listing()
    assert frame["source"].str.startswith("https://").all()
    assert frame["series"].is_unique
    assert frame.set_index("series")["unverified"]["k2"], "what was not seen at its source is said"
    for one in hub.SERIES.values():
        assert all(name.count("/") == 1 for name in one.repositories.values())


@pytest.mark.parametrize(
    ("name", "step", "tokens", "rest"),
    [
        ("step1000", "1000", None, ""),
        ("stage1-step140000-tokens294B", "140000", "294", ""),
        ("step69369-seed-default", "69369", None, "-seed-default"),
        ("ckpt_356", "356", None, ""),
        ("step-160000", "160000", None, ""),
        ("stage3-step-4720000", "4720000", None, ""),
        ("stage1-step1413814", "1413814", None, ""),
        ("step2627139-tokens15T", "2627139", "15", ""),
        ("iter_0002000", "0002000", None, ""),
    ],
)
def test_revisions_of_public_series_name_their_step(name: str, step: str, tokens: str | None, rest: str) -> None:
    """Lost otherwise: a checkpoint is taken for a model of its own."""
    found = hub.STEP.search(name)
    assert found is not None
    assert (found[1], found[2], found["rest"]) == (step, tokens, rest)
