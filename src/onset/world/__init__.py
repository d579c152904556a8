"""The embedded bilingual world: its grammar, its corpus and the entropy that no model can beat."""

from onset.world.world import Document, World, build

__all__ = ["Document", "World", "build"]
