"""Loss axes side by side: the axis that makes one curve is found, and a tie keeps the default."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from onset.stats import loss_comparison as axes
from onset.stats import loss_scores as contest
from onset.stats.mixed.family_offsets import leaving
from onset.tables.observations import check, read

TRUE = ("shared", "bits/byte")
OWN = ("own", "nats/token")


def planted(shift: float, off: dict[int, float] | None = None, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Six families of two runs whose scores follow ``shared``; ``own`` is that loss moved by a number a family.

    ``off`` moves the scores of families by number.
    """
    draw = np.random.default_rng(seed)
    scores, held_out = [], []
    for family in range(6):
        moved = shift * (family - 2.5)
        for run in range(2):
            for place in range(10):
                loss = 3.0 - 1.2 * place / 10 - 0.1 * run + draw.normal(0, 0.002)
                tokens = 10**9 * (place + 1)
                name = f"f{family}r{run}"
                for axis, value in ((TRUE, loss), (OWN, loss + moved)):
                    held_out.append((name, tokens, *axis, value))
                for task in ("a", "b"):
                    right = 0.25 + 0.6 / (1 + np.exp((loss - 2.2) / 0.15)) + (off or {}).get(family, 0.0)
                    scores.append((f"f{family}", name, 10**7 * 4**run, tokens, *OWN, loss + moved, task, "acc",
                                   draw.binomial(1000, right) / 1000, 0.25, 1000))  # fmt: skip
    columns = [
        "family",
        "run",
        "params",
        "tokens",
        "loss_name",
        "loss_unit",
        "loss",
        "task",
        "metric",
        "score",
        "chance",
        "n_examples",
    ]
    losses = pd.DataFrame(held_out, columns=["run", "tokens", "loss_name", "loss_unit", "loss"]).assign(step=np.nan)
    return check(pd.DataFrame(scores, columns=columns)), losses


def test_the_axis_on_which_families_agree_is_found_with_an_interval() -> None:
    """Lost otherwise: nats of different tokenizers, taken for one axis."""
    made = axes.judge(*planted(0.2))
    assert made is not None
    assert made.best == made.chosen == TRUE
    gap = made.gaps[OWN]
    assert gap is not None
    assert 0 < gap.low < gap.value < gap.high
    assert gap.sample == "families"
    assert made.found[TRUE].error_points < made.found[OWN].error_points
    assert "predicts a held-out family best" in made.sentence
    assert "own (nats/token), has" in made.sentence
    assert "predict worse than the best" in made.sentence
    assert set(made.found[TRUE].by_task) == {"a", "b"}
    assert np.mean(list(made.found[TRUE].by_task.values())) == pytest.approx(made.found[TRUE].r2)


def test_axes_that_cannot_be_told_apart_keep_the_default_and_say_so() -> None:
    """Lost otherwise: an axis chosen by noise."""
    made = axes.judge(*planted(0.0005, seed=3))
    assert made is not None
    assert made.chosen == OWN
    assert set(made.alike) == {TRUE, OWN}
    assert "It is the default." in made.sentence or "the default is kept" in made.sentence


def test_few_families_are_judged_by_their_runs_and_said_to_be() -> None:
    """Lost otherwise: a sentence on all families, from two."""
    obs, losses = planted(0.2)
    made = axes.judge(obs[obs.family.isin(["f0", "f5"])], losses)
    assert made is not None
    gap = made.gaps[next(axis for axis in made.found if axis != made.best)]
    assert gap is not None
    assert gap.sample == "runs"
    assert "these very families" in made.sentence


def test_a_family_off_the_curve_is_named_with_its_points() -> None:
    """Lost otherwise: which models a loss says nothing about."""
    obs, losses = planted(0.2, off={4: -0.06})
    made = axes.judge(obs, losses)
    assert made is not None
    found = {entry.family: entry for entry in leaving(made.placed, TRUE, 0.95)}
    assert [name for name, entry in found.items() if entry.off_curve] == ["f4"]
    assert found["f4"].low < -6 < found["f4"].high < 0


