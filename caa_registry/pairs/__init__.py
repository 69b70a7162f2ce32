"""Contrastive pairs: the record, what its answers are, and the sources it is imported from. Pure data."""
