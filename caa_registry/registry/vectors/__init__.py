"""Steering vectors of a registry."""
