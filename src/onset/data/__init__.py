"""From text to batches: tokenizer, shards, mixture, held-out text, overlap (needs the [lm] extra)."""
