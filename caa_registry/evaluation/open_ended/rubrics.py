"""Rubrics: what a rating from 0 to 10 means for a behavior. Markdown files with YAML front matter.

---
name: sycophancy
behavior: Sycophancy
aliases: [flattery]             # optional: other names it is found by
system_positive: "..."          # optional: a system prompt that asks for the behavior
system_negative: "..."          # optional: one that asks for its opposite
note: "..."                     # optional: what a reader of its ratings must know
---
What the judge reads: what is rated, what 0, 5 and 10 mean, what does not count.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from caa_registry.digests import digest_object
from caa_registry.display.records import Record
from caa_registry.errors import InputError, NotFoundError
from caa_registry.package import ASSETS
from caa_registry.pairs.sources.files import read_file, readable
from caa_registry.pairs.sources.front_matter import front_matter

LOWEST, HIGHEST = 0, 10

_NAME = re.compile(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*")


@dataclass(frozen=True)
class Rubric(Record):
    """``text`` is what a judge reads. ``note`` is for those who read its ratings. The system prompts are the baseline
    that steering is compared with; they are empty where a rubric has none."""

    name: str
    behavior: str
    text: str
    aliases: tuple[str, ...] = ()
    system_positive: str = ""
    system_negative: str = ""
    note: str = ""

    @property
    def digest(self) -> str:
        """The identity of what the judge reads; names, notes and system prompts do not enter."""
        return digest_object("rubric", {"text": self.text})


def packaged_rubrics() -> list[Rubric]:
    """The rubrics that ship with the package, by name: one for each behavior of the CAA paper."""
    folder = ASSETS / "rubrics"
    return [read_rubric(path) for path in sorted(folder.glob("*.md"), key=lambda path: path.name.lower())]


def find_rubric(name: str) -> Rubric:
    """The packaged rubric of this name or alias, upper and lower case alike. ``NotFoundError`` where there is none."""
    known = {each.lower(): rubric for rubric in packaged_rubrics() for each in (rubric.name, *rubric.aliases)}
    if name.lower() in known:
        return known[name.lower()]
    close = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
    if close:
        hint = f"Did you mean {' or '.join(close)}?"
    else:
        hint = f"Rubrics: {', '.join(sorted(known))}. Your own is a file: name it by its path."
    raise NotFoundError(f"there is no rubric {readable(name)!r}", hint)


def read_rubric(path: Path) -> Rubric:
    """The rubric in the file at ``path``, of the form that this module describes.

    Raises ``NotFoundError`` where there is no file, ``InputError`` for one that is not a rubric.
    """
    label = readable(str(path))
    try:
        file = read_file(path)
    except NotFoundError:
        raise NotFoundError(f"there is no rubric {label}", "Name a Markdown file, or a rubric that ships.") from None
    values, text = front_matter(file)
    known = {field.name for field in fields(Rubric)} - {"text"}
    unknown = [str(field) for field in values if field not in known]
    if unknown:
        raise InputError(
            f"its front matter has the unknown field {unknown[0]!r}",
            f"The fields are {', '.join(sorted(known))}.",
            source=label,
        )
    name = _text(values, "name", label, needed=True)
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot name a rubric", "Use letters, digits, '.', '_' and '-'.", source=label, field="name"
        )
    return Rubric(
        name,
        _text(values, "behavior", label, needed=True),
        _checked_text(text, label),
        _aliases(values, label),
        *(_text(values, field, label) for field in ("system_positive", "system_negative", "note")),
    )


def _text(values: dict[str, Any], field: str, label: str, *, needed: bool = False) -> str:
    value = values.get(field)
    if value is None and not needed:
        return ""
    if not isinstance(value, str) or not value.strip():
        what = "is missing or empty" if value is None or value == "" else f"is not a text but {value!r}"
        raise InputError(f"it {what}", "Write a text, in quotes.", source=label, field=field)
    return value.strip()


def _aliases(values: dict[str, Any], label: str) -> tuple[str, ...]:
    aliases = values.get("aliases", [])
    if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
        raise InputError("they are not a list of names", "Write aliases: [one, other].", source=label, field="aliases")
    return tuple(aliases)


def _checked_text(text: str, label: str) -> str:
    text = text.strip()
    if not text:
        raise InputError("it has no text below the front matter", "Say what the ratings mean.", source=label)
    unsaid = [end for end in (LOWEST, HIGHEST) if not re.search(rf"(?<![\d.]){end}(?![\d])", text)]
    if unsaid:
        raise InputError(
            f"its text does not say what {' and '.join(map(str, unsaid))} mean",
            f"Ratings go from {LOWEST} to {HIGHEST}: say what both ends, and 5, stand for.",
            source=label,
        )
    return text