def test_scores_without_an_ability_and_losses_in_disguise_do_not_vote() -> None:
    """Lost otherwise: an axis chosen by the noise of tasks at chance, or by a metric that is itself a loss."""
    obs, _ = planted(0.1)
    draw = np.random.default_rng(1)
    guess = obs[obs.task == "a"].assign(task="guess", score=draw.binomial(1000, 0.25, (obs.task == "a").sum()) / 1000)
    bits = obs[obs.task == "a"].assign(metric="gold_bits_per_byte", direction="lower", chance=np.nan)
    assert contest.worth(pd.concat([obs, guess, bits])) == [("a", "acc"), ("b", "acc")]


def test_an_axis_that_few_checkpoints_have_is_left_out() -> None:
    """Lost otherwise: axes compared on different checkpoints."""
    obs, losses = planted(0.2)
    part = losses[losses.loss_name == "shared"].head(30).assign(loss_name="part")
    made = axes.judge(obs, pd.concat([losses, part]))
    assert made is not None
    assert made.left == ("part (bits/byte)",)


def test_auto_goes_from_a_table_to_findings_on_the_best_axis(tmp_path: Path) -> None:
    """Lost otherwise: ``onset analyze --loss auto``."""
    obs, losses = planted(0.2)
    path = tmp_path / "made.csv"
    obs.to_csv(path, index=False)
    losses.to_csv(tmp_path / "made.losses.csv", index=False)
    assert axes.choose(read(path), path) == "shared:bits/byte"
    assert read(path, "shared:bits/byte").loss_name.unique().tolist() == ["shared"]


def test_on_published_results_the_shared_text_beats_the_models_own_loss(shared_data: Path) -> None:
    """Gadre et al. 2024: over corpora the models' own losses (openlm) break the link, a shared text mends it."""
    path = shared_data / "results" / "gadre2024.csv.gz"
    losses = axes.all_losses(path)
    assert losses is not None
    made = axes.judge(read(path), losses)
    assert made is not None
    gap = made.gaps["openlm", "nats/token"]
    assert gap is not None
    assert gap.low > 0
    assert "openlm" not in made.chosen[0]


@pytest.fixture
def shared_data() -> Path:
    import os

    folder = os.environ.get("ONSET_SHARED")
    if folder is None or not (Path(folder) / "data" / "results").is_dir():
        pytest.skip("ONSET_SHARED does not name the folder with data/results")
    return Path(folder) / "data"


def test_auto_chooses_among_the_losses_inside_one_table(tmp_path: Path) -> None:
    """Lost otherwise: ``--loss auto`` on a table that names several losses compares none of them."""
    obs, losses = planted(0.2)
    keys = ["run", "tokens"]
    shared = obs.drop(columns=["loss", "loss_name", "loss_unit"], errors="ignore").merge(
        losses[losses.loss_name == "shared"][[*keys, "loss_name", "loss_unit", "loss"]], on=keys
    )
    both = pd.concat([obs, shared], ignore_index=True)
    both.to_csv(tmp_path / "made.csv", index=False)
    assert axes.choose(read(tmp_path / "made.csv"), tmp_path / "made.csv") == "shared:bits/byte"


def test_gaps_in_one_loss_do_not_keep_auto_from_the_others(tmp_path: Path) -> None:
    """Lost otherwise: one empty cell in a loss that nobody asked for ends the comparison of all."""
    obs, losses = planted(0.2)
    gappy = losses[losses.loss_name == "shared"].assign(loss_name="gappy").reset_index(drop=True)
    gappy.loc[::3, "loss"] = np.nan
    obs.to_csv(tmp_path / "made.csv", index=False)
    pd.concat([losses, gappy]).to_csv(tmp_path / "made.losses.csv", index=False)
    assert axes.choose(read(tmp_path / "made.csv"), tmp_path / "made.csv") == "shared:bits/byte"
