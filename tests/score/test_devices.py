"""Without these a model that is too large for one GPU would be scored wrongly, or not at all.

No GPU is needed: tensors on the meta device hold no values, and torch refuses to mix them with those of another.
"""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch

from onset.errors import OnsetError
from onset.score import attention as sharing
from onset.score import huggingface

FIRST, SECOND = torch.device("cpu"), torch.device("meta")


def states(length: int, device: torch.device, heads: int = 4) -> torch.Tensor:
    return torch.zeros(1, heads, length, 16, device=device, dtype=torch.bfloat16)


def test_a_plan_made_on_the_first_device_serves_the_layers_of_every_other() -> None:
    rows = [np.array([0, 0, 1, 1, 2], dtype=np.int32), np.array([0, 1, 1], dtype=np.int32)]
    prefix = {layer: (states(6, device, 2), states(6, device, 2)) for layer, device in enumerate((FIRST, SECOND))}
    plan = sharing.plan_of(rows, prefix, FIRST, torch.bfloat16)
    for layer, device in enumerate((FIRST, SECOND)):
        with sharing.use(plan):
            found = sharing.attended(layer, states(8, device), states(8, device, 2), states(8, device, 2), 0.25)
        assert found.device == device


def test_generation_keeps_each_layers_keys_on_its_device() -> None:
    layers = {
        layer: tuple(torch.zeros(3, 2, 9, 16, device=device, dtype=torch.bfloat16) for _ in "kv")
        for layer, device in enumerate((FIRST, SECOND))
    }
    memory = sharing.Memory(layers, torch.zeros(3, dtype=torch.long, device=FIRST), 4)  # type: ignore[arg-type]
    memory.step(torch.bfloat16)
    for layer, device in enumerate((FIRST, SECOND)):
        query, key = (torch.zeros(3, heads, 1, 16, device=device, dtype=torch.bfloat16) for heads in (4, 2))
        with sharing.use(sharing.Plan(memory=memory)):
            assert sharing.attended(layer, query, key, key, 0.25).device == device
    memory.select(torch.zeros(2, dtype=torch.long, device=FIRST))
    assert {keys.device for keys, _ in memory.layers.values()} == {FIRST, SECOND}


def test_a_model_is_spread_by_the_free_memory_of_the_devices_that_it_was_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: ({"cuda:1": 40, "cuda:3": 80}[device], 80))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    told = huggingface.spread(("cuda:1", "cuda:3"))
    assert told == {"device_map": "auto", "max_memory": {1: 30, 3: 60}}


def test_what_spreads_a_model_is_named_where_it_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OnsetError, match="accelerate"):
        huggingface.spread(("cuda:0", "cuda:1"))
