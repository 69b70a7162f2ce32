"""What to add to the residual stream, where, and how strongly."""
