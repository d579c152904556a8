"""A study that loads wrongly would train the wrong models: what is written is what is meant, or it is an error."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from onset.errors import OnsetError
from onset.study.files import dump, load, parse
from onset.study.spec import Schedule

STUDY = """
name = "small"

[world]
documents = 100

[mixes.main]
sources = [{ name = "en", path = "world", language = "en" }]

[tokenizers.main]
vocab = 300

[[validation]]
name = "held-out"
sources = [{ name = "en", path = "world", language = "en" }]

[[runs]]
name = "w32"
tokens = 10_000
batch = 4
shape = { layers = 2, width = 32, heads = 2, kv_heads = 1, hidden = 64, context = 64 }
"""


def test_a_study_survives_being_written_and_read() -> None:
    study = parse(STUDY)
    assert parse(dump(study)) == study


@pytest.mark.parametrize(
    ("old", "new", "what", "advice"),
    [
        ("kv_heads = 1", "kv_head = 1", "unknown key 'runs.0.shape.kv_head'", "did you mean 'kv_heads'"),
        ("[world]", "[wrld]", "unknown key 'wrld'", "did you mean 'world'"),
        ("vocab = 300", 'vocab = "many"', "tokenizers.main.vocab", "mend"),
        ("vocab = 300", "", "give either vocab", "mend"),
        ("tokens = 10_000", "tokens = 100", "less than one batch of 4 x 64 = 256", "mend"),
        ("width = 32", "width = 33", "width 33 is not a multiple of heads 2", "mend"),
        ("kv_heads = 1", "kv_heads = 3", "heads 2 is not a multiple of kv_heads 3", "mend"),
        ("width = 32", "width = 12", "multiple of 4", "mend"),
        ('language = "en"', 'language = "fr"', "'en' or 'zh'", "mend"),
        ('name = "w32"', 'name = "../w32"', "use letters", "mend"),
        ("batch = 4", "batch = 4\nmix = 'other'", "names mix 'other'", "mend"),
        ("[world]\ndocuments = 100", "", "has no [world] section", "mend"),
        ('name = "small"', "", "key 'name' is missing", "docs/studies.md"),
    ],
)
def test_a_wrong_study_is_one_clear_error(old: str, new: str, what: str, advice: str) -> None:
    assert old in STUDY
    with pytest.raises(OnsetError) as caught:
        parse(STUDY.replace(old, new, 1))
    assert what in caught.value.what
    assert advice in str(caught.value)


def test_text_that_is_not_toml_says_the_line() -> None:
    with pytest.raises(OnsetError, match=r"not valid TOML.*line"):
        parse("name = 'a'\nrubbish\n")


def test_a_misspelled_preset_or_file_is_met_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(OnsetError, match="no study file and no preset") as caught:
        load("demmo")
    assert "did you mean 'demo'" in str(caught.value)
    (tmp_path / "study.toml").write_text(STUDY)
    with pytest.raises(OnsetError, match="no such study file") as caught:
        load(tmp_path / "studdy.toml")
    assert "study.toml" in str(caught.value)


def test_a_missing_source_is_found_before_anything_runs(tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text(STUDY.replace('path = "world"', 'path = "absent.txt"', 1))
    with pytest.raises(OnsetError, match="does not exist") as caught:
        load(file)
    assert "absent.txt" in str(caught.value)


def test_an_unset_variable_in_a_path_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONSET_NOT_SET", raising=False)
    file = tmp_path / "study.toml"
    file.write_text(STUDY.replace('path = "world"', 'path = "$ONSET_NOT_SET/a.txt"', 1))
    with pytest.raises(OnsetError, match="environment variable that is not set"):
        load(file)


def test_a_digest_follows_contents_and_not_places(tmp_path: Path) -> None:
    """Moving data must not retrain a family; changing one byte of it must."""

    def digest(folder: Path, text: str) -> str:
        folder.mkdir()
        (folder / "a.txt").write_text(text)
        (folder / "study.toml").write_text(STUDY.replace('path = "world"', 'path = "a.txt"', 1))
        study = load(folder / "study.toml")
        return study.digest(study.runs[0])

    first = digest(tmp_path / "one", "some text")
    assert digest(tmp_path / "two", "some text") == first
    assert digest(tmp_path / "three", "some texT") != first


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("tokens = 10_000", "tokens = 20_000"),
        ("width = 32", "width = 64"),
        ("documents = 100", "documents = 101"),
        ("vocab = 300", "vocab = 301"),
        ("batch = 4", "batch = 4\nseed = 1"),
        ("batch = 4", "batch = 4\nschedule = { kind = 'wsd' }"),
    ],
)
def test_the_digest_of_a_run_changes_with_all_that_changes_its_result(old: str, new: str) -> None:
    before, after = parse(STUDY), parse(STUDY.replace(old, new, 1))
    assert before.digest(before.runs[0]) != after.digest(after.runs[0])
    assert before.digest() != after.digest()


def test_a_run_keeps_its_digest_when_only_the_questions_change() -> None:
    """More questions must not train the models again."""
    before = parse(STUDY)
    after = parse(STUDY.replace("documents = 100", "documents = 100\nitems = 7") + '[[tasks]]\nname = "hellaswag"\n')
    assert before.digest(before.runs[0]) == after.digest(after.runs[0])
    assert before.digest() != after.digest()


def test_a_folder_of_a_presets_name_does_not_hide_the_preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load("tiny").name == "tiny"


@pytest.mark.parametrize(("field", "value"), [("peak_rate", "inf"), ("peak_rate", "nan")])
def test_an_infinite_rate_is_refused(field: str, value: str) -> None:
    """A rate without end would be found after the data have been made ready."""
    with pytest.raises(ValidationError, match="finite"):
        Schedule.model_validate({field: float(value)})
