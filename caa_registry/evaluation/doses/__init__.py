"""Doses: how strong a steering is, and what it does at each strength."""
