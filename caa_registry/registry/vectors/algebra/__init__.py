"""Vectors made of vectors, and how near vectors are to each other."""
