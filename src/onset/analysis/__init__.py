"""From observations to findings: threshold, collapse, predictors, forecast. Runs without torch."""
