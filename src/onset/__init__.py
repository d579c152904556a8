"""onset tells when the abilities of a language model set in as its pre-training loss falls."""

__version__ = "0.1.0"
