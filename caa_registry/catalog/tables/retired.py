"""What is retired. It is only ever added to."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from caa_registry.catalog.base import KEEP_IDS, Base, Id
from caa_registry.catalog.integrity.row_digests import Sealed
from caa_registry.catalog.tables import evaluations  # noqa: F401 - what its keys refer to


class Deprecation(Sealed, Base):
    """A version was deprecated, or (``lifted``) is not any more. The newest of each counts. ``successor``: what to use
    instead, empty where nothing was named."""

    __tablename__ = "deprecation"
    __table_args__ = (
        CheckConstraint("(dataset_version_id IS NULL) != (vector_version_id IS NULL)", name="target"),
        KEEP_IDS,
    )

    id: Mapped[Id]
    dataset_version_id: Mapped[int | None] = mapped_column(ForeignKey("dataset_version.id"), index=True)
    vector_version_id: Mapped[int | None] = mapped_column(ForeignKey("vector_version.id"), index=True)
    lifted: Mapped[bool]
    successor: Mapped[str]
    why: Mapped[str]
    actor: Mapped[str]
    created_at: Mapped[datetime]


class Quarantine(Sealed, Base):
    """A vector version or an evaluation was quarantined by hand, or (``lifted``) is not any more. The newest of each
    counts."""

    __tablename__ = "quarantine"
    __table_args__ = (
        CheckConstraint("(vector_version_id IS NULL) != (evaluation_id IS NULL)", name="target"),
        KEEP_IDS,
    )

    id: Mapped[Id]
    vector_version_id: Mapped[int | None] = mapped_column(ForeignKey("vector_version.id"), index=True)
    evaluation_id: Mapped[int | None] = mapped_column(ForeignKey("evaluation.id"), index=True)
    lifted: Mapped[bool]
    why: Mapped[str]
    actor: Mapped[str]
    created_at: Mapped[datetime]
