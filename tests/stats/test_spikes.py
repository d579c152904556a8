"""Loss spikes. Lost if they fail: the one experiment in a training log that tells loss from tokens."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from onset.results import Analysis
from onset.stats.pipeline import analyze
from onset.stats.spikes import find_spikes, spike_effects

SHARED = os.environ.get("ONSET_SHARED")


def table(follows: str, seed: int = 0) -> pd.DataFrame:
    """Eight tasks of one run with a spike at its twentieth checkpoint; scores follow its loss or its tokens."""
    rng = np.random.default_rng(seed)
    tokens = np.geomspace(5e9, 3e11, 40)
    calm = 2.0 + 1.4 * (tokens / 5e9) ** -0.3
    loss = calm + 0.01 * rng.standard_normal(40)
    loss[20] += 0.45
    frames = []
    for task in range(8):
        at = loss if follows == "loss" else calm
        share = 0.25 + (0.2 + 0.05 * task) * (3.5 - at)
        score = rng.binomial(2000, np.clip(share, 0, 1)) / 2000
        frames.append(pd.DataFrame({"run": "a", "tokens": tokens, "loss": loss, "score": score, "task": f"t{task}"}))
    return pd.concat(frames, ignore_index=True).assign(metric="accuracy", chance=0.25, n_examples=2000, params=1e9)


@pytest.mark.parametrize("follows", ["loss", "tokens"])
def test_a_spike_is_found_and_says_what_scores_follow(follows: str) -> None:
    (found,) = spike_effects(table(follows))
    assert found.verdict == follows, found.why
    assert found.ratio == pytest.approx(1.0 if follows == "loss" else 0.0, abs=0.15)
    assert found.tasks is not None
    assert len(found.tasks) == 8


def test_an_analysis_tells_of_spikes_and_keeps_them() -> None:
    """Lost: the natural experiment of a table that is analysed as a whole, and of findings.json."""
    made = table("loss")
    found = analyze(made[made["task"].isin(["t1", "t4", "t7"])])
    (spike,) = found.spikes
    assert spike.verdict == "loss"
    assert spike.why in found.notes
    assert Analysis.from_json(found.to_json()).spikes == found.spikes
    assert list(found.to_frame("spikes")["verdict"]) == ["loss"]


def test_other_metrics_of_the_same_items_are_no_further_evidence() -> None:
    made = table("loss")
    (one,) = spike_effects(made)
    (both,) = spike_effects(pd.concat([made, made.assign(metric="correct_choice_prob")]))
    assert both.n_tasks == one.n_tasks
    assert (both.low, both.high) == (one.low, one.high)


def test_a_loss_that_falls_or_wobbles_is_no_spike() -> None:
    calm = table("loss")
    calm.loc[calm["tokens"] == calm["tokens"].unique()[20], "loss"] -= 0.45
    assert find_spikes(calm) == ()
    assert spike_effects(calm) == ()
    steep = pd.DataFrame({"run": "a", "tokens": np.geomspace(1e8, 1e11, 12)})
    assert find_spikes(steep.assign(loss=1.5 + 6 * (steep["tokens"] / 1e8) ** -0.4)) == ()


def test_too_few_tasks_are_said() -> None:
    one = table("loss")
    (found,) = spike_effects(one[one["task"] == "t3"])
    assert found.verdict == "inconclusive"
    assert "only 1 task is" in found.why


@pytest.mark.skipif(SHARED is None, reason="ONSET_SHARED does not name the shared data")
def test_scores_do_not_follow_the_tokens_at_published_spikes() -> None:
    """LAMBADA's perplexity is the loss: steps 19,500 and 42,000 are spikes."""
    path = Path(str(SHARED)) / "data/atlas/bigscience/tr3d-1B3-oscar-checkpoints_agg.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    loss = np.log(content["results"]["lambada"]["ppl"])
    chance = {"piqa": 0.5, "hellaswag": 0.25, "arc_easy": 0.25, "sciq": 0.25, "winogrande": 0.5, "copa": 0.5,
              "triviaqa": 0.0, "webqs": 0.0}  # fmt: skip
    frames = [
        pd.DataFrame(
            {"run": "tr3d", "tokens": content["tokens"], "loss": loss, "task": task, "metric": "acc",
             "score": content["results"][task]["acc"], "stderr": content["results"][task]["acc_stderr"],
             "chance": chance[task]}
        )
        for task in chance if "acc" in content["results"][task]
    ]  # fmt: skip
    found = spike_effects(pd.concat(frames, ignore_index=True))
    assert [one.tokens for one in found] == [10044178432, 33637138432]
    # At the first, a perplexity of 1,200, scores fall half as far as the curve goes on; no other checkpoint of the run
    # has a loss above 3.6, so that the curve says nothing of 7.1.
    assert found[0].verdict == "not_tokens", found[0].why
    assert found[0].low is not None
    assert found[0].low > 0
    assert found[1].verdict == "loss", found[1].why
