"""The folder that a model lies in: whether it is sound, and the identity of what is in it."""
