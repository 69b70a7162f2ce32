"""Checks of what is said of versions, and of what they are found by."""
