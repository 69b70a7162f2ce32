"""Models, and the vectors that were computed on them."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from caa_registry.catalog.base import KEEP_IDS, Base, CheckedBigInteger, CheckedString, Digest, Id, JsonObject
from caa_registry.catalog.integrity.row_digests import Sealed
from caa_registry.catalog.tables import pairs  # noqa: F401 - what its keys refer to


class Model(Sealed, Base):
    """The identity of a model: the parts of its fingerprint, its shape and where it came from."""

    __tablename__ = "model"
    __movable__ = frozenset({"tensors", "path", "adapter_path"})
    __table_args__ = (UniqueConstraint("fingerprint"), KEEP_IDS)

    id: Mapped[Id]
    name: Mapped[str]
    fingerprint: Mapped[Digest]
    weights: Mapped[Digest]
    config: Mapped[Digest]
    tokenizer: Mapped[Digest]
    chat_template: Mapped[Digest]
    tensors: Mapped[Digest | None]
    files: Mapped[Digest | None]
    adapter: Mapped[Digest | None]
    architecture: Mapped[str]
    n_layers: Mapped[int]
    d_model: Mapped[int]
    context_length: Mapped[int | None]
    quantization: Mapped[JsonObject] = mapped_column(default=dict)
    repo_id: Mapped[str | None]
    revision: Mapped[str | None] = mapped_column(CheckedString(40))
    path: Mapped[str | None]
    adapter_path: Mapped[str | None]
    created_at: Mapped[datetime]


class Vector(Sealed, Base):
    """The name of a steering vector, and what it is in a text. Both may change."""

    __tablename__ = "vector"
    __table_args__ = (UniqueConstraint("name"), KEEP_IDS)

    id: Mapped[Id]
    name: Mapped[str]
    description: Mapped[str | None]
    created_at: Mapped[datetime]


class VectorVersion(Sealed, Base):
    """One immutable set of directions, one per layer. Its bytes are the blob ``blob_digest``.

    That is no foreign key, because blobs may live outside the database. One that was computed from pairs has their
    dataset, its model and its recipe. Any other has an ``origin``, and a model only where somebody said which.
    """

    __tablename__ = "vector_version"
    __table_args__ = (
        UniqueConstraint("vector_id", "number"),
        UniqueConstraint("vector_id", "digest"),
        CheckConstraint("number >= 1", name="number"),
        CheckConstraint(
            "(origin IS NULL AND recipe IS NOT NULL AND dataset_version_id IS NOT NULL AND model_id IS NOT NULL) OR "
            "(origin IS NOT NULL AND recipe IS NULL AND dataset_version_id IS NULL)",
            name="origin",
        ),
        KEEP_IDS,
    )

    id: Mapped[Id]
    vector_id: Mapped[int] = mapped_column(ForeignKey("vector.id"))
    number: Mapped[int]
    digest: Mapped[Digest]
    tensor_digest: Mapped[Digest] = mapped_column(index=True)
    dataset_version_id: Mapped[int | None] = mapped_column(ForeignKey("dataset_version.id"), index=True)
    model_id: Mapped[int | None] = mapped_column(ForeignKey("model.id"), index=True)
    recipe: Mapped[JsonObject | None]
    origin: Mapped[JsonObject | None]
    blob_digest: Mapped[Digest] = mapped_column(index=True)
    d_model: Mapped[int]
    layers_digest: Mapped[Digest | None]
    message: Mapped[str | None]
    actor: Mapped[str | None]
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]


class VectorLayer(Base):
    """Where one layer's float32 bytes lie in the blob, their own digest, their size beside the stream's, and how far
    to trust them (``quality``, absent where that was not measured)."""

    __tablename__ = "vector_layer"
    __table_args__ = (
        CheckConstraint("layer >= 0", name="layer"),
        CheckConstraint('"offset" >= 0 AND nbytes >= 0', name="range"),
    )

    version_id: Mapped[int] = mapped_column(ForeignKey("vector_version.id"), primary_key=True)
    layer: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    offset: Mapped[int] = mapped_column(CheckedBigInteger)
    nbytes: Mapped[int] = mapped_column(CheckedBigInteger)
    sha256: Mapped[Digest]
    norm: Mapped[float]
    residual_norm: Mapped[float | None]
    quality: Mapped[JsonObject | None]
