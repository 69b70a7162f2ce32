"""What ``caa doctor`` reports: the machine, and what a model would take on it."""
