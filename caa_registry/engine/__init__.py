"""How forward passes are run."""
