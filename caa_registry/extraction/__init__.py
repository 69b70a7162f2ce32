"""From activations to directions."""
