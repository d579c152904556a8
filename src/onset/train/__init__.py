"""Training: trainer, step, loss, checkpoints, schedule, log (needs the [lm] extra)."""
