"""What a piece of work does: train, evaluate, measure losses."""
