"""Mixed models of scores at equal loss: a smooth curve, effects of runs and families, tests of equivalence."""
