"""The door: a wrong word costs one clear line and the right exit code, and machines read what it prints."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from onset import __version__

COLUMNS = "run,params,tokens,loss,task,metric,score,chance,n_examples\n"


def onset(*words: str, where: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from onset.cli import main; main()", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=where, check=False)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Two sizes whose accuracy rises from chance at a loss of 2.5."""
    rows = []
    for params in (10**7, 10**8):
        for step in range(1, 21):
            loss = 4.0 - 0.12 * step
            score = 0.25 + max(0.0, 2.5 - loss) * 0.5
            rows.append(f"r{params},{params},{step}000000,{loss},exam,accuracy,{score:.4f},0.25,1000\n")
    path = tmp_path / "table.csv"
    path.write_text(COLUMNS + "".join(rows))
    return path


def test_an_error_is_one_message_without_a_traceback_and_exits_1(tmp_path: Path) -> None:
    done = onset("run", "demmo", "--out", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("onset: no study file and no preset named 'demmo'")
    assert "did you mean 'demo'" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    "words", [("no-such-command",), ("run", "demo"), ("analyze", "x.csv", "--out", "o", "--levle", "1")]
)
def test_wrong_usage_exits_2(words: tuple[str, ...]) -> None:
    done = onset(*words)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_plan_is_json_that_adds_up() -> None:
    done = onset("plan", "tiny", "--rate", "1e11", "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    for run in plan["runs"]:
        assert run["flops"] > 6 * run["tokens"] * 1000
        assert run["hours"] == pytest.approx(run["flops"] / 1e11 / 3600)


def test_the_catalogue_is_json_and_a_task_writes_what_it_asks(tmp_path: Path) -> None:
    done = onset("tasks", "--json")
    names = {row["task"] for row in json.loads(done.stdout)}
    assert {"mmlu", "hellaswag", "cluewsc", "world_exam_en", "world_exam_zh"} <= names
    done = onset("tasks", "world_scripts_en", "--requests", str(tmp_path / "asked.jsonl"))
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "asked.jsonl").read_text().splitlines()]
    assert set(lines[0]) == {"item", "choice", "gold", "prompt", "continuation"}
    assert sum(line["gold"] for line in lines) == len({line["item"] for line in lines})


def test_a_table_becomes_findings_and_a_page(table: Path, tmp_path: Path) -> None:
    done = onset("analyze", str(table), "--out", str(tmp_path / "out"), "--json")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    written = json.loads((tmp_path / "out" / "findings.json").read_text())
    assert printed == written
    (finding,) = written["findings"]
    assert finding["verdict"] == "emergent"
    assert finding["threshold"]["low"] <= 2.5 <= finding["threshold"]["high"]
    assert "<html" in (tmp_path / "out" / "report.html").read_text()
    assert (tmp_path / "out" / "figures" / "performance_vs_loss.png").stat().st_size > 1000


def test_the_page_is_made_again_from_results(table: Path, tmp_path: Path) -> None:
    """Lost: a page of one's own results without fitting everything again."""
    out = tmp_path / "out"
    assert onset("analyze", str(table), "--out", str(out)).returncode == 0
    page = (out / "report.html").read_bytes()
    findings = (out / "findings.json").read_bytes()
    (out / "report.html").unlink()
    table.unlink()
    done = onset("report", str(out))
    assert done.returncode == 0, done.stderr
    assert (out / "report.html").read_bytes() == page
    assert (out / "findings.json").read_bytes() == findings


def test_a_table_that_contradicts_itself_is_refused_or_set_aside(table: Path, tmp_path: Path) -> None:
    table.write_text(table.read_text() + "r10000000,10000000,30000000,-1.0,exam,accuracy,0.5,0.25,1000\n")
    done = onset("analyze", str(table), "--out", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "line 42" in done.stderr
    assert not (tmp_path / "out" / "findings.json").exists()
    done = onset("analyze", str(table), "--out", str(tmp_path / "out"), "--set-aside")
    assert done.returncode == 0, done.stderr
    assert "line 42" in (tmp_path / "out" / "set_aside.csv").read_text()


def test_a_folder_without_a_study_says_so(tmp_path: Path) -> None:
    done = onset("status", str(tmp_path))
    assert done.returncode == 1
    assert "no study here" in done.stderr


def test_the_version_is_printed() -> None:
    """Lost otherwise: a report of a fault that cannot say of which version."""
    done = onset("--version")
    assert (done.returncode, done.stdout) == (0, f"onset {__version__}\n")


@pytest.mark.parametrize(
    ("package", "words"),
    [("torch", ("loss", "m", "--text", "t.txt", "--out", "o")), ("tokenizers", ("demo", "--out", "o"))],
)
def test_an_extra_that_is_absent_is_one_sentence(package: str, words: tuple[str, ...], tmp_path: Path) -> None:
    """Lost otherwise: a traceback for everybody who installed the part of the package that needs no torch."""
    (tmp_path / "t.txt").write_text("some text\n")
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text("{}")
    code = f"import sys; sys.modules[{package!r}] = None; from onset.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 1
    assert f"needs the package '{package}', which is not installed" in done.stderr
    assert "[lm]" in done.stderr
    assert "Traceback" not in done.stderr


def test_where_torch_is_absent_it_is_what_is_named(tmp_path: Path) -> None:
    """Lost otherwise: a newcomer who installs psutil, and is asked for the next package each time."""
    code = "import sys; sys.modules.update(torch=None, psutil=None); from onset.cli import main; main()"
    words = [sys.executable, "-c", code, "demo", "--out", "o"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "needs the package 'torch', which is not installed" in done.stderr
    assert "[lm]" in done.stderr


def test_a_query_is_written_as_csv(tmp_path: Path) -> None:
    """Lost otherwise: rows that a spreadsheet or another program could read have to be copied from a table."""
    done = onset("query", str(tmp_path), "SELECT 1 AS a, 'x,y' AS b", "--csv")
    assert (done.returncode, done.stdout) == (0, 'a,b\n1,"x,y"\n')


def test_a_plan_finds_a_task_that_is_not_known_and_takes_one_of_ones_own(tmp_path: Path) -> None:
    """Lost otherwise: hours of training before the name of a task is looked up."""
    from onset.study.files import dump, load

    text = dump(load("tiny")).replace('name = "world_exam_en"', 'name = "sums.jsonl"')
    study = tmp_path / "study.toml"
    study.write_text(text)
    done = onset("plan", str(study), "--rate", "1e11", "--json")
    assert (done.returncode, "sums.jsonl" in done.stderr) == (1, True)
    (tmp_path / "sums.jsonl").write_text('{"question": "1 + 1?", "choices": ["2", "3"], "answer": 0}\n')
    assert onset("plan", str(study), "--rate", "1e11", "--json").returncode == 0
    study.write_text(text.replace("sums.jsonl", "world_exm_en"))
    done = onset("plan", str(study), "--rate", "1e11", "--json")
    assert done.returncode == 1
    assert "did you mean 'world_exam_en'" in done.stderr
