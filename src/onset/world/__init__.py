"""The embedded bilingual world: its grammar, its corpus and the entropy that no model can beat."""
