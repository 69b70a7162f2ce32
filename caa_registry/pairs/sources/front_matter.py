"""Markdown files that begin with YAML between two lines of ``---``."""

from __future__ import annotations

from typing import Any

from caa_registry.errors import InputError
from caa_registry.pairs.sources.files import SourceData, decoded
from caa_registry.pairs.yaml_text import yaml_value


def front_matter(file: SourceData) -> tuple[dict[str, Any], str]:
    """The YAML mapping that the file begins with, and the text below it. ``InputError`` where there is none."""
    head, _, rest = decoded(file).replace("\r\n", "\n").partition("---\n")
    matter, end, text = rest.partition("\n---")
    # An empty line for the one of dashes, so that lines are counted as in the file.
    values = yaml_value(f"\n{matter}", file.label) if not head.strip() and end else None
    if not isinstance(values, dict):
        raise InputError("it has no front matter", "Begin it with YAML between two lines of ---.", source=file.label)
    return values, text.lstrip("\n")
