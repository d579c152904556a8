"""A study that is over in seconds, on the embedded world."""

from __future__ import annotations

import pytest

from onset.study.files import parse
from onset.study.spec import Study

SMALL = """
name = "small"

[world]
documents = 3000
valid_documents = 40
items = 12

[mixes.main]
sources = [
  { name = "en", path = "world", language = "en", weight = 4 },
  { name = "zh", path = "world", language = "zh", weight = 1 },
]

[tokenizers.main]
vocab = 600

[[validation]]
name = "world"
sources = [
  { name = "en", path = "world", language = "en" },
  { name = "zh", path = "world", language = "zh" },
]

[[tasks]]
name = "world_scripts_en"
[[tasks]]
name = "world_facts_zh"

[[runs]]
name = "w16"
tokens = 24_000
batch = 8
checkpoints = 3
shape = { layers = 1, width = 16, heads = 2, kv_heads = 1, hidden = 32, context = 128 }

[[runs]]
name = "w24"
tokens = 24_000
batch = 8
checkpoints = 3
shape = { layers = 1, width = 24, heads = 2, kv_heads = 1, hidden = 32, context = 128 }
"""


@pytest.fixture
def small() -> Study:
    """Two runs of 23 steps, three checkpoints each, two tasks of twelve items."""
    return parse(SMALL)
