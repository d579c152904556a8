"""Files of sealed forecasts: written and checked by their digest, signed by the user's key, kept as a track record.

A digest shows that a file was changed only to whoever has the digest from elsewhere: publish it when sealing, and give
it when opening, or sign the file with an SSH key (``ssh-keygen -Y``).
"""

from __future__ import annotations

import json
import shutil
import subprocess
from html import escape
from pathlib import Path

import pandas as pd

from onset import reading
from onset.errors import OnsetError
from onset.results import Forecast, OpenedForecast, SealedForecast
from onset.results.sealed import calibration
from onset.stats import sealing
from onset.store.parts import write_text
from onset.tables.observations import read

NAMESPACE = "onset-forecast"
"""What the signature says that it signs."""
PAGE = "track_record.html"


def write(forecast: Forecast, source: str, path: Path, *, key: Path | None = None, ledger: Path | None = None) -> str:
    """Seal a forecast into ``path`` and return its SHA-256; a file that exists is never overwritten.

    ``key`` signs the file (``path`` with .sig added). ``ledger`` is a folder that keeps a copy.
    """
    if path.exists():
        raise OnsetError("a sealed forecast is not overwritten", where=path, advice="give another file")
    sealed = sealing.seal(forecast, source)
    write_text(path, _text(sealed))
    if key is not None:
        _sign(path, key)
    if ledger is not None:
        kept = ledger / f"{sealed.created[:10]}-{sealed.sha256[:12]}.json"
        write_text(kept, _text(sealed))
        if key is not None:
            shutil.copyfile(_signature(path), _signature(kept))
        track_record(ledger)
    return sealed.sha256


def open_sealed(
    path: Path, results: Path, *, loss: str | None = None, sha256: str | None = None, ledger: Path | None = None
) -> OpenedForecast:
    """Score a sealed forecast against results (a table or a study's folder).

    ``sha256`` is the digest that was published; without it the file can only agree with itself. With ``ledger`` the
    outcome is kept beside the forecast there, and the track record is made again.
    """
    sealed, stated = _load(path)
    as_sealed = sealed.sha256 == stated == (sha256 or stated).lower()
    opened = sealing.score(sealed, read(results, loss), as_sealed=as_sealed, signature=_verified(path))
    if ledger is not None:
        kept = [one for one in _forecasts(ledger) if _load(one)[0].sha256 == sealed.sha256]
        if not kept:
            raise OnsetError("this forecast is not in the ledger", where=ledger, advice="seal it with --ledger first")
        write_text(kept[0].with_suffix(".outcome.json"), json.dumps(opened.to_json(), ensure_ascii=False, indent=1))
        track_record(ledger)
    return opened


def track_record(ledger: Path) -> Path:
    """The page of a folder of sealed forecasts: each with its outcome, and all opened ones together."""
    rows, outcomes = [], []
    for path in _forecasts(ledger):
        sealed, stated = _load(path)
        outcome = path.with_suffix(".outcome.json")
        row = {
            "sealed": sealed.created, "learnt from": sealed.source, "predictions": len(sealed.predictions),
            "sha256": stated[:16], "file": "whole" if sealed.sha256 == stated else "CHANGED",
        }  # fmt: skip
        if outcome.is_file():
            opened = OpenedForecast.from_json(reading.text(outcome))
            outcomes.append(opened.scores)
            row |= _figures(opened.scores) | {"opened": "as sealed" if opened.as_sealed else "NOT as sealed"}
        rows.append(row)
    page = ledger / PAGE
    write_text(page, _html(pd.DataFrame(rows), outcomes))
    return page


def _figures(scores: pd.DataFrame) -> dict[str, object]:
    within = {
        name: ((scores[f"low_{name}"] <= scores["seen"]) & (scores["seen"] <= scores[f"high_{name}"])).mean()
        for name in ("80", "95")
    }
    return {
        "scored": len(scores), "mean error": f"{scores['error'].abs().mean():.4f}",
        "median error": f"{scores['error'].abs().median():.4f}", "within 80 %": f"{within['80']:.0%}",
        "within 95 %": f"{within['95']:.0%}", "CRPS": f"{scores['crps'].mean():.4f}",
    }  # fmt: skip


