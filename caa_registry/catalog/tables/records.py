"""What was run, what was named, and who did it."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from caa_registry.catalog.base import (
    KEEP_IDS,
    Base,
    CheckedBigInteger,
    CheckedBinary,
    CheckedString,
    Digest,
    Id,
    JsonObject,
)
from caa_registry.catalog.integrity.row_digests import Sealed


class Run(Sealed, Base):
    """One activity that ended, with its parameters and environment. ``failure``: what it failed of, missing where it
    did not. ``arrows_digest``: of its rows in ``run_io``, missing where it has none."""

    __tablename__ = "run"
    __table_args__ = (KEEP_IDS,)

    id: Mapped[Id]
    kind: Mapped[str]
    parameters: Mapped[JsonObject]
    environment: Mapped[JsonObject]
    actor: Mapped[str]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime]
    failure: Mapped[str | None]
    arrows_digest: Mapped[Digest | None]


class RunIO(Base):
    """An object that a run read or made: an arrow of the lineage."""

    __tablename__ = "run_io"
    __table_args__ = (
        CheckConstraint("direction IN ('input', 'output')", name="direction"),
        CheckConstraint("kind IN ('dataset', 'model', 'vector', 'evaluation', 'plan')", name="kind"),
        Index(None, "kind", "object_id"),
    )

    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"), primary_key=True)
    direction: Mapped[str] = mapped_column(CheckedString(6), primary_key=True)
    kind: Mapped[str] = mapped_column(CheckedString(16), primary_key=True)
    object_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    role: Mapped[str] = mapped_column(primary_key=True, default="")


class Event(Base):
    """One entry of the append-only audit. ``previous`` is the digest of the entry before, so a chain forms.

    It is unique too, so that the chain cannot fork.
    """

    __tablename__ = "event"
    __table_args__ = (UniqueConstraint("digest"), UniqueConstraint("previous"), KEEP_IDS)

    id: Mapped[Id]
    at: Mapped[datetime]
    actor: Mapped[str]
    action: Mapped[str]
    subject: Mapped[JsonObject]
    previous: Mapped[str]
    digest: Mapped[Digest]


class Blob(Base):
    """Content-addressed bytes, where they are kept in the database. ``stored_at``: when somebody last stored them;
    missing in what is older than this column."""

    __tablename__ = "blob"

    digest: Mapped[Digest] = mapped_column(primary_key=True)
    size: Mapped[int] = mapped_column(CheckedBigInteger)
    data: Mapped[bytes] = mapped_column(CheckedBinary)
    stored_at: Mapped[datetime | None]


class Meta(Base):
    """Facts about the registry itself, such as ``written_by``: the release that last changed its schema."""

    __tablename__ = "meta"

    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]
