"""The mathematics: from observations to findings. Runs without torch."""
