"""Tables of observations: schema, files, validation, losses, a study's folder as a table."""
