"""Markdown files that begin with YAML between two lines of ``---``."""

from __future__ import annotations

from typing import Any

from caa_registry.errors import InputError
from caa_registry.pairs.sources.files import SourceData, decoded
from caa_registry.pairs.yaml_text import loaded


def front_matter(file: SourceData) -> tuple[dict[str, Any], str]:
    """The YAML mapping that the file begins with, and the text below it. ``InputError`` where there is none."""
    import yaml  # type: ignore[import-untyped, unused-ignore]

    head, _, rest = decoded(file).replace("\r\n", "\n").partition("---\n")
    matter, end, text = rest.partition("\n---")
    try:
        values = loaded(matter, file.label) if not head.strip() and end else None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 2})" if mark is not None else ""
        raise InputError(f"its front matter is not YAML{line}", "Correct it.", source=file.label) from error
    if not isinstance(values, dict):
        raise InputError("it has no front matter", "Begin it with YAML between two lines of ---.", source=file.label)
    return values, text.lstrip("\n")
