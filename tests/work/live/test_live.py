"""The live page: what is told of a folder, the server that shows it, and the page that is made anew."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from onset.cli import app
from onset.errors import OnsetError
from onset.report import page
from onset.work.live import LivePage
from onset.work.live.analysis import Maker
from onset.work.live.logs import LossLog
from onset.work.live.server import MOST_READERS, Board, Server
from onset.work.live.watch import Watch

EVIL = "<img src=x onerror='alert(1)'></script>"


@pytest.fixture
def server() -> Iterator[Server]:
    board = Board()
    board.show(b"<!doctype html>the page", "1")
    made = Server(board, "127.0.0.1", 0, any_name=False)
    thread = threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield made
    board.close()
    made.shutdown()
    made.server_close()


def ask(server: Server, path: str, host: str | None = None, method: str = "GET") -> http.client.HTTPResponse:
    port = server.server_address[1]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers={"Host": host or f"127.0.0.1:{port}"})
    return connection.getresponse()


def event(answer: http.client.HTTPResponse) -> tuple[str, str]:
    """The next event: its name and its data."""
    lines: list[str] = []
    while not lines or lines[-1] or not lines[0].startswith("event"):
        line = answer.readline().decode().rstrip("\n")
        if line or lines:
            lines.append(line)
    return lines[0].removeprefix("event: "), lines[1].removeprefix("data: ")


def test_the_page_is_the_only_file_that_is_served(server: Server) -> None:
    """A server that looks up names would show more of the machine than a page."""
    answer = ask(server, "/")
    assert answer.status == 200
    assert answer.read() == b"<!doctype html>the page"
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    for path in ("/study.toml", "/../etc/passwd", "//etc/passwd", "/%2e%2e/", "/?x"):
        assert ask(server, path).status == (200 if path == "/?x" else 404), path
    assert ask(server, "/", method="POST").status == 501
    assert ask(server, "/", method="HEAD").read() == b""


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1.evil.example:{port}", "127.0.0.1:1", ""])
def test_another_host_is_refused(server: Server, host: str) -> None:
    """A page of another site, whose name is made to mean 127.0.0.1, could read the study in the reader's browser."""
    port = server.server_address[1]
    answer = ask(server, "/", host.format(port=port) or " ")
    assert answer.status == 403
    assert b"the page" not in answer.read()
    assert ask(server, "/events", host.format(port=port) or " ").status == 403
    assert ask(server, "/", f"localhost:{port}").status == 200


def test_readers_are_told_what_is_new_and_whether_their_page_is_old(server: Server) -> None:
    """An open page would show yesterday's findings, or load itself for ever."""
    board = server.board
    board.tell({"summary": {"en": "one"}})
    answer = ask(server, "/events?page=1")
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert event(answer) == ("progress", '{"summary":{"en":"one"}}')
    board.tell({"summary": {"en": "two"}})
    assert event(answer) == ("progress", '{"summary":{"en":"two"}}')
    board.show(b"another", "2")
    assert event(answer) == ("page", "new")
    late = ask(server, "/events?page=1")
    assert event(late)[0] == "progress"
    assert event(late) == ("page", "new")
    board.close()
    assert answer.read() == b""


def test_more_readers_than_threads_are_sent_away(server: Server) -> None:
    server.board.readers = MOST_READERS
    assert ask(server, "/events").status == 503
    server.board.readers = 0


def test_a_taken_port_and_another_host_are_clear_errors(server: Server, tmp_path: Path) -> None:
    with pytest.raises(OnsetError, match="cannot serve"):
        LivePage(tmp_path, port=server.server_address[1])
    with pytest.raises(OnsetError, match="whoever reaches this machine"):
        LivePage(tmp_path, host="0.0.0.0")


def test_losses_are_read_on_and_anew_where_a_training_went_back(tmp_path: Path) -> None:
    """A log of a million lines would be read every second; after a resume, steps would be shown twice."""
    path = tmp_path / "log.jsonl"
    log = LossLog(path)
    log.read()
    assert log.means() == []
    path.write_text('{"step": 1, "tokens": 1000, "loss": 6.0}\n{"notice": "x"}\n{"step": 2, "tokens": 1010, "lo')
    log.read()
    assert log.means() == [(1000.0, 6.0)]
    with open(path, "a") as stream:
        stream.write('ss": 4.0}\n{"step": 3, "tokens": 100000, "loss": 2.0}\n')
    log.read()
    assert log.means() == [(1010.0, 5.0), (100000.0, 2.0)]
    path.write_text('{"step": 1, "tokens": 1000, "loss": 6.0}\n')
    log.read()
    assert log.means() == [(1000.0, 6.0)]


