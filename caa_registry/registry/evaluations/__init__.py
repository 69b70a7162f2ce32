"""Evaluations of a registry."""
