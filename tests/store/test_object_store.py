"""A store that is not a folder: without these, half a checkpoint would count as one, or a path would be a URL."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onset.errors import OnsetError
from onset.store.object_store import ELSEWHERE, WHOLE, Copy, Store, is_url, study_folder, unit_of, units_in, url_of

pytest.importorskip("fsspec", reason="fsspec is not installed")
STEP = "runs/a-1234/steps/00000010"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store that is reached through fsspec alone; its files lie in ``tmp_path / 'store'``."""
    return Store(f"local://{tmp_path / 'store'}")


def checkpoint(folder: Path) -> Path:
    (folder / STEP / "deep").mkdir(parents=True)
    (folder / STEP / "model.safetensors").write_bytes(b"weights")
    (folder / STEP / "deep" / "config.json").write_text("{}")
    return folder


@pytest.mark.parametrize(
    ("out", "url"),
    [
        ("out/demo", None),
        ("/out/demo", None),
        ("file:///out/demo", None),
        ("C", None),
        ("s3://bucket/demo/", "s3://bucket/demo"),
        (Path("gs://bucket/demo"), "gs://bucket/demo"),
        ("local:///out/demo", "local:///out/demo"),
    ],
)
def test_a_store_is_told_from_a_folder(out: str | Path, url: str | None) -> None:
    assert is_url(out) == (url is not None)
    if url is not None:
        assert url_of(out) == url


def test_a_file_url_is_a_folder_and_what_must_be_one_says_so() -> None:
    assert study_folder("file:///out/demo") == study_folder(Path("file:///out/demo")) == Path("/out/demo")
    with pytest.raises(OnsetError, match="cannot be kept in a store"):
        study_folder("s3://bucket/demo")


def test_what_appears_whole_is_told_by_its_name() -> None:
    assert unit_of(f"{STEP}/model.safetensors") == unit_of(STEP) == STEP
    assert unit_of("text/shard-en-12/tokens.bin") == "text/shard-en-12"
    for name in ("text/floor-12.json", "runs/a-1234/items/00000010/t-1.parquet", "runs/a-1234/run.json"):
        assert unit_of(name) is None


def test_a_folder_goes_there_and_comes_back_as_it_was(store: Store, tmp_path: Path) -> None:
    Copy(store, checkpoint(tmp_path / "here")).send_unit(STEP)
    assert units_in(store.names()) == {STEP}
    there = tmp_path / "there"
    assert Copy(store, there).fetch_unit(STEP)
    assert (there / STEP / "model.safetensors").read_bytes() == b"weights"
    assert (there / STEP / "deep" / "config.json").read_text() == "{}"
    assert not list((there / STEP).parent.glob(".*.part"))


def test_a_folder_without_its_list_is_not_there(store: Store, tmp_path: Path) -> None:
    """Lost: a machine that dies while it sends a checkpoint leaves one that is scored."""
    Copy(store, checkpoint(tmp_path / "here")).send_unit(STEP)
    store.remove([f"{STEP}/{WHOLE}"])
    assert units_in(store.names()) == set()
    assert not Copy(store, tmp_path / "there").fetch_unit(STEP)
    assert not (tmp_path / "there" / STEP).exists()


def test_a_folder_that_was_replaced_is_fetched_anew_and_one_that_was_not_is_left(store: Store, tmp_path: Path) -> None:
    here, there = Copy(store, checkpoint(tmp_path / "here")), Copy(store, tmp_path / "there")
    here.send_unit(STEP)
    there.fetch_unit(STEP)
    kept = (there.folder / STEP / "model.safetensors").stat().st_ino
    there.fetch_unit(STEP)
    assert (there.folder / STEP / "model.safetensors").stat().st_ino == kept
    (here.folder / STEP / "model.safetensors").write_bytes(b"others")
    here.send_unit(STEP)
    there.fetch_unit(STEP)
    assert (there.folder / STEP / "model.safetensors").read_bytes() == b"others"


def test_a_copy_may_know_of_a_folder_only_until_it_needs_it(store: Store, tmp_path: Path) -> None:
    Copy(store, checkpoint(tmp_path / "here")).send_unit(STEP)
    there = Copy(store, tmp_path / "there")
    there.note_unit(STEP)
    assert [path.name for path in (there.folder / STEP).iterdir()] == [ELSEWHERE]
    assert there.fetch_unit(STEP)
    assert not (there.folder / STEP / ELSEWHERE).exists()
    assert (there.folder / STEP / "model.safetensors").exists()


@pytest.mark.parametrize("files", [["../../../../secret"], ["/etc/passwd"], [3], "names"])
def test_a_list_that_names_files_outside_is_refused(store: Store, tmp_path: Path, files: object) -> None:
    """Lost: whoever can write to the store can write anywhere on the machines."""
    store.write(f"{STEP}/{WHOLE}", json.dumps({"id": "x", "files": files} if files != "names" else []).encode())
    with pytest.raises(OnsetError, match="list in the store"):
        Copy(store, tmp_path / "there").fetch_unit(STEP)


def test_what_is_absent_is_absent(store: Store, tmp_path: Path) -> None:
    assert store.names() == {}
    assert store.read("study.toml") is None
    assert not store.fetch("study.toml", tmp_path / "study.toml")
    assert not (tmp_path / "study.toml").exists()
    store.remove(["study.toml"])


def test_a_url_that_no_library_knows_is_told() -> None:
    with pytest.raises(OnsetError, match="no store answers") as caught:
        Store("nowhere://bucket/x").names()
    assert "nowhere://bucket/x" in str(caught.value)


def test_a_store_that_breaks_is_tried_again_and_then_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []

    def breaks(path: str) -> bytes:
        tries.append(path)
        raise ConnectionResetError("connection reset")

    monkeypatch.setattr("onset.store.object_store.RESTS", (0.0, 0.0))
    monkeypatch.setattr(store._at[0], "cat_file", breaks)
    with pytest.raises(OnsetError, match="connection reset"):
        store.read("study.toml")
    assert len(tries) == 3