def test_a_folder_tells_how_far_its_runs_are_in_both_languages(study_folder: Path) -> None:
    watch = Watch(study_folder)
    assert watch.ready()
    before, told = watch.fingerprint(), watch.told()
    assert [row["run"] for row in told["runs"]] == ["run0", "run1"]
    assert set(told["runs"][0]["state"]) == {"en", "zh"}
    assert "2 trainings" in told["summary"]["en"]
    assert "2 次训练" in told["summary"]["zh"]
    assert not told["still"]
    next(study_folder.glob("runs/*/items/*/*.parquet")).unlink()
    assert watch.fingerprint() != before
    json.dumps(told, allow_nan=False)


def test_a_folder_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    watch = Watch(tmp_path / "later")
    assert not watch.ready()
    assert watch.told()["runs"] == []
    assert watch.fingerprint() == (0, 0)


def test_what_waits_for_the_first_scores_is_a_page_in_both_languages() -> None:
    html = page.waiting(EVIL, "events?page=x")
    assert EVIL not in html
    assert "<img src=x" not in html
    assert "Waiting for the first scores and losses." in html
    assert "正在等待最初的得分和损失。" in html
    assert 'name="onset-live" content="events?page=x"' in html
    assert "connect-src 'self'" in html


@pytest.mark.slow
def test_a_page_is_made_beside_the_work_and_a_failure_is_told(study_folder: Path, tmp_path: Path) -> None:
    before = sorted(path for path in study_folder.rglob("*"))
    maker = Maker(study_folder, "zh", niceness=0)
    maker.begin("events?page=7")
    assert maker.working
    assert not maker.may_begin(still=True)
    maker._child.wait(300)  # type: ignore[union-attr]
    made = maker.made()
    assert made is not None
    assert made.page is not None, made.problem
    assert b"events?page=7" in made.page
    assert made.page.startswith(b'<!doctype html>\n<html lang="zh">')
    assert sorted(path for path in study_folder.rglob("*")) == before, "a study is looked at, not written to"
    assert not maker.may_begin(still=False), "an analysis is rested from"
    assert maker.may_begin(still=True)
    maker.close()


def test_a_table_that_cannot_be_read_is_told_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    maker = Maker(tmp_path / "table.csv", "en", niceness=0)
    maker.begin("events")
    maker._child.wait(300)  # type: ignore[union-attr]
    made = maker.made()
    assert made is not None
    assert made.page is None
    assert "column" in made.problem
    maker.close()


def test_a_port_without_a_page_and_a_source_that_is_not_there_are_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["run", "tiny", "--out", str(tmp_path), "--port", "8000"])
    assert result.exit_code == 2
    result = CliRunner().invoke(app, ["serve", str(tmp_path / "none")])
    assert isinstance(result.exception, OnsetError)
    result = CliRunner().invoke(app, ["run", "tiny", "--out", "s3://bucket/x", "--serve"])
    assert isinstance(result.exception, OnsetError)


def test_a_process_that_makes_a_page_ends_with_its_parent() -> None:
    """A server that was killed would leave an analysis at work for as long as it takes."""
    inner = "import os, threading, time; from onset.work.live.analysis import _end_with; "
    inner += "threading.Thread(target=_end_with, args=(os.getppid(),)).start(); print(os.getpid(), flush=True)"
    outer = f"import subprocess, sys; c = subprocess.Popen([sys.executable, '-c', {inner!r}], stdout=subprocess.PIPE); "
    outer += "print(c.stdout.readline().decode().strip())"
    told = subprocess.run([sys.executable, "-c", outer], capture_output=True, text=True, check=True)
    child = int(told.stdout)
    until = time.monotonic() + 60
    while Path(f"/proc/{child}").exists() and "zombie" not in Path(f"/proc/{child}/status").read_text():
        assert time.monotonic() < until, "it goes on alone"
        time.sleep(0.1)
