"""Scoring: requests with shared prefixes, log-probabilities, generation, held-out loss (needs the [lm] extra)."""
