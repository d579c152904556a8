"""The made-up analyses that these tests draw."""

from fixtures.analyses import analysis, facts

__all__ = ["analysis", "facts"]
