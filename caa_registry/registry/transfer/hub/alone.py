"""Vectors whose pairs stay private: what a registry needs of each beside its file of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from caa_registry.errors import InputError
from caa_registry.models.folder.fingerprint import ModelInfo
from caa_registry.pairs.source import Fields
from caa_registry.registry.records import VectorVersion
from caa_registry.registry.records.lock_text import canonical, check_values, parsed
from caa_registry.registry.records.locked_dataset import digest_in, name_in, number_in
from caa_registry.registry.transfer.documents.key import Key
from caa_registry.registry.transfer.documents.things import ModelDocument
from caa_registry.registry.transfer.documents.things_json import document_from_json, document_json
from caa_registry.registry.transfer.hub.layout import ALONE, vector_file

SCHEMA = "caa-registry/vectors-alone/v1"


@dataclass(frozen=True)
class VectorAlone:
    """A vector version: its name and ``number`` where it comes from, its digest there, and what it steers. ``model``:
    ``None`` where nobody said which it is of."""

    name: str
    number: int
    digest: str
    behavior: str
    model: ModelInfo | None

    @property
    def file(self) -> str:
        """Where its numbers lie."""
        return vector_file(self.name, self.number)


def alone_bytes(versions: Sequence[VectorVersion]) -> bytes:
    """The file about ``versions``."""
    values = {"schema": SCHEMA, "vectors": [_json(version) for version in versions]}
    return (canonical(values) + "\n").encode("ascii")


def read_alone(data: bytes, what: str) -> tuple[VectorAlone, ...]:
    """What ``alone_bytes`` gave, from anybody. Raises ``InputError`` naming the field."""
    try:
        values = parsed(data.decode("ascii"), what)
    except UnicodeDecodeError as error:
        raise InputError(f"{ALONE} is not ASCII (byte {error.start:,})", source=what) from None
    check_values(values, what)
    read = Fields(values, what, "")
    if read.get("schema", str) != SCHEMA:
        raise read.bad(f"is {values['schema'][:60]!r}; this version of caa reads {SCHEMA}", "schema")
    return read.parts("vectors", _vector)


def _json(version: VectorVersion) -> dict[str, Any]:
    model = version.model
    document = None
    if model is not None:
        document = document_json(ModelDocument(Key("model", "", model.fingerprint.digest), model))
    return {
        "name": version.name,
        "number": version.number,
        "digest": version.digest,
        "behavior": version.behavior,
        "model": document,
    }


def _vector(values: Any, what: str, field: str) -> VectorAlone:
    read = Fields(values, what, field)
    model = None
    if read.values.get("model") is not None:
        document = document_from_json(read.get("model", dict), f"{what}, {field}.model")
        if not isinstance(document, ModelDocument):
            raise read.bad("is not about a model", "model")
        model = document.info
    name = name_in(read, "name", read.get("name", str))
    return VectorAlone(name, number_in(read, "number"), digest_in(read, "digest"), read.get("behavior", str), model)
