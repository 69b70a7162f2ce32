"""What versions are called beside their numbers."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from caa_registry.catalog.base import KEEP_IDS, Base, Id, JsonObject
from caa_registry.catalog.integrity.row_digests import Sealed
from caa_registry.catalog.tables import vectors  # noqa: F401 - what its keys refer to


class Alias(Sealed, Base):
    """A movable name of one version, with what an evaluation recommended for it. ``protected``: it moves and goes only
    where somebody says so; null where it is not, so that older rows keep their digests."""

    __tablename__ = "alias"
    __table_args__ = (
        UniqueConstraint("kind", "owner_id", "name"),
        CheckConstraint(
            "(kind = 'dataset' AND dataset_version_id IS NOT NULL AND vector_version_id IS NULL) OR "
            "(kind = 'vector' AND vector_version_id IS NOT NULL AND dataset_version_id IS NULL)",
            name="target",
        ),
        KEEP_IDS,
    )

    id: Mapped[Id]
    kind: Mapped[str]
    owner_id: Mapped[int]
    name: Mapped[str]
    dataset_version_id: Mapped[int | None] = mapped_column(ForeignKey("dataset_version.id"), index=True)
    vector_version_id: Mapped[int | None] = mapped_column(ForeignKey("vector_version.id"), index=True)
    recommendation: Mapped[JsonObject | None]
    protected: Mapped[bool | None]
    updated_at: Mapped[datetime]
