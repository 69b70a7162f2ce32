"""Which column holds which part of a pair."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from caa_registry.errors import InputError, UsageError
from caa_registry.pairs.sources.rows import listed

CAA_QUESTION = "question"
CAA_POSITIVE = "answer_matching_behavior"
CAA_NEGATIVE = "answer_not_matching_behavior"
CORRECT = "correct"
INCORRECT = "incorrect"

# Our own notes about an item; a source column of the same name is kept under `source_<name>`.
RESERVED = ("row", "choices")

_NAMES: Mapping[str, tuple[str, ...]] = {
    "prompt": ("prompt", CAA_QUESTION),
    "positive": ("positive", CAA_POSITIVE, CORRECT, "chosen"),
    "negative": ("negative", CAA_NEGATIVE, INCORRECT, "rejected"),
    "system": ("system",),
    "split": ("split",),
}
_PARTS = (*_NAMES, "question")


@dataclass(frozen=True)
class Columns:
    """The column of each part, ``None`` where the source has none. With ``question`` the rows are questions."""

    prompt: str | None = None
    positive: str = ""
    negative: str = ""
    system: str | None = None
    split: str | None = None
    question: str | None = None

    @property
    def used(self) -> frozenset[str]:
        parts = (self.prompt, self.positive, self.negative, self.system, self.split, self.question)
        return frozenset(part for part in parts if part)


def check_mapping(columns: Mapping[str, str]) -> None:
    """``UsageError`` unless ``columns`` maps known parts to columns, each column once."""
    for part in columns:
        if part not in _PARTS:
            raise UsageError(
                f"a column cannot be given for {part!r}", f"Parts: {', '.join(_PARTS)} (--column positive=NAME)."
            )
    named = [name for name in columns.values() if name]
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        raise UsageError(f"the column {listed(twice)} is given for two parts", "Each part has its own column.")
    if "question" in columns and {"prompt", "positive", "negative"} & set(columns):
        raise UsageError(
            "a column for 'question' makes questions, which have no prompt and no sides",
            "Use --column prompt=NAME for pairs.",
        )


def find_columns(names: Sequence[str], given: Mapping[str, str], *, source: str, row: int) -> Columns:
    """The columns of a source whose first row has the names ``names``.

    ``given`` names columns itself (an empty name: the source has none); what it leaves out is recognised by the
    names ``prompt positive negative system split``, those of CAA's files, ``correct incorrect`` or ``chosen rejected``.
    Rows with nothing but a ``question`` are questions. Raises ``InputError`` that lists the columns where a part is
    missing.
    """
    parts = {part: _find(part, names, given, source, row) for part in _NAMES}
    if given.get("question"):
        question = _given("question", names, given["question"], source, row)
        return Columns(question=question, split=parts["split"])
    beside = {CAA_QUESTION, "split", parts["split"], "metadata", *RESERVED}
    if set(given) <= {"split"} and CAA_QUESTION in names and not set(names) - beside:
        return Columns(question=CAA_QUESTION, split=parts["split"])
    positive, negative = parts["positive"], parts["negative"]
    for part, name in (("positive", positive), ("negative", negative)):
        if not name:
            raise _missing(part, names, source, row)
    assert positive and negative
    used = {name for name in parts.values() if name}
    if parts["prompt"] is None and "prompt" not in given and set(names) - used - set(RESERVED):
        raise _missing("prompt", names, source, row)
    return Columns(parts["prompt"], positive, negative, parts["system"], parts["split"])


def _find(part: str, names: Sequence[str], given: Mapping[str, str], source: str, row: int) -> str | None:
    if part in given:
        return _given(part, names, given[part], source, row) if given[part] else None
    return known_column(part, names, given)


def known_column(part: str, names: Collection[str], given: Mapping[str, str]) -> str | None:
    """The column of ``part`` among ``names``: the one that is ``given``, else one known by its name."""
    if part in given:
        return given[part] if given[part] in names else None
    taken = set(given.values())
    return next((name for name in _NAMES[part] if name in names and name not in taken), None)


def _given(part: str, names: Sequence[str], name: str, source: str, row: int) -> str:
    if name not in names:
        raise InputError(
            f"there is no column {name!r} for {part}; columns: {listed(names)}",
            f"Name one of them: --column {part}=NAME.",
            source=source,
            row=row,
        )
    return name


def _missing(part: str, names: Sequence[str], source: str, row: int) -> InputError:
    none = " (--column prompt= where the texts have no prompt)" if part == "prompt" else ""
    return InputError(
        f"no column for the {part} was recognised; columns: {listed(names)}",
        f"Say which it is: --column {part}=NAME{none}.",
        source=source,
        row=row,
    )
