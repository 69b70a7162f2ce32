"""Reports and pictures of what a registry holds."""
