"""Answers to prompts at several strengths, decoded as the rows of a batch."""
