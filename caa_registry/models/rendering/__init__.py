"""From texts to token ids: templates, and the places in a rendered text that matter."""
