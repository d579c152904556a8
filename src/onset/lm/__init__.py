"""Language models: tokenizer, shards, model, trainer, scorer, hub and held-out loss (needs the [lm] extra)."""
