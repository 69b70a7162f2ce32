"""Plans: stored before anything is measured, run, and looked at: whether what was measured followed them."""
