"""GGUF control vectors: the container, what their keys mean, and how they are written."""
