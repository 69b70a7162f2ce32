"""What every noun of a registry works with."""

from __future__ import annotations

from dataclasses import dataclass

from caa_registry.blobs.store import BlobStore
from caa_registry.catalog.database import Database


@dataclass(frozen=True)
class Workspace:
    """The catalogue, the bytes, and who acts. ``actor`` is the name that runs and audit events carry."""

    database: Database
    blobs: BlobStore
    actor: str
