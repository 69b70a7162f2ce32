"""Locks: all that another machine needs to compute a vector again, and to tell whether it came out the same.

As JSON a lock is an object with its ``schema`` and the ``digest`` of all the rest, in canonical form: keys sorted, no
spaces, in ASCII, and numbers that are not whole as the shortest text that gives them. A lock may come from anybody.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from caa_registry.digests import digest_bytes, digest_object
from caa_registry.display.records import Record, Table
from caa_registry.errors import CaaError, InputError, UsageError
from caa_registry.models.folder.fingerprint import Fingerprint
from caa_registry.pairs.source import Fields
from caa_registry.registry.records.dataset import DatasetVersion
from caa_registry.registry.records.lock_text import canonical, check_values, parsed
from caa_registry.registry.records.locked_dataset import LockedDataset, digest_in, name_in, number_in
from caa_registry.registry.records.recipe import Recipe
from caa_registry.registry.records.vector import VectorVersion
from caa_registry.registry.records.verification import Verification
from caa_registry.vectors import LayerVector, VectorSet, tensor_digest

SCHEMA = "caa-registry/lock/v1"
_PARTS = ("weights", "config", "tokenizer", "chat_template")
_MORE_PARTS = ("tensors", "files", "adapter")
_AGAIN = "Have it written again: caa vector lock REFERENCE."


@dataclass(frozen=True)
class LockedLayer(Record):
    """One layer of a vector: the digest of its bytes, and the bytes, float32 and little-endian."""

    layer: int
    sha256: str
    values: bytes = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        return {
            "layer": self.layer,
            "sha256": self.sha256,
            "values": base64.b64encode(self.values).decode("ascii"),
        }

    @classmethod
    def from_json(cls, values: Any, what: str = "", field: str = "") -> LockedLayer:
        read = Fields(values, what, field)
        try:
            data = base64.b64decode(read.get("values", str), validate=True)
        except (binascii.Error, ValueError):
            raise read.bad("is not base64", "values") from None
        if digest_bytes(data) != read.get("sha256", str):
            raise read.bad("is not the digest of the layer's values", "sha256")
        return cls(read.get("layer", int), read.get("sha256", str), data)


@dataclass(frozen=True)
class LockedModel(Record):
    """The model that a vector belongs to. ``repo_id`` and ``revision``: where a hub has it; a folder is not named."""

    name: str
    architecture: str
    n_layers: int
    d_model: int
    fingerprint: Fingerprint
    repo_id: str | None = None
    revision: str | None = None

    def to_json(self) -> dict[str, Any]:
        parts = {part: getattr(self.fingerprint, part) for part in (*_PARTS, *_MORE_PARTS)}
        return {
            "name": self.name,
            "architecture": self.architecture,
            "n_layers": self.n_layers,
            "d_model": self.d_model,
            "repo": self.repo_id,
            "revision": self.revision,
            "fingerprint": self.fingerprint.digest,
            "parts": parts,
        }

    @classmethod
    def from_json(cls, values: Any, what: str = "", field: str = "model") -> LockedModel:
        from caa_registry.hub.names import is_commit
        from caa_registry.models.loading import is_repository

        read = Fields(values, what, field)
        parts = Fields(read.get("parts", dict), what, f"{field}.parts")
        found = {part: digest_in(parts, part) for part in _PARTS}
        found |= {part: digest_in(parts, part) for part in _MORE_PARTS if parts.values.get(part) is not None}
        fingerprint = Fingerprint(**found)
        if read.get("fingerprint", str) != fingerprint.digest:
            raise read.bad("is not the digest of the parts", "fingerprint")
        repo = None if values.get("repo") is None else read.get("repo", str)
        revision = None if values.get("revision") is None else read.get("revision", str)
        if repo is not None and (repo.startswith("hf:") or not is_repository(repo)):
            raise read.bad("has to be ORG/NAME", "repo")
        if (repo is None) != (revision is None) or (revision is not None and not is_commit(revision)):
            raise read.bad("has to be a commit, where there is a repository", "revision")
        return cls(
            read.get("name", str),
            read.get("architecture", str),
            number_in(read, "n_layers"),
            number_in(read, "d_model"),
            fingerprint,
            repo,
            revision,
        )


@dataclass(frozen=True)
class Lock(Table):
    """A vector version, all that it is made from, and what it came to.

    ``version_digest`` and ``tensor_digest``: of the version; ``layers``: its numbers. ``environment``: packages, BLAS
    and device that it was computed with. ``digest``: of the whole lock.
    """

    _facts: ClassVar = "digest version_digest dataset model recipe"

    name: str
    number: int
    version_digest: str
    tensor_digest: str
    recipe: Recipe
    layers: tuple[LockedLayer, ...]
    dataset: LockedDataset
    model: LockedModel
    environment: Mapping[str, Any] = field(repr=False)

    def _rows(self) -> Sequence[LockedLayer]:
        return self.layers

    @property
    def reference(self) -> str:
        return f"{self.name}:v{self.number}"

    @property
    def vectors(self) -> VectorSet:
        """The numbers, float32 of size ``d_model`` by layer."""
        import numpy as np

        return VectorSet.of(
            LayerVector(each.layer, np.frombuffer(each.values, "<f4").astype(np.float32), None) for each in self.layers
        )

    @cached_property
    def digest(self) -> str:
        return digest_bytes(canonical(self._content()).encode("ascii"))

    def _content(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "vector": {
                "name": self.name,
                "version": self.number,
                "digest": self.version_digest,
                "tensors": self.tensor_digest,
                "layers": [layer.to_json() for layer in self.layers],
            },
            "recipe": self.recipe.to_json(),
            "dataset": self.dataset.to_json(),
            "model": self.model.to_json(),
            "environment": self.environment,
        }

    def to_json(self) -> dict[str, Any]:
        """The lock as a JSON object, its digest with it."""
        return {**self._content(), "digest": self.digest}

    def to_text(self) -> str:
        """The text of its file: canonical JSON on one line. Raises ``UsageError`` where it could not be read again: it
        is too large, or holds what an earlier release took and this one does not."""
        text = canonical(self.to_json()) + "\n"
        try:
            self.from_text(text, f"the lock of {self.reference}")
        except InputError as error:
            raise UsageError(f"{self.reference} cannot be locked: {error.message}") from error
        return text

    @classmethod
    def from_text(cls, text: str, what: str = "the lock") -> Lock:
        """What ``to_text`` gave. ``what`` names the lock in errors. Raises ``InputError`` naming the field."""
        return cls.from_json(parsed(text, what), what)

    @classmethod
    def from_json(cls, values: Any, what: str = "the lock") -> Lock:
        """What ``to_json`` gave. Every digest in it is checked against what it is of. Raises ``InputError`` naming the
        field."""
        try:
            return cls._read(values, what)
        except InputError as error:
            error.hint = error.hint or _AGAIN
            raise

    @classmethod
    def _read(cls, values: Any, what: str) -> Lock:
        check_values(values, what)
        whole = Fields(values, what, "")
        if whole.get("schema", str) != SCHEMA:
            raise whole.bad(f"is {values['schema'][:60]!r}; this version of caa reads {SCHEMA}", "schema")
        content = {key: value for key, value in values.items() if key != "digest"}
        if whole.get("digest", str) != digest_bytes(canonical(content).encode("ascii")):
            raise whole.bad("is not the digest of what the lock says: it was changed or cut off", "digest")
        read = Fields(whole.get("vector", dict), what, "vector")
        made = cls(
            name_in(read, "name", read.get("name", str)),
            number_in(read, "version"),
            digest_in(read, "digest"),
            digest_in(read, "tensors"),
            _recipe(whole),
            read.parts("layers", LockedLayer.from_json),
            LockedDataset.from_json(whole.get("dataset", dict), what),
            LockedModel.from_json(whole.get("model", dict), what),
            _environment(whole),
        )
        made._check_layers(read)
        made._check_digests(read)
        for key, value in made._content().items():
            if content[key] != value:
                raise whole.bad("is not as a lock is written", key)
        if unknown := sorted(content.keys() - made._content().keys()):
            raise whole.bad("is no part of a lock", unknown[0])
        return made

    def _check_layers(self, read: Fields) -> None:
        import numpy as np

        numbers = [layer.layer for layer in self.layers]
        if not numbers or numbers != list(self.recipe.layers) or numbers[-1] >= self.model.n_layers:
            raise read.bad("are not those of the recipe, or not of the model", "layers")
        for place, layer in enumerate(self.layers):
            if len(layer.values) != 4 * self.model.d_model:
                raise read.bad(f"is not {self.model.d_model} numbers of float32", f"layers[{place}].values")
            if not np.isfinite(np.frombuffer(layer.values, "<f4")).all():
                raise read.bad("holds what is not a finite number", f"layers[{place}].values")

    def _check_digests(self, read: Fields) -> None:
        if (
            tensor_digest({layer.layer: layer.sha256 for layer in self.layers}, self.model.d_model)
            != self.tensor_digest
        ):
            raise read.bad("is not the digest of the layers", "tensors")
        identity = {
            "tensors": self.tensor_digest,
            "dataset": self.dataset.digest,
            "model": self.model.fingerprint.digest,
            "recipe": self.recipe.to_json(),
        }
        if digest_object("vector", identity) != self.version_digest:
            raise read.bad("is not the digest of its numbers, pairs, model and recipe", "digest")
        if sum(item.split == self.recipe.split for item in self.dataset.items) != (
            self.recipe.pairs + self.recipe.skipped_too_long
        ):
            raise InputError("are not as many as the recipe says", source=read.what, field="dataset.pairs")


@dataclass(frozen=True)
class FollowedLock(Record):
    """What following a lock came to. ``found``: how it compares, layer by layer; ``version``: what was stored or was
    there, and the ``dataset`` that it is made from, both ``None`` where it came out otherwise."""

    lock: Lock
    found: Verification
    version: VectorVersion | None = None
    dataset: DatasetVersion | None = None


def _recipe(whole: Fields) -> Recipe:
    values = whole.get("recipe", dict)
    read = Fields(values, whole.what, "recipe")
    for key in ("method", "split", "read", "template", "dtype"):
        read.get(key, str)
    digest_in(read, "template_digest")
    layers = read.get("layers", list)
    if not layers or any(type(layer) is not int or layer < 0 for layer in layers) or sorted(set(layers)) != layers:
        raise read.bad("has to be a list of layers, ascending", "layers")
    for key in ("pairs", "skipped_too_long"):
        if read.get(key, int) < 0:
            raise read.bad("is below 0", key)
    if "normalized" in values:
        raise read.bad("is not what a lock can follow: such a vector is made from others", "normalized")
    rendering = read.get("rendering", dict, {})
    if not all(
        isinstance(text, str) for text in Fields(rendering, whole.what, "recipe.rendering").get("differences", list, [])
    ):
        raise read.bad("has to hold texts", "rendering.differences")
    try:
        return Recipe.from_json(values, "the lock")
    except CaaError as error:
        raise InputError(error.message, source=whole.what, field="recipe") from error


def _environment(whole: Fields) -> Mapping[str, Any]:
    values = whole.get("environment", dict)
    for key, value in values.items():
        inner = value.values() if isinstance(value, dict) else [value]
        if any(isinstance(each, dict | list) for each in inner):
            raise whole.bad("has to be a text, a number, or an object of these", f"environment.{key}")
    return values
