"""What curators leave behind: lint reports, reviews of pairs, and recalls. All are only ever added to."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from caa_registry.catalog.base import KEEP_IDS, Base, Digest, Id, Json, JsonObject
from caa_registry.catalog.integrity.row_digests import Sealed
from caa_registry.catalog.tables import pairs  # noqa: F401 - what its keys refer to


class LintReport(Sealed, Base):
    """What lint found in a dataset version, and with which parameters. The newest of a version counts."""

    __tablename__ = "lint_report"
    __table_args__ = (KEEP_IDS,)

    id: Mapped[Id]
    version_id: Mapped[int] = mapped_column(ForeignKey("dataset_version.id"), index=True)
    parameters: Mapped[JsonObject]
    summary: Mapped[JsonObject]
    findings: Mapped[list[Any]] = mapped_column(Json)
    actor: Mapped[str]
    created_at: Mapped[datetime]


class Review(Sealed, Base):
    """One decision of one reviewer about a pair of a dataset, in whichever of its versions. Their newest counts."""

    __tablename__ = "review"
    __table_args__ = (
        CheckConstraint("state IN ('proposed', 'accepted', 'rejected', 'needs-work')", name="state"),
        Index(None, "dataset_id", "pair_digest"),
        Index(None, "pair_digest"),
        KEEP_IDS,
    )

    id: Mapped[Id]
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id"))
    pair_digest: Mapped[Digest] = mapped_column(ForeignKey("pair.digest"))
    reviewer: Mapped[str]
    state: Mapped[str]
    reason: Mapped[str]
    created_at: Mapped[datetime]


class Recall(Sealed, Base):
    """A pair or a dataset version was recalled, or (``lifted``) its recall taken back. The newest of each counts."""

    __tablename__ = "recall"
    __table_args__ = (CheckConstraint("(pair_digest IS NULL) != (version_id IS NULL)", name="target"), KEEP_IDS)

    id: Mapped[Id]
    pair_digest: Mapped[Digest | None] = mapped_column(ForeignKey("pair.digest"), index=True)
    version_id: Mapped[int | None] = mapped_column(ForeignKey("dataset_version.id"), index=True)
    lifted: Mapped[bool]
    why: Mapped[str]
    actor: Mapped[str]
    created_at: Mapped[datetime]
