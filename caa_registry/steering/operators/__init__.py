"""What is done to the residual stream at a steered position, one file per operator."""
