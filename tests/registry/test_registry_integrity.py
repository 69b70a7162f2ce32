"""Stored bytes that were changed are never used."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest
from support.resealed import reseal

from caa_registry.catalog import models as t
from caa_registry.errors import IntegrityError, NotFoundError
from caa_registry.models.model import Model
from caa_registry.registry.records import DatasetVersion, VectorVersion
from caa_registry.registry.registry import Registry


@pytest.fixture
def version(registry: Registry, pairs: DatasetVersion, model: Model) -> VectorVersion:
    return registry.vectors.compute("team/v", dataset=pairs, model=model)


def tamper(registry: Registry, version: VectorVersion, change: Callable[[bytes], bytes]) -> None:
    """Change the blob behind the registry's back, past the triggers that forbid it."""
    with closing(sqlite3.connect(str(registry.database.path))) as connection, connection:
        connection.execute("DROP TRIGGER keep_blob_update")
        (data,) = connection.execute("SELECT data FROM blob WHERE digest = ?", (version.blob,)).fetchone()
        connection.execute("UPDATE blob SET data = ? WHERE digest = ?", (change(data), version.blob))


def flipped(data: bytes, place: int) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 1
    return bytes(changed)


def test_the_blob_itself_cannot_be_changed(registry: Registry, version: VectorVersion) -> None:
    with (
        closing(sqlite3.connect(str(registry.database.path))) as connection,
        pytest.raises(sqlite3.IntegrityError, match="cannot be changed"),
    ):
        connection.execute("UPDATE blob SET data = x'00'")


@pytest.mark.parametrize("place", [0, 9, 200, -1])
def test_one_flipped_bit_is_found_when_all_is_read(registry: Registry, version: VectorVersion, place: int) -> None:
    tamper(registry, version, lambda data: flipped(data, place))
    with pytest.raises(IntegrityError, match=r"does not match|do not match"):
        registry.vectors.load(version)


def test_a_flipped_bit_is_found_in_its_layer_only(registry: Registry, version: VectorVersion) -> None:
    tamper(registry, version, lambda data: flipped(data, -1))  # the last layer stands last
    assert registry.vectors.layer(version, 0).values.shape == (64,)
    with pytest.raises(IntegrityError, match="layer 2 of team/v:v1 does not match its digest"):
        registry.vectors.layer(version, 2)


def test_a_truncated_blob_is_found(registry: Registry, version: VectorVersion) -> None:
    tamper(registry, version, lambda data: data[:-8])
    with pytest.raises(IntegrityError, match="too short"):
        registry.vectors.layer(version, 2)
    with pytest.raises(IntegrityError):
        registry.vectors.load(version)


def test_nothing_is_steered_or_scored_with_damaged_numbers(
    registry: Registry, version: VectorVersion, model: Model
) -> None:
    tamper(registry, version, lambda data: flipped(data, -1))
    with pytest.raises(IntegrityError), registry.steer(model, "team/v", layer=2):
        pass
    with pytest.raises(IntegrityError):
        registry.evaluations.propensity("team/v", model=model)
    assert registry.evaluations.ls() == []


def test_a_missing_blob_is_said(registry: Registry, version: VectorVersion) -> None:
    with closing(sqlite3.connect(str(registry.database.path))) as connection, connection:
        connection.execute("DELETE FROM blob")
    with pytest.raises(NotFoundError, match=r"blob sha256:[0-9a-f]{64} is not in"):
        registry.vectors.load(version)


def test_numbers_of_another_computation_under_this_digest_are_found(
    registry: Registry, version: VectorVersion, pairs: DatasetVersion, model: Model
) -> None:
    other = registry.vectors.compute("team/other", dataset=pairs, model=model, read="last")
    with closing(sqlite3.connect(str(registry.database.path))) as connection, connection:
        connection.execute("DROP TRIGGER keep_vector_version_update")
        connection.execute("UPDATE vector_version SET blob_digest = ? WHERE id = ?", (other.blob, version.id))
    with pytest.raises(IntegrityError, match="team/v:v1: it is not what was stored"):
        registry.vectors.get("team/v")
    with registry.database.write() as session:
        reseal(session, t.VectorVersion)
    with pytest.raises(IntegrityError, match="are not those that were computed"):
        registry.vectors.load("team/v")
    with pytest.raises(IntegrityError, match="layer 0 of team/v:v1"):
        registry.vectors.layer("team/v", 0)
