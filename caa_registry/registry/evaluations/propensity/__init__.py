"""Evaluations by propensity: how they are asked for, measured, kept on the way, and stored."""
