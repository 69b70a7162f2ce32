"""Copies of a whole registry: a SQLite file, and the rows of one database into another."""
