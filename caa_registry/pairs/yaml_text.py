"""YAML that a person wrote: templates and mappings."""

from __future__ import annotations

from functools import cache
from typing import Any

from caa_registry.errors import InputError


def yaml_value(text: str, source: str) -> Any:
    """The value of ``text``; nothing in it is run. ``InputError`` with the line where it is not YAML or repeats a
    key."""
    import yaml

    try:
        return yaml.load(text, _loader())
    except yaml.YAMLError as error:
        raise InputError(
            f"not YAML{_place(error)}", "Quote texts with colons, braces or stars.", source=source
        ) from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InputError(f"not usable YAML: {reason}", "Correct the file.", source=source) from None


def _place(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = str(getattr(error, "problem", "") or "")
    said = f": {problem}" if problem.startswith(_REPEATED) else ""
    return f" at line {mark.line + 1}{said}" if mark else ""


_REPEATED = "the key "


@cache
def _loader() -> Any:
    """PyYAML's safe loader, which lets the last of repeated keys win, made to refuse them."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen = set()
            for key, _ in getattr(node, "value", ()):
                if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                    if (key.tag, key.value) in seen:
                        raise yaml.constructor.ConstructorError(
                            None, None, f"{_REPEATED}{key.value!r} is there twice", key.start_mark
                        )
                    seen.add((key.tag, key.value))
            return super().construct_mapping(node, deep)

    return Loader
