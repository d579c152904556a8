"""What a curve says of a lower loss: models of the predicted score and their errors."""
