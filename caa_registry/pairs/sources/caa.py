"""The CAA repository's JSON: ``question``, ``answer_matching_behavior``, ``answer_not_matching_behavior``."""

from __future__ import annotations

from dataclasses import replace

from caa_registry.pairs.sources.anthropic import ANTHROPIC

CAA = replace(ANTHROPIC, name="caa")
"""The files were cleaned before they were published. One that was not gives the same pairs as in another container."""
