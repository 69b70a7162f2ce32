"""What is done to the residual stream, at which positions, and how strongly."""
