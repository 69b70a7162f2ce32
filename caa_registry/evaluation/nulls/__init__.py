"""Vectors that mean nothing, and how rare what a vector does is among what they do."""
