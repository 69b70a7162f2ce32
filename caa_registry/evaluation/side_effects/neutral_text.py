"""Neutral text: the packaged passages, and those of a user's own file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from caa_registry.digests import composed, digest_object
from caa_registry.errors import InputError, NotFoundError
from caa_registry.package import ASSETS
from caa_registry.pairs.record import checked_text
from caa_registry.pairs.sources.files import decoded, read_file
from caa_registry.pairs.sources.json_rows import jsonl_rows

_FOLDER = ASSETS / "neutral_text"
_BLANK_LINES = re.compile(r"\n(?:[^\S\n]*\n)+")


@dataclass(frozen=True)
class Passage:
    """One text. ``id`` names it within its set. The text is held in NFC, as a pair's texts are."""

    id: str
    text: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", composed(self.text))


@dataclass(frozen=True)
class NeutralText:
    """A set of passages. ``name`` is that of a packaged set, or of the file."""

    name: str
    passages: tuple[Passage, ...]

    @cached_property
    def digest(self) -> str:
        """The identity of the set: its texts in order. Names do not enter."""
        return digest_object("neutral-text", {"texts": [passage.text for passage in self.passages]})


def packaged_sets() -> list[str]:
    """The names of the sets that ship with the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.jsonl"))


def packaged_text(name: str) -> NeutralText:
    """The packaged set ``name``. ``NotFoundError`` lists the sets where there is none of this name."""
    if name not in packaged_sets():
        raise NotFoundError(f"there is no neutral text {name!r}", f"Sets: {', '.join(packaged_sets())}.")
    file = read_file(_FOLDER / f"{name}.jsonl", label=f"the neutral text {name!r}")
    rows = [row.values for row in jsonl_rows(file)]
    return NeutralText(name, tuple(Passage(row["id"], row["text"]) for row in rows))


def text_of_file(path: Path) -> NeutralText:
    """The passages of a text file in UTF-8: its paragraphs, which blank lines set apart. Each is named by its number.

    Raises ``NotFoundError``, ``UsageError`` or ``InputError`` where the file cannot be read, and ``InputError`` where a
    paragraph stands there twice: it would count twice, and intervals over passages would be too narrow.
    """
    try:
        file = read_file(path)
    except NotFoundError as error:
        hint = f"Name a text file with one passage a paragraph, or a packaged set: {', '.join(packaged_sets())}."
        raise NotFoundError(error.message, hint) from None
    text = checked_text(decoded(file), source=file.label).replace("\r\n", "\n")
    paragraphs = [paragraph for paragraph in _BLANK_LINES.split(text.strip()) if paragraph]
    if not paragraphs:
        raise InputError("it holds no text", "Write one passage a paragraph.", source=file.label)
    passages = tuple(Passage(str(number), paragraph) for number, paragraph in enumerate(paragraphs, 1))
    _check_differ(passages, file.label)
    return NeutralText(file.name, passages)


def _check_differ(passages: Sequence[Passage], label: str) -> None:
    first: dict[str, str] = {}
    for passage in passages:
        before = first.setdefault(passage.text, passage.id)
        if before != passage.id:
            raise InputError(
                f"paragraph {passage.id} is the same as paragraph {before}", "Remove one of them.", source=label
            )
