"""Version numbers: from 1, without gaps, per name."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t


def next_number(session: Session, versions: type[t.DatasetVersion] | type[t.VectorVersion], owner_id: int) -> int:
    """The number of the next version of a dataset or vector. Call it inside ``Database.write()``."""
    if versions is t.DatasetVersion:
        newest = select(func.max(t.DatasetVersion.number)).where(t.DatasetVersion.dataset_id == owner_id)
    else:
        newest = select(func.max(t.VectorVersion.number)).where(t.VectorVersion.vector_id == owner_id)
    return (session.scalar(newest) or 0) + 1
