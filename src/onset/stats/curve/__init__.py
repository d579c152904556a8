"""The model of one curve, score as a function of loss: shapes, priors, likelihood, estimands, rule of the verdict."""
