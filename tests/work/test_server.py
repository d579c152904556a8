"""Models behind a completions server: the rows of the same weights read here, against a server of the same protocol."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from onset.cli import app
from onset.data.tokenizer import train
from onset.errors import OnsetError
from onset.score import heldout, server_loss
from onset.score.causal import CausalLM
from onset.score.huggingface import load
from onset.score.server import ServedModel, ServerScorer
from onset.store.parts import read_part
from onset.study.spec import TokenizerSpec
from onset.tasks.catalogue import find
from onset.tasks.task import Request, Sampling

TASKS = ("modular_arithmetic", "addition_1digit", "world_scripts_zh")
CONTEXT = 110


def completion(lm: CausalLM, asked: dict[str, Any], *, begins: bool = True) -> dict[str, Any]:
    """What a server answers: the prompt echoed with the log-probability of each token, and greedy tokens after it."""
    start = [lm.encoder.start] if begins and lm.encoder.start is not None else []
    ids = start + lm.encoder.ids([asked["prompt"]])[0]
    count = len(ids)
    text = ""
    for _ in range(asked["max_tokens"]):
        logits = lm.logits(lm.states(torch.tensor([ids]))[0])
        if asked["temperature"]:
            draw = torch.Generator().manual_seed(asked["seed"] + len(ids))
            ids.append(int(torch.multinomial(torch.softmax(logits[-1] / asked["temperature"], -1), 1, generator=draw)))
        else:
            ids.append(int(logits[-1].argmax()))
        text = lm.encoder.decode(ids[count:])
        if any(stop in text for stop in asked.get("stop", ())):
            text = text[: min(text.find(stop) for stop in asked["stop"] if stop in text)]
            break
    made = {"text": text, "logprobs": None}
    if asked.get("echo"):
        logprobs = torch.log_softmax(lm.logits(lm.states(torch.tensor([ids]))[0]), -1)
        values = [float(logprobs[place, token]) for place, token in enumerate(ids[1:])]
        made["logprobs"] = {"tokens": [f"token_id:{one}" for one in ids], "token_logprobs": [None, *values]}
    return {"choices": [made], "usage": {"prompt_tokens": count}}


def served(lm: CausalLM, *, echoes: bool = True, begins: bool = True) -> ThreadingHTTPServer:
    class Server(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            self.reply(200, {"data": [{"id": "toy"}]})

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            room = 0 if asked.get("echo") else 1 + asked["max_tokens"]
            if len(lm.encoder.ids([asked["prompt"]])[0]) + room > CONTEXT:
                self.reply(400, {"error": {"message": f"the maximum context length is {CONTEXT} tokens"}})
            else:
                self.reply(200, completion(lm, asked if echoes else {**asked, "echo": False}, begins=begins))

        def reply(self, code: int, content: object) -> None:
            body = json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture
def toy(tmp_path: Path, llama_folder: Callable[..., Path]) -> Path:
    tokenizer = train([task.requests()[0].prompt * 20 for task in find(TASKS)], TokenizerSpec(vocab=300))
    llama_folder(tmp_path / "served" / "toy", tokenizer, context=4 * CONTEXT)  # the server itself keeps the limit
    return llama_folder(tmp_path / "toy", tokenizer, context=CONTEXT)


@pytest.fixture
def address(toy: Path) -> Iterator[str]:
    server = served(load(toy.parent / "served" / "toy"))
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()


def rows_of(model: str, out: Path) -> pd.DataFrame:
    done = CliRunner().invoke(
        app, ["eval", model, "--tasks", ",".join(TASKS), "--limit", "5", "--out", str(out), "--json"]
    )
    assert done.exit_code == 0, (done.output, done.exception)
    parts = [read_part(part) for part in sorted(out.glob("runs/*/items/*/*.parquet"))]
    return pd.concat(parts, ignore_index=True)


def test_rows_of_a_served_model_are_those_of_its_weights(toy: Path, address: str, tmp_path: Path) -> None:
    """Lost otherwise: a model too large for this machine, or one whose scores differ from those of its own weights."""
    here, there = rows_of(str(toy), tmp_path / "here"), rows_of(f"{address}#toy", tmp_path / "there")
    same = ["task", "digest", "item", "choice", "gold", "tokens", "bytes", "text", "correct", "cut_shots", "missing"]
    pd.testing.assert_frame_equal(there[same], here[same])
    assert here["logprob"].notna().sum() > 20
    assert (here["cut_shots"] > 0).any(), "prompts that are too long lose examples on both ways"
    assert (there["logprob"] - here["logprob"]).abs().max() < 1e-4
    assert there["logprob"].notna().equals(here["logprob"].notna())
    (run,) = (tmp_path / "there" / "runs").iterdir()
    assert json.loads((run / "run.json").read_text()).get("params") is None, "what is not known is no number"


def test_a_served_model_is_sampled(address: str) -> None:
    """Lost otherwise: pass@k of models that are too large for this machine."""
    model = ServerScorer(ServedModel.of(f"{address}#toy"))
    (task,) = find(["addition_1digit"])
    requests = task.with_use(limit=2, sampling=Sampling(3, 1.0, seed=5)).requests()
    found = model.samples(requests)
    assert [len(texts or []) for texts in found] == [3, 3]
    assert len({text for texts in found for text in texts or []}) > 1, "drawn, not greedy"
    assert found == model.samples(requests), "the same seed, the same samples"


def test_the_parameters_of_a_served_model_are_told_by_the_table(address: str, tmp_path: Path) -> None:
    """Lost otherwise: scores of a served model that no analysis can place."""
    from onset.work.names import describe, known, subjects

    table = tmp_path / "tokens.csv"
    table.write_text(f"model,tokens,run,step,params\n{address}#toy,2e9,toy,1000,7e9\n")
    (subject,) = subjects([f"{address}#toy"], tmp_path / "out", known(table))
    describe(subject)
    meta = subject.rundir.meta()
    assert (meta["params"], meta["tokens_at"], subject.step) == (7_000_000_000, {"1000": 2_000_000_000}, 1000)


def test_servers_that_cannot_be_used_are_told(toy: Path, address: str) -> None:
    """Lost otherwise: log-probabilities of generated tokens are taken for those of the prompt."""
    with pytest.raises(OnsetError, match="the server has no model 'other'"):
        ServedModel.of(f"{address}#other")
    with pytest.raises(OnsetError, match="no answer of the server"):
        ServedModel.of("http://127.0.0.1:9/v1#toy")
    server = served(load(toy), echoes=False)
    model = ServedModel.of(f"http://127.0.0.1:{server.server_address[1]}/v1")
    assert model.name == "toy", "the only model of a server needs no name"
    asked = Request("1", 0, True, "score", "What is", " it")
    with pytest.raises(OnsetError, match="does not tell the log-probabilities of the prompt"):
        ServerScorer(model).score([asked])
    server.shutdown()
    server.server_close()


DOCUMENTS = ["Tom has a red lamp.", "The hill is blue, said Ann.\n", "红色的灯。", "A lamp on the hill. " * 30]


def test_the_loss_of_a_served_model_is_that_of_its_weights(toy: Path, address: str, tmp_path: Path) -> None:
    """Lost otherwise: the loss of a model of any size, which places its scores; a document cut short by the context."""
    short = {"en": DOCUMENTS[:2], "zh": DOCUMENTS[2:3]}
    here = heldout.measure(load(toy), short)
    there = server_loss.measure(ServedModel.of(f"{address}#toy"), short)
    for mine, theirs in zip(here.documents, there.documents, strict=True):
        assert theirs["nats"] == pytest.approx(mine["nats"], abs=1e-4)
        assert (theirs["bytes"], theirs["characters"]) == (mine["bytes"], mine["characters"])
    assert [row["language"] for row in there.rows] == ["en", "zh", "all"]
    assert there.rows[2]["bits_per_byte"] == pytest.approx(here.rows[2]["bits_per_byte"], abs=1e-4)
    (long,) = server_loss.measure(ServedModel.of(f"{address}#toy"), {"en": DOCUMENTS[3:]}).rows
    (whole,) = heldout.measure(load(toy), {"en": DOCUMENTS[3:]}).rows
    assert long["bytes"] == whole["bytes"] == 600
    assert long["bits_per_byte"] == pytest.approx(whole["bits_per_byte"], rel=0.05), "in pieces, as in windows"

    text, out = tmp_path / "held.jsonl", tmp_path / "out"
    text.write_text("".join(json.dumps({"text": one}) + "\n" for one in DOCUMENTS[:2]))
    command = ["loss", f"{address}#toy", "--text", str(text), "--out", str(out), "--json"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, (done.output, done.exception)
    assert json.loads(done.stdout)["losses"][0]["bits_per_byte"] == pytest.approx(
        here.rows[0]["bits_per_byte"], abs=1e-4
    )
    refused = CliRunner().invoke(app, [*command, "--reference", str(text)])
    assert "unigrams are counted in the model's tokens" in str(refused.exception)


def test_a_server_that_begins_no_text_needs_a_text_that_does(toy: Path) -> None:
    """Lost otherwise: the bits of each document's first token, and a loss that is too low."""
    server = served(load(toy.parent / "served" / "toy"), begins=False)
    model = ServedModel.of(f"http://127.0.0.1:{server.server_address[1]}/v1")
    with pytest.raises(OnsetError, match="begins no text with a token"):
        server_loss.measure(model, {"en": DOCUMENTS[:2]})
    (row,) = server_loss.measure(model, {"en": DOCUMENTS[:2]}, begin="\n").rows
    assert row["tokens"] == sum(len(ids) for ids in load(toy).encoder.ids(DOCUMENTS[:2]))
    server.shutdown()
    server.server_close()


def test_a_served_model_is_asked_where_torch_is_not_installed(address: str) -> None:
    """Lost otherwise: gigabytes of packages on the machine that only asks."""
    script = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'tokenizers', 'safetensors'): sys.modules[name] = None\n"
        "from onset.score.server import ServedModel, ServerScorer\n"
        "from onset.score import server_loss\n"
        "from onset.tasks.catalogue import find\n"
        "from onset.work.jobs import evaluate, losses\n"
        f"model = ServedModel.of('{address}#toy')\n"
        "requests = find(['addition_1digit'])[0].with_use(limit=2).requests()\n"
        "print(all(one.logprob < 0 for one in ServerScorer(model).score(requests)))\n"
        "print(server_loss.measure(model, {'en': ['A red lamp.']}).rows[0]['bits_per_byte'] > 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True", "True"], done.stderr
