"""Pictures of evaluations and vectors, readable in black and white, each with its references at its foot."""
