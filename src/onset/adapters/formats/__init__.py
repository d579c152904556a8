"""Formats of others' results, one file each; ``onset.adapters.registry`` lists them."""
