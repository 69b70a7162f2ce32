"""Containers of named tensors: safetensors and NumPy archives."""
