"""Version numbers: from 1, without gaps, per name."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from caa_registry.catalog.models import DatasetVersion, VectorVersion


def next_number(session: Session, versions: type[DatasetVersion] | type[VectorVersion], owner_id: int) -> int:
    """The number of the next version of a dataset or vector. Call it inside ``Database.write()``."""
    if versions is DatasetVersion:
        newest = select(func.max(DatasetVersion.number)).where(DatasetVersion.dataset_id == owner_id)
    else:
        newest = select(func.max(VectorVersion.number)).where(VectorVersion.vector_id == owner_id)
    return (session.scalar(newest) or 0) + 1
