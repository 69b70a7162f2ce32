"""Where the rows of a dataset version came from: the record that is stored with it, typed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from caa_registry.display.records import Record
from caa_registry.errors import InputError

T = TypeVar("T")

# Forms of the record are counted from the second on, under the key ``form``: ``revision`` is a commit of a hub.
_FORM = 1


@dataclass(frozen=True)
class Fields:
    """The fields of one JSON object from outside. ``what`` names the document in errors, ``field`` the place of the
    object in it."""

    values: Any
    what: str
    field: str

    def __post_init__(self) -> None:
        if not isinstance(self.values, dict):
            raise InputError("has to be an object", source=self.what, field=self.field)

    def bad(self, message: str, key: str) -> InputError:
        return InputError(message, source=self.what, field=self._place(key))

    def check_form(self, newest: int) -> None:
        """Raise ``InputError`` for a form of the record that this release does not know."""
        form = self.values.get("form", 1)
        if not isinstance(form, int) or not 1 <= form <= newest:
            raise self.bad(f"is {form!r}; this release reads forms 1 to {newest}", "form")

    def get(self, key: str, kind: type[T], default: T | None = None) -> T:
        """The value of ``key``. Raises ``InputError`` where it is of another kind, or missing without a default."""
        value = self.values.get(key, default)
        if type(value) is not kind:
            raise self.bad(f"has to be {_KINDS[kind]}" if key in self.values else "is missing", key)
        return value

    def optional(self, key: str, kind: type[T]) -> T | None:
        """The value of ``key``, ``None`` where it is missing."""
        return self.get(key, kind) if key in self.values else None

    def part(self, key: str, read: Callable[[Any, str, str], T]) -> T | None:
        """The object under ``key`` as ``read`` reads it, ``None`` where it is missing."""
        return read(self.values[key], self.what, self._place(key)) if key in self.values else None

    def parts(self, key: str, read: Callable[[Any, str, str], T]) -> tuple[T, ...]:
        """The objects in the list under ``key``, none where it is missing."""
        place = self._place(key)
        return tuple(read(part, self.what, f"{place}[{i}]") for i, part in enumerate(self.get(key, list, [])))

    def _place(self, key: str) -> str:
        return f"{self.field}.{key}" if self.field else key


_KINDS: Mapping[type, str] = {str: "a text", int: "a whole number", list: "a list", dict: "an object"}


@dataclass(frozen=True)
class SourceFile(Record):
    """A file that was read, by its digest, and how many ``rows`` of it went to ``split``."""

    name: str
    digest: str
    split: str
    rows: int

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "digest": self.digest, "split": self.split, "rows": self.rows}

    @classmethod
    def from_json(cls, values: Any, what: str = "", field: str = "") -> SourceFile:
        read = Fields(values, what, field)
        return cls(read.get("name", str), read.get("digest", str), read.get("split", str), read.get("rows", int))


@dataclass(frozen=True)
class SourceCard(Record):
    """What the sides of a set mean, as its card says."""

    positive: str
    negative: str

    def to_json(self) -> dict[str, Any]:
        return {"positive": self.positive, "negative": self.negative}

    @classmethod
    def from_json(cls, values: Any, what: str = "", field: str = "") -> SourceCard:
        read = Fields(values, what, field)
        return cls(read.get("positive", str), read.get("negative", str))

    def swapped(self) -> SourceCard:
        """The card of the set with its sides swapped."""
        return SourceCard(positive=self.negative, negative=self.positive)


@dataclass(frozen=True)
class OperationRecord(Record):
    """The operation that made a version, with its parameters as JSON: ``curation.operations.from_json`` reads them."""

    name: str
    parameters: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "parameters": dict(self.parameters)}

    @classmethod
    def from_json(cls, values: Any, what: str = "", field: str = "") -> OperationRecord:
        read = Fields(values, what, field)
        return cls(read.get("name", str), read.get("parameters", dict))


@dataclass(frozen=True)
class SourceInput(Record):
    """A version that an operation read."""

    reference: str
    digest: str

    def to_json(self) -> dict[str, Any]:
        return {"reference": self.reference, "digest": self.digest}

    @classmethod
    def from_json(cls, values: Any, what: str = "", field: str = "") -> SourceInput:
        read = Fields(values, what, field)
        return cls(read.get("reference", str), read.get("digest", str))


@dataclass(frozen=True)
class Source(Record):
    """Where rows came from.

    Of an import: ``columns``, the column of each part where they were given; ``mapping``, the saved mapping that read
    the rows, as its ``as_json`` writes it; ``repo`` and the 40-hex ``revision`` on a hub; ``split`` and ``limit``, as
    given; ``card``, of a seed set. Several sources of one import are listed whole under ``sources``, and ``split`` of
    each is missing in records of the first releases, whose files say it.
    Of a curated version: ``operation``, and the versions it read as ``inputs``.
    ``behavior``: what the pairs contrast, where it was said. ``notes``: what a person should know; ``None`` before the
    record is stored, and in the parts of ``sources``.
    """

    uri: str
    format: str
    files: tuple[SourceFile, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    mapping: Mapping[str, Any] | None = None
    repo: str | None = None
    revision: str | None = None
    split: str | None = None
    limit: int | None = None
    sources: tuple[Source, ...] = ()
    operation: OperationRecord | None = None
    inputs: tuple[SourceInput, ...] = ()
    card: SourceCard | None = None
    behavior: str | None = None
    notes: tuple[str, ...] | None = None

    def _called(self) -> str:
        return self.uri

    @property
    def why(self) -> str:
        """The reason that a person gave for the operation; empty where none was given."""
        return str(self.operation.parameters.get("why", "")) if self.operation else ""

    def to_json(self) -> dict[str, Any]:
        """What is stored. A record that was read back gives exactly the JSON that it was read from."""
        values: dict[str, Any] = {"uri": self.uri, "format": self.format}
        values["files"] = [file.to_json() for file in self.files]
        if self.columns:
            values["columns"] = dict(self.columns)
        if self.mapping is not None:
            values["mapping"] = dict(self.mapping)
        scalars = {"repo": self.repo, "revision": self.revision, "split": self.split, "limit": self.limit}
        values |= {key: value for key, value in scalars.items() if value is not None}
        if self.sources:
            values["sources"] = [source.to_json() for source in self.sources]
        if self.operation is not None:
            values["operation"] = self.operation.to_json()
            values["inputs"] = [given.to_json() for given in self.inputs]
        if self.card is not None:
            values["card"] = self.card.to_json()
        if self.notes is not None:
            values["notes"] = list(self.notes)
        if self.behavior is not None:
            values["behavior"] = self.behavior
        return values

    @classmethod
    def from_json(cls, values: Any, what: str = "", field: str = "") -> Source:
        """What ``to_json`` gave, of any release, or what a recipe says of an import.

        ``what`` names the document in errors, ``field`` the place in it. Raises ``InputError`` naming the field.
        """
        read = Fields(values, what, field)
        read.check_form(_FORM)
        columns = read.get("columns", dict, {})
        if not all(isinstance(column, str) for column in columns.values()):
            raise read.bad("has to map parts to columns", "columns")
        notes = read.optional("notes", list)
        return cls(
            uri=read.get("uri", str),
            format=read.get("format", str, ""),
            files=read.parts("files", SourceFile.from_json),
            columns=columns,
            mapping=read.optional("mapping", dict),
            repo=read.optional("repo", str),
            revision=read.optional("revision", str),
            split=read.optional("split", str),
            limit=read.optional("limit", int),
            sources=read.parts("sources", cls.from_json),
            operation=read.part("operation", OperationRecord.from_json),
            inputs=read.parts("inputs", SourceInput.from_json),
            card=read.part("card", SourceCard.from_json),
            behavior=read.optional("behavior", str),
            notes=None if notes is None else tuple(notes),
        )
