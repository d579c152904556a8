"""Without these generation on a GPU would wait for a transfer a row, or keep fewer rows than it has room for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from onset.errors import OnsetError
from onset.score import generate


class Model:
    """Logits that are its states."""

    name = "model"
    device = torch.device("cpu")

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        return states


def test_the_next_tokens_of_all_rows_come_in_one_transfer(monkeypatch: pytest.MonkeyPatch) -> None:
    transfers = []
    real = torch.Tensor.tolist

    def counted(self: torch.Tensor) -> Any:
        transfers.append(self.shape)
        return real(self)

    for name in ("__int__", "__index__", "__bool__", "__float__", "item"):
        monkeypatch.setattr(torch.Tensor, name, lambda self: pytest.fail("a transfer of its own"))
    monkeypatch.setattr(torch.Tensor, "tolist", counted)
    states = torch.zeros(512, 7)
    states[range(512), [row % 7 for row in range(512)]] = 1.0
    found = generate.likeliest(Model(), states)  # type: ignore[arg-type]
    monkeypatch.undo()
    assert found == [row % 7 for row in range(512)]
    assert len(transfers) == 1


def test_logits_that_are_no_numbers_are_an_error() -> None:
    """A broken model would otherwise answer with the first word of the vocabulary."""
    with pytest.raises(OnsetError, match="not finite"):
        generate.likeliest(Model(), torch.full((2, 7), torch.nan))  # type: ignore[arg-type]


def test_rows_under_way_take_a_share_of_a_gpus_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (60 * 10**9, 80 * 10**9))
    on_gpu = SimpleNamespace(device=torch.device("cuda:0"))
    assert generate.cache_room(on_gpu) == 30 * 10**9  # type: ignore[arg-type]
    assert generate.cache_room(Model()) == generate.CPU_BYTES  # type: ignore[arg-type]
