"""Evaluations beside each other: two on the same questions, and vectors on each other's questions."""
