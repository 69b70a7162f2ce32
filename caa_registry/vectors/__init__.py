"""From activations to directions: extraction, estimators, the vector set and its file."""
