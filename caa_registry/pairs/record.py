"""The contrastive pair, the open-ended question, and what an import gives."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

from caa_registry.digests import check_combining, composed, digest_object
from caa_registry.display.records import Record, Table
from caa_registry.errors import InputError, UsageError
from caa_registry.pairs.source import Source
from caa_registry.pairs.turns import ROLES, Turn, turns_json

DatasetKind = Literal["pairs", "questions"]

GENERATE = "generate"
TEST = "test"

_SPLIT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Pair(Record):
    """One prompt and two completions: ``positive`` shows the behavior, ``negative`` does not.

    Where only whole texts contrast, ``prompt`` is empty. ``system`` is a system prompt, usually empty. ``turns``: what
    was said before the prompt, oldest first, user and assistant by turns. The texts are held in Unicode's composed form
    (NFC): what looks the same is the same to the model and to the digest.
    """

    prompt: str
    positive: str
    negative: str
    system: str = ""
    turns: tuple[Turn, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "turns", tuple(self.turns))
        for name in ("prompt", "positive", "negative", "system"):
            object.__setattr__(self, name, composed(getattr(self, name)))

    @cached_property
    def digest(self) -> str:
        """The identity of the pair: its four texts, and its turns where it has any."""
        texts = {
            "prompt": self.prompt,
            "positive": self.positive,
            "negative": self.negative,
            "system": self.system,
        }
        return digest_object("pair", {**texts, "turns": turns_json(self.turns)} if self.turns else texts)


@dataclass(frozen=True)
class PairItem(Record):
    """A pair as a member of a dataset. ``metadata`` holds what the source said beside it (category, row)."""

    _facts: ClassVar = "prompt positive negative system turns split metadata"
    _columns: ClassVar = "prompt positive negative system turns split"

    pair: Pair
    split: str = GENERATE
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def _as_row(self) -> dict[str, Any]:
        texts = {name: getattr(self.pair, name) for name in ("prompt", "positive", "negative", "system", "turns")}
        own = {**texts, "split": self.split, "digest": self.digest}
        return {**own, **{name: value for name, value in self.metadata.items() if name not in own}}

    @property
    def digest(self) -> str:
        return self.pair.digest

    @property
    def row(self) -> int | None:
        """Its row in the source, counted from 1; none where the source had no rows."""
        number = self.metadata.get("row")
        return number if isinstance(number, int) else None


@dataclass(frozen=True)
class QuestionItem(Record):
    """An open-ended question as a member of a dataset. ``text`` is held in NFC, as a pair's texts are."""

    _columns: ClassVar = "text split"

    text: str
    split: str = TEST
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def _as_row(self) -> dict[str, Any]:
        own = {"text": self.text, "split": self.split, "digest": self.digest}
        return {**own, **{name: value for name, value in self.metadata.items() if name not in own}}

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", composed(self.text))

    @property
    def digest(self) -> str:
        return digest_object("question", {"text": self.text})


@dataclass
class Mixture:
    """How a set answers. ``written``: how often letters are written in each way, such as ``(A)`` or ``a)``, in quotes
    where white space is around it, once for a pair that writes both alike; ``kinds``: by split, how many pairs answer
    with letters, Yes and No, or free text."""

    written: Counter[str] = field(default_factory=Counter)
    kinds: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    @staticmethod
    def together(parts: Iterable[Mixture]) -> Mixture:
        """What several sets are as one."""
        whole = Mixture()
        for part in parts:
            whole.written.update(part.written)
            for split, kinds in part.kinds.items():
                whole.kinds[split].update(kinds)
        return whole


@dataclass(frozen=True)
class Imported(Table):
    """What a source gave: items of one kind in file order, where they came from, and what a person should know.
    ``mixture``: how the pairs answer, counted as they were read."""

    _facts: ClassVar = "kind source licence notes"

    kind: DatasetKind
    items: Sequence[PairItem] | Sequence[QuestionItem]
    source: Source
    licence: str = ""
    notes: Sequence[str] = ()
    mixture: Mixture = field(default_factory=Mixture)

    def _rows(self) -> Sequence[PairItem] | Sequence[QuestionItem]:
        return self.items


def check_split_name(split: str | None) -> None:
    """``UsageError`` unless ``split`` is ``None`` or may name a split."""
    if split is not None and not _SPLIT.fullmatch(split):
        raise UsageError(f"{split!r} cannot name a split", "Use letters, digits, '.', '_' and '-': generate, test.")


def checked_text(text: str, *, source: str = "", row: int | None = None, field: str = "") -> str:
    """``text`` if every database can store it, else ``InputError``: no NUL, no half of a surrogate pair, and no more
    combining characters than can be composed."""
    if "\x00" in text:
        raise InputError("a text holds a NUL character", "Remove it.", source=source, row=row, field=field)
    if _SURROGATE.search(text):
        raise InputError(
            "a text holds half of a surrogate pair",
            "Re-encode the file.",
            source=source,
            row=row,
            field=field,
        )
    try:
        check_combining(text)
    except InputError as error:
        raise InputError(error.message, error.hint, source=source, row=row, field=field) from None
    return text


def checked_question(text: str, *, source: str = "", row: int | None = None) -> str:
    """``text`` if it can be asked, else ``InputError`` naming source and row."""
    if not text.strip():
        raise InputError("the question is empty", "Remove the row or fill it.", source=source, row=row)
    return checked_text(text, source=source, row=row)


def checked_pair(pair: Pair, *, source: str = "", row: int | None = None) -> Pair:
    """``pair`` if both completions are there and differ, and its turns lead up to its prompt, else ``InputError``
    naming source and row."""
    for name, text in (("positive", pair.positive), ("negative", pair.negative)):
        if not text.strip():
            raise InputError(f"the {name} completion is empty", "Every pair needs both sides.", source=source, row=row)
    for name in ("prompt", "positive", "negative", "system"):
        checked_text(getattr(pair, name), source=source, row=row, field=name)
    if pair.turns:
        _check_turns(pair, source, row)
    if pair.positive.strip() == pair.negative.strip():
        raise InputError(
            f"both sides say {pair.positive.strip()[:60]!r}", "The two completions must differ.", source=source, row=row
        )
    return pair


def _check_turns(pair: Pair, source: str, row: int | None) -> None:
    def bad(message: str, hint: str) -> InputError:
        return InputError(message, hint, source=source, row=row, field="turns")

    if not pair.prompt.strip():
        raise bad("turns stand before an empty prompt", "The prompt is the user's last message.")
    for i, turn in enumerate(pair.turns):
        if turn.role != ROLES[i % 2]:
            said = repr(turn.role)[:40]
            raise bad(f"turn {i + 1} is of {said}, not of {ROLES[i % 2]!r}", "User and assistant speak by turns.")
        if not turn.text.strip():
            raise bad(f"turn {i + 1} is empty", "Fill it in, or leave out what it answers too.")
        checked_text(turn.text, source=source, row=row, field="turns")
    if len(pair.turns) % 2:
        raise bad("the last turn is of 'user', as the prompt is", "The assistant speaks between the two.")


def dataset_digest(kind: DatasetKind, items: Sequence[PairItem] | Sequence[QuestionItem]) -> str:
    """The identity of a dataset version: its (item digest, split) list, sorted, repeats kept.

    Order of rows and metadata do not enter, so the same pairs from a reordered file are the same version.
    """
    members = sorted([item.digest, item.split] for item in items)
    return digest_object("dataset", {"kind": kind, "members": members})
