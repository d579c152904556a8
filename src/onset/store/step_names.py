"""How trainers and hubs name checkpoints: ``step1000``, ``checkpoint-1000``, ``iter_0001000``, ``step1-tokens4B``."""

from __future__ import annotations

import re

STEP = re.compile(
    r"(?:^|[-_@./])(?:global[-_]?)?(?:step|checkpoint|ckpt|iter)s?[-_=]?(\d+)"
    r"(?:[-_]tokens(\d+(?:\.\d+)?)([MBT]))?(?P<rest>(?:[-_]seed[-_][A-Za-z0-9-]+)?)(?:[-_](?:hf|unsharded))?$",
    re.IGNORECASE,
)
"""A name, or the end of one, that gives a checkpoint's step, its tokens where it says them, and a seed that follows."""
