"""From the activations of contrastive pairs at one layer to a direction, one file per method."""
