"""Others' results to observations: one file per foreign format."""
