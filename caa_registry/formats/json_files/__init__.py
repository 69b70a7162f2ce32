"""Vector files that are JSON."""
