"""The CAA repository's JSON: ``question``, ``answer_matching_behavior``, ``answer_not_matching_behavior``."""

from __future__ import annotations

from caa_registry.pairs.sources.cleaning import Cleaning

CAA = Cleaning("caa", prompt=str.strip, answer=str.strip)
"""Texts as they are, without the white space around them: the files were cleaned before they were published."""
