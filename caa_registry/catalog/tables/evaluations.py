"""What was planned and measured: plans, evaluations and their scores, answers that were generated and their ratings."""

from datetime import datetime

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from caa_registry.catalog.base import KEEP_IDS, Base, Digest, Id, JsonObject
from caa_registry.catalog.integrity.row_digests import Sealed
from caa_registry.catalog.tables import vectors  # noqa: F401 - what its keys refer to


class Plan(Sealed, Base):
    """What is to be measured of a vector and what must come of it, said before it is measured. ``terms``: all of that,
    which ``digest`` covers."""

    __tablename__ = "plan"
    __table_args__ = (KEEP_IDS,)

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(unique=True)
    digest: Mapped[Digest] = mapped_column(unique=True)
    terms: Mapped[JsonObject]
    actor: Mapped[str]
    created_at: Mapped[datetime]


class Evaluation(Sealed, Base):
    """One measurement of a vector version on a dataset version, or on text that is none. Its figures are the rows of
    ``score``; the items they were made of are the blob ``measurements``, or the rows of ``response``."""

    __tablename__ = "evaluation"
    __table_args__ = (KEEP_IDS,)

    id: Mapped[Id]
    kind: Mapped[str]
    vector_version_id: Mapped[int] = mapped_column(ForeignKey("vector_version.id"), index=True)
    dataset_version_id: Mapped[int | None] = mapped_column(ForeignKey("dataset_version.id"), index=True)
    split: Mapped[str]
    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"), index=True)
    metric: Mapped[str]
    positions: Mapped[str]
    template: Mapped[str]
    parameters: Mapped[JsonObject]
    measurements: Mapped[Digest | None] = mapped_column(index=True)
    scores_digest: Mapped[Digest | None]
    responses_digest: Mapped[Digest | None]
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]


class Score(Base):
    """One figure with its interval and the number of items behind it: of the vector, a baseline or a control
    (``condition``), at a multiplier or of a whole layer."""

    __tablename__ = "score"
    __table_args__ = (UniqueConstraint("evaluation_id", "condition", "layer", "multiplier", "metric"),)

    evaluation_id: Mapped[int] = mapped_column(ForeignKey("evaluation.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    condition: Mapped[str]
    layer: Mapped[int]
    multiplier: Mapped[float | None]
    metric: Mapped[str]
    value: Mapped[float]
    ci_low: Mapped[float | None]
    ci_high: Mapped[float | None]
    n: Mapped[int]


class Response(Base):
    """One generated answer: to which question of the split (counted from 0), at which multiplier, why it ended, and how
    coherent it is."""

    __tablename__ = "response"

    evaluation_id: Mapped[int] = mapped_column(ForeignKey("evaluation.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    question: Mapped[int]
    multiplier: Mapped[float]
    text: Mapped[str]
    finish: Mapped[str]
    coherence: Mapped[JsonObject]


class Judgement(Sealed, Base):
    """One pass of one judge over the answers of an evaluation."""

    __tablename__ = "judgement"
    __table_args__ = (KEEP_IDS,)

    id: Mapped[Id]
    evaluation_id: Mapped[int] = mapped_column(ForeignKey("evaluation.id"), index=True)
    judge: Mapped[JsonObject]
    judge_digest: Mapped[Digest]
    ratings_digest: Mapped[Digest | None]
    created_at: Mapped[datetime]


class Rating(Base):
    """What a judge said of the answer at ``position``; ``value`` is missing where that was no rating."""

    __tablename__ = "rating"

    judgement_id: Mapped[int] = mapped_column(ForeignKey("judgement.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    evaluation_id: Mapped[int] = mapped_column(ForeignKey("evaluation.id"), index=True)
    value: Mapped[float | None]
    reply: Mapped[str]
