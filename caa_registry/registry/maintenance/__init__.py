"""Looking after a whole registry: checking it, copying it, getting it back."""
