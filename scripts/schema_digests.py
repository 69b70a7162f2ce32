"""Writes migrations/schemas.json: of each revision the digest of the SQLite schema that the migrations make.

Opening a registry compares its schema with it. Run this after a migration is added.
"""

from __future__ import annotations

import json

from caa_registry.catalog.integrity.inspection import SCHEMAS, migrated_objects, objects_digest
from caa_registry.catalog.schema import migrations_folder, revisions


def text() -> str:
    """The file as it should be."""
    folder = migrations_folder()
    digests = {revision: objects_digest(migrated_objects(folder, revision)) for revision in revisions(folder)}
    return json.dumps(digests, indent=2) + "\n"


if __name__ == "__main__":
    (migrations_folder() / SCHEMAS).write_text(text(), encoding="utf-8")
