"""Rows changed behind the registry's back, as an earlier release or another hand would have written them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from caa_registry.catalog.integrity.row_digests import digest_of_row


def reseal(session: Session, *tables: Any) -> None:
    """Give the rows of ``tables`` the digests of what they hold now."""
    for table in tables:
        for row in session.execute(select(*table.__table__.columns)).mappings().all():
            digest = digest_of_row(table.__tablename__, dict(row), table.__movable__)
            session.execute(update(table).where(table.id == row["id"]).values(row_digest=digest))
