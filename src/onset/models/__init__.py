"""Models that can be trained: the paper's decoder (needs the [lm] extra)."""
