"""Metrics: pure functions of item rows, and what is known of each by its name (direction, range, chance)."""
