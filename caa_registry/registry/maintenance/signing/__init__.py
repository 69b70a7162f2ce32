"""Signatures: keys, signed statements, and whom to trust."""
