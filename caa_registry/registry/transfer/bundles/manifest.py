"""What a bundle says is in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from caa_registry.digests import digest_bytes
from caa_registry.errors import InputError
from caa_registry.pairs.source import Fields
from caa_registry.registry.records.lock_text import canonical, check_values, parsed
from caa_registry.registry.records.locked_dataset import digest_in
from caa_registry.registry.transfer.documents.fields import optional_object, whole_in
from caa_registry.registry.transfer.documents.key import Key
from caa_registry.registry.transfer.parcel import AliasDocument, Root

SCHEMA = "caa-registry/bundle/v1"


@dataclass(frozen=True)
class Member:
    """A member by its digest, ``size`` in bytes."""

    digest: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """``documents``: of each thing the member that holds it, each behind what it needs; ``sayings``: the member that
    holds what is said of them; ``members``: all of them, in the order of the file."""

    roots: Sequence[Root]
    documents: Sequence[tuple[Key, str]]
    sayings: str
    members: Sequence[Member]

    def to_bytes(self) -> bytes:
        """The bytes of ``manifest.json``: the same for the same manifest."""
        values = {
            "schema": SCHEMA,
            "roots": [_root_json(root) for root in self.roots],
            "documents": [[key.to_json(), member] for key, member in self.documents],
            "sayings": self.sayings,
            "members": [[member.digest, member.size] for member in self.members],
        }
        return canonical(values).encode("ascii")

    @property
    def digest(self) -> str:
        return digest_bytes(self.to_bytes())

    @classmethod
    def from_bytes(cls, data: bytes, what: str) -> Manifest:
        """What ``to_bytes`` gave. Raises ``InputError`` naming the field."""
        try:
            values = parsed(data.decode("ascii"), what)
        except UnicodeDecodeError as error:
            raise InputError(f"its manifest is not ASCII (byte {error.start:,})", source=what) from None
        check_values(values, what)
        read = Fields(values, what, "")
        if read.get("schema", str) != SCHEMA:
            raise read.bad(f"is {values['schema'][:60]!r}; this version of caa reads {SCHEMA}", "schema")
        documents = []
        for place, each in enumerate(read.get("documents", list)):
            key, member = _two(each, what, f"documents[{place}]", list, str)
            documents.append((Key.from_json(key, what, f"documents[{place}]"), member))
        members = [
            Member(*_two(each, what, f"members[{place}]", str, int))
            for place, each in enumerate(read.get("members", list))
        ]
        made = cls(read.parts("roots", _root), documents, digest_in(read, "sayings"), members)
        if made.to_bytes() != data:
            raise InputError("its manifest is not as bundles are written", source=what)
        return made


def _root_json(root: Root) -> dict[str, Any]:
    alias = None
    if root.alias is not None:
        alias = {
            "name": root.alias.name,
            "recommendation": root.alias.recommendation,
            "evaluations": {str(number): key.to_json() for number, key in root.alias.evaluations.items()},
        }
    return {"key": root.key.to_json(), "number": root.number, "alias": alias}


def _root(values: Any, what: str, field: str) -> Root:
    read = Fields(values, what, field)
    key = Key.from_json(read.get("key", list), what, f"{field}.key")
    if key.kind not in ("dataset", "vector"):
        raise read.bad("is neither a dataset nor a vector", "key")
    alias = optional_object(read, "alias")
    return Root(key, whole_in(read, "number", 1), None if alias is None else _alias(alias, what, f"{field}.alias"))


def _alias(values: Any, what: str, field: str) -> AliasDocument:
    read = Fields(values, what, field)
    evaluations = read.get("evaluations", dict)
    if not all(number.isascii() and number.isdigit() for number in evaluations):
        raise read.bad("has to be by number", "evaluations")
    return AliasDocument(
        read.get("name", str),
        optional_object(read, "recommendation"),
        {int(number): Key.from_json(key, what, f"{field}.evaluations") for number, key in evaluations.items()},
    )


def _two(values: Any, what: str, field: str, *kinds: type) -> list[Any]:
    if not (isinstance(values, list) and [type(value) for value in values] == list(kinds)):
        raise InputError("has to be a list of two", source=what, field=field)
    return values
