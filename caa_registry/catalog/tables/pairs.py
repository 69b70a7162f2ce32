"""Pairs, datasets, their versions and what the versions hold."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from caa_registry.catalog.base import KEEP_IDS, Base, Digest, Id, Json, JsonObject
from caa_registry.catalog.integrity.row_digests import Sealed


class Pair(Base):
    """The four texts of a contrastive pair, stored once and shared by all versions that hold them. ``turns``: what was
    said before the prompt, as chat messages; null where nothing was."""

    __tablename__ = "pair"

    digest: Mapped[Digest] = mapped_column(primary_key=True)
    prompt: Mapped[str]
    positive: Mapped[str]
    negative: Mapped[str]
    system: Mapped[str]
    turns: Mapped[list[JsonObject] | None] = mapped_column(Json)


class Dataset(Sealed, Base):
    """The name of a dataset, what it is in a text, and the kind of item all its versions hold. Name and text may
    change."""

    __tablename__ = "dataset"
    __table_args__ = (
        UniqueConstraint("name"),
        CheckConstraint("kind IN ('pairs', 'questions')", name="kind"),
        KEEP_IDS,
    )

    id: Mapped[Id]
    name: Mapped[str]
    kind: Mapped[str]
    description: Mapped[str | None]
    created_at: Mapped[datetime]


class DatasetVersion(Sealed, Base):
    """One immutable state of a dataset. ``statistics``: what it holds, in figures; none where it is older than these.
    ``actor``: who made it.
    ``deleted_at`` marks it deleted; the row stays as a tombstone."""

    __tablename__ = "dataset_version"
    __table_args__ = (
        UniqueConstraint("dataset_id", "number"),
        UniqueConstraint("dataset_id", "digest"),
        CheckConstraint("number >= 1", name="number"),
        CheckConstraint("n_items >= 0", name="n_items"),
        KEEP_IDS,
    )

    id: Mapped[Id]
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id"))
    number: Mapped[int]
    digest: Mapped[Digest]
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("dataset_version.id"), index=True)
    message: Mapped[str] = mapped_column(default="")
    source: Mapped[JsonObject]
    licence: Mapped[str] = mapped_column(default="")
    n_items: Mapped[int]
    statistics: Mapped[JsonObject | None]
    items_digest: Mapped[Digest | None]
    actor: Mapped[str | None]
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]


class DatasetMember(Base):
    """One row of the source: a pair at its 0-based place in a version. Repeated pairs are repeated rows."""

    __tablename__ = "dataset_member"
    __table_args__ = (
        Index(None, "pair_digest", "version_id"),
        CheckConstraint("position >= 0", name="position"),
    )

    version_id: Mapped[int] = mapped_column(ForeignKey("dataset_version.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    pair_digest: Mapped[Digest] = mapped_column(ForeignKey("pair.digest"))
    split: Mapped[str]
    details: Mapped[JsonObject] = mapped_column("metadata", default=dict)


class DatasetQuestion(Base):
    """One open-ended question at its 0-based place in a version of a dataset of kind ``questions``."""

    __tablename__ = "dataset_question"
    __table_args__ = (CheckConstraint("position >= 0", name="position"),)

    version_id: Mapped[int] = mapped_column(ForeignKey("dataset_version.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    split: Mapped[str]
    text: Mapped[str]
    details: Mapped[JsonObject] = mapped_column("metadata", default=dict)
