"""Datasets of a registry."""
