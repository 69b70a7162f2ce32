"""Calibration in the registry: what is measured, chosen, judged, and set as an alias."""
