"""What a planned family of runs would tell: simulated tables through the statistics of the real ones."""
