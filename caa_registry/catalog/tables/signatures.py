"""What was signed. It is only ever added to."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from caa_registry.catalog.base import KEEP_IDS, Base, Digest, Id, JsonObject
from caa_registry.catalog.integrity.row_digests import Sealed
from caa_registry.catalog.tables import evaluations  # noqa: F401 - what its keys refer to


class Signature(Sealed, Base):
    """A signed statement about a version or an evaluation. ``alias``: the name whose move to the version was signed,
    empty where the version itself was. ``envelope``: the statement and its signature, as DSSE has them. ``key``: the
    digest of the public key."""

    __tablename__ = "signature"
    __table_args__ = (
        CheckConstraint(
            "(dataset_version_id IS NULL AND (vector_version_id IS NULL) != (evaluation_id IS NULL)) OR "
            "(dataset_version_id IS NOT NULL AND vector_version_id IS NULL AND evaluation_id IS NULL)",
            name="target",
        ),
        KEEP_IDS,
    )

    id: Mapped[Id]
    dataset_version_id: Mapped[int | None] = mapped_column(ForeignKey("dataset_version.id"), index=True)
    vector_version_id: Mapped[int | None] = mapped_column(ForeignKey("vector_version.id"), index=True)
    evaluation_id: Mapped[int | None] = mapped_column(ForeignKey("evaluation.id"), index=True)
    alias: Mapped[str]
    key: Mapped[Digest]
    envelope: Mapped[JsonObject]
    actor: Mapped[str]
    created_at: Mapped[datetime]
