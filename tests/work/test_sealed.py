"""Sealed forecasts. Lost if they fail: a prediction that nobody can change afterwards, and how it came out."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from onset.errors import OnsetError
from onset.results import Forecast, SealedForecast
from onset.stats import sealing
from onset.stats.forecast import forecast
from onset.work import sealed as files


def table(sizes: int = 5) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frames = []
    for number, params in enumerate(1e8 * 3.0 ** np.arange(sizes)):
        tokens = np.geomspace(5e9, 1e11, 8)
        loss = 1.7 + 406 / params**0.34 + 411 / tokens**0.28
        share = 0.25 + 0.75 / (1 + np.exp(4 * (loss - 2.4)))
        frames.append(pd.DataFrame({
            "run": f"r{number}", "params": params, "tokens": tokens, "loss": loss, "task": "a", "metric": "accuracy",
            "score": rng.binomial(2000, share) / 2000, "chance": 0.25, "n_examples": 2000, "loss_name": "web",
            "loss_unit": "nats/token",
        }))  # fmt: skip
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="module")
def made() -> Forecast:
    rows = table()
    known = rows[rows["params"] < rows["params"].max()]
    targets = rows[rows["run"] == "r4"].iloc[[3, 7]][["run", "params", "tokens", "loss"]]
    return forecast(known, targets, thresholds={})


@pytest.fixture
def results(tmp_path: Path) -> Path:
    path = tmp_path / "results.csv"
    table().to_csv(path, index=False)
    return path


def test_a_sealed_forecast_is_scored_against_what_came(made: Forecast, results: Path, tmp_path: Path) -> None:
    digest = files.write(made, "table.csv", tmp_path / "sealed.json")
    opened = files.open_sealed(tmp_path / "sealed.json", results, sha256=digest)
    assert opened.as_sealed
    assert len(opened.scores) == 2
    assert opened.missing == 0
    rows = table()
    np.testing.assert_allclose(opened.scores["seen"], rows[rows["run"] == "r4"]["score"].to_numpy()[[3, 7]])
    np.testing.assert_allclose(opened.scores["predicted"], made.scores["score"], atol=0.005)
    assert float(opened.summary()["crps"].iloc[0]) < 0.03
    assert len(opened.calibration()) == 19
    with pytest.raises(OnsetError, match="not overwritten"):
        files.write(made, "table.csv", tmp_path / "sealed.json")


def test_a_changed_file_is_told(made: Forecast, results: Path, tmp_path: Path) -> None:
    """Lost: the whole use of a seal; a number moved after the fact must show."""
    path = tmp_path / "sealed.json"
    digest = files.write(made, "table.csv", path)
    content = json.loads(path.read_text())
    content["forecast"]["predictions"][0]["quantiles"][10] += 0.01
    path.write_text(json.dumps(content))
    assert not files.open_sealed(path, results).as_sealed
    content["sha256"] = SealedForecast.from_json(content["forecast"]).sha256
    path.write_text(json.dumps(content))
    assert files.open_sealed(path, results).as_sealed, "a file made anew agrees with itself"
    assert not files.open_sealed(path, results, sha256=digest).as_sealed, "but not with the published digest"
    path.write_text("{}")
    with pytest.raises(OnsetError, match="not a sealed forecast"):
        files.open_sealed(path, results)


def test_a_ledger_keeps_forecasts_and_their_outcomes(made: Forecast, results: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    digest = files.write(made, "<table>.csv", tmp_path / "sealed.json", ledger=ledger)
    page = (ledger / files.PAGE).read_text()
    assert digest[:16] in page
    assert "All opened forecasts" not in page
    assert "&lt;table&gt;" in page
    files.open_sealed(tmp_path / "sealed.json", results, ledger=ledger)
    page = (ledger / files.PAGE).read_text()
    assert "All opened forecasts" in page
    assert "CHANGED" not in page
    assert "NOT as sealed" not in page
    assert "<polyline" in page
    with pytest.raises(OnsetError, match="not in the ledger"):
        files.open_sealed(tmp_path / "sealed.json", results, ledger=tmp_path / "another")


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
def test_a_signature_goes_with_the_file(made: Forecast, results: Path, tmp_path: Path) -> None:
    key, path = tmp_path / "key", tmp_path / "sealed.json"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    files.write(made, "table.csv", path, key=key)
    assert files.open_sealed(path, results).signature.startswith("Good")
    path.write_text(path.read_text().replace("table.csv", "tuble.csv"))
    assert not files.open_sealed(path, results).signature.startswith("Good")


def test_the_digest_of_data_does_not_depend_on_order() -> None:
    rows = table()
    assert sealing.digest(rows) == sealing.digest(rows.sample(frac=1, random_state=0)[sorted(rows.columns)])
    moved = rows.assign(score=rows["score"].where(rows.index != 3, 0.123))
    assert sealing.digest(rows) != sealing.digest(moved)


def test_the_crps_of_a_normal_forecast_is_its_closed_form() -> None:
    """Gneiting and Raftery 2007, equation 21: at the mean 0.2337 standard deviations, one away from it 0.6022."""
    from scipy.stats import norm

    levels = np.linspace(0.005, 0.995, 199)
    for seen, truth in ((0.0, 0.2337), (1.0, 0.6022)):
        assert sealing.crps(levels, norm.ppf(levels), seen) == pytest.approx(truth, abs=0.01)
