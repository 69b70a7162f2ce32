"""What is said of versions beside what they are: tags, amendments, and the words that they are found by."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from caa_registry.catalog.base import KEEP_IDS, Base, Digest, Id
from caa_registry.catalog.integrity.row_digests import Sealed
from caa_registry.catalog.tables import vectors  # noqa: F401 - what its keys refer to

_OF_ONE_VERSION = "(dataset_version_id IS NULL) != (vector_version_id IS NULL)"


class Tag(Sealed, Base):
    """A label ``key=value`` of a version. Its value may change, and it may go."""

    __tablename__ = "tag"
    __table_args__ = (
        UniqueConstraint("dataset_version_id", "key"),
        UniqueConstraint("vector_version_id", "key"),
        CheckConstraint(_OF_ONE_VERSION, name="target"),
        KEEP_IDS,
    )

    id: Mapped[Id]
    dataset_version_id: Mapped[int | None] = mapped_column(ForeignKey("dataset_version.id"))
    vector_version_id: Mapped[int | None] = mapped_column(ForeignKey("vector_version.id"))
    key: Mapped[str]
    value: Mapped[str]
    updated_at: Mapped[datetime]


class Amendment(Sealed, Base):
    """What counts of a version in place of what it was stored with: its licence, its behavior. Null where what it was
    stored with counts."""

    __tablename__ = "amendment"
    __table_args__ = (
        UniqueConstraint("dataset_version_id"),
        UniqueConstraint("vector_version_id"),
        CheckConstraint(_OF_ONE_VERSION, name="target"),
        CheckConstraint("licence IS NULL OR dataset_version_id IS NOT NULL", name="licence"),
        KEEP_IDS,
    )

    id: Mapped[Id]
    dataset_version_id: Mapped[int | None] = mapped_column(ForeignKey("dataset_version.id"))
    vector_version_id: Mapped[int | None] = mapped_column(ForeignKey("vector_version.id"))
    licence: Mapped[str | None]
    behavior: Mapped[str | None]
    updated_at: Mapped[datetime]


class SearchEntry(Base):
    """The words that one thing is found by. It is made of other rows, and can be made again of them.

    ``position``: of a question in its version; -1 in the entry of the version itself.
    """

    __tablename__ = "search_entry"
    __table_args__ = (
        UniqueConstraint("pair_digest"),
        UniqueConstraint("dataset_version_id", "position"),
        UniqueConstraint("vector_version_id"),
        UniqueConstraint("model_id"),
        KEEP_IDS,
    )

    id: Mapped[Id]
    pair_digest: Mapped[Digest | None] = mapped_column(ForeignKey("pair.digest"))
    dataset_version_id: Mapped[int | None] = mapped_column(ForeignKey("dataset_version.id"))
    position: Mapped[int | None]
    vector_version_id: Mapped[int | None] = mapped_column(ForeignKey("vector_version.id"))
    model_id: Mapped[int | None] = mapped_column(ForeignKey("model.id"))
    text: Mapped[str]