def _html(rows: pd.DataFrame, outcomes: list[pd.DataFrame]) -> str:
    every = pd.concat(outcomes) if outcomes else pd.DataFrame()
    together = pd.DataFrame([_figures(every)]) if outcomes else pd.DataFrame()
    tables = "".join(
        f"<h2>{title}</h2>{frame.fillna('').to_html(index=False, border=0)}"
        for title, frame in (("All opened forecasts", together), ("Forecasts", rows)) if not frame.empty
    )  # fmt: skip
    style = "body{font:15px system-ui;margin:2rem;max-width:80rem}td,th{padding:.3rem .8rem;text-align:left}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape("Track record of forecasts")}</title>'
        f"<style>{style}</style><h1>Track record of forecasts</h1>{tables}{_calibration(every)}</html>\n"
    )


def _calibration(scores: pd.DataFrame) -> str:
    """The share of scores below each quantile of their forecasts, as a curve beside the diagonal."""
    if scores.empty:
        return ""
    curve = calibration(scores)
    line = " ".join(f"{20 + 240 * a:.1f},{260 - 240 * b:.1f}" for a, b in curve[["stated", "observed"]].to_numpy())
    return (
        "<h2>Calibration</h2><p>Across: the probability that the forecasts gave to scores below a value. Up: the share "
        f"of {len(scores)} scores that were. On the diagonal both agree.</p>"
        '<svg width="300" height="290" role="img" aria-label="Stated probability against observed share">'
        '<rect x="20" y="20" width="240" height="240" fill="none" stroke="#9aa3b0"/>'
        '<line x1="20" y1="260" x2="260" y2="20" stroke="#9aa3b0" stroke-dasharray="4 4"/>'
        f'<polyline points="{line}" fill="none" stroke="#2f6f8f" stroke-width="2"/>'
        '<text x="20" y="278" font-size="12">0</text><text x="236" y="278" font-size="12">100 %</text></svg>'
    )


def _forecasts(ledger: Path) -> list[Path]:
    return [path for path in sorted(ledger.glob("*.json")) if not path.name.endswith(".outcome.json")]


def _text(sealed: SealedForecast) -> str:
    return f'{{"forecast":{sealed.canonical()},"sha256":"{sealed.sha256}"}}\n'


def _load(path: Path) -> tuple[SealedForecast, str]:
    """The forecast of a file, and the digest that the file names."""
    try:
        content = reading.json_object(path)
        forecast, stated = content["forecast"], str(content["sha256"])
    except KeyError as error:
        raise OnsetError(
            "this is not a sealed forecast", where=path, advice="give a file that 'onset forecast --seal' wrote"
        ) from error
    return SealedForecast.from_json(forecast), stated


def _signature(path: Path) -> Path:
    return path.with_name(path.name + ".sig")


def _sign(path: Path, key: Path) -> None:
    done = _ssh_keygen(["-Y", "sign", "-f", str(key), "-n", NAMESPACE, str(path)])
    if done.returncode:
        raise OnsetError(f"the forecast was not signed: {done.stderr.strip()}", where=key, advice="give an SSH key")


def _verified(path: Path) -> str:
    """What ssh-keygen says of the signature beside the file; empty where there is none."""
    if not _signature(path).is_file():
        return ""
    command = ["-Y", "check-novalidate", "-n", NAMESPACE, "-s", str(_signature(path))]
    done = _ssh_keygen(command, path.read_bytes())
    return (done.stdout or done.stderr).strip().splitlines()[0] if done.stdout or done.stderr else "no answer"


def _ssh_keygen(arguments: list[str], given: bytes | None = None) -> subprocess.CompletedProcess[str]:
    program = shutil.which("ssh-keygen")
    if program is None:
        raise OnsetError("signing needs ssh-keygen, which is not there", advice="install OpenSSH, or leave out --key")
    text = None if given is None else given.decode("utf-8")
    return subprocess.run([program, *arguments], input=text, capture_output=True, text=True, check=False)
