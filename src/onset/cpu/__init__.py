"""Hand-written code for processors (needs the [lm] extra and a C compiler)."""
