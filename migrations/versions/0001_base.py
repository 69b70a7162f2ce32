"""The first tables: pairs, datasets, models, vectors, evaluations, lineage, aliases, audit, blobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

DIGEST = sa.String(71)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
MOMENT = sa.DateTime(timezone=True)


def text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def integer(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=nullable)


def digest(name: str) -> sa.Column[str]:
    return sa.Column(name, DIGEST, nullable=False)


def moment(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, MOMENT, nullable=nullable)


def json(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, JSON, nullable=nullable)


def real(name: str, *, nullable: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Double(), nullable=nullable)


def key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=op.f(f"pk_{table}"))


def unique(table: str, *columns: str) -> sa.UniqueConstraint:
    return sa.UniqueConstraint(*columns, name=op.f(f"uq_{table}_{'_'.join(columns)}"))


def check(table: str, name: str, condition: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=op.f(f"ck_{table}_{name}"))


def refers(table: str, column: str, target: str, target_column: str = "id") -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{target}.{target_column}"], name=op.f(f"fk_{table}_{column}_{target}"))


def index(table: str, *columns: str) -> None:
    op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, list(columns))


def upgrade() -> None:
    create_datasets()
    create_vectors()
    create_evaluations()
    create_lineage()
    create_storage()


def create_datasets() -> None:
    op.create_table(
        "pair",
        digest("digest"),
        text("prompt"),
        text("positive"),
        text("negative"),
        text("system"),
        key("pair", "digest"),
    )
    op.create_table(
        "dataset",
        integer("id"),
        text("name"),
        text("kind"),
        moment("created_at"),
        key("dataset", "id"),
        unique("dataset", "name"),
        check("dataset", "kind", "kind IN ('pairs', 'questions')"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "dataset_version",
        integer("id"),
        integer("dataset_id"),
        integer("number"),
        digest("digest"),
        integer("parent_id", nullable=True),
        text("message"),
        json("source"),
        text("licence"),
        integer("n_items"),
        moment("created_at"),
        moment("deleted_at", nullable=True),
        key("dataset_version", "id"),
        unique("dataset_version", "dataset_id", "number"),
        unique("dataset_version", "dataset_id", "digest"),
        check("dataset_version", "number", "number >= 1"),
        check("dataset_version", "n_items", "n_items >= 0"),
        refers("dataset_version", "dataset_id", "dataset"),
        refers("dataset_version", "parent_id", "dataset_version"),
        sqlite_autoincrement=True,
    )
    index("dataset_version", "parent_id")
    op.create_table(
        "dataset_member",
        integer("version_id"),
        integer("position"),
        digest("pair_digest"),
        text("split"),
        json("metadata"),
        key("dataset_member", "version_id", "position"),
        check("dataset_member", "position", "position >= 0"),
        refers("dataset_member", "version_id", "dataset_version"),
        refers("dataset_member", "pair_digest", "pair", "digest"),
    )
    index("dataset_member", "pair_digest")
    op.create_table(
        "dataset_question",
        integer("version_id"),
        integer("position"),
        text("split"),
        text("text"),
        json("metadata"),
        key("dataset_question", "version_id", "position"),
        check("dataset_question", "position", "position >= 0"),
        refers("dataset_question", "version_id", "dataset_version"),
    )


def create_vectors() -> None:
    op.create_table(
        "model",
        integer("id"),
        text("name"),
        digest("fingerprint"),
        digest("weights"),
        digest("config"),
        digest("tokenizer"),
        digest("chat_template"),
        text("architecture"),
        integer("n_layers"),
        integer("d_model"),
        integer("context_length", nullable=True),
        json("quantization"),
        sa.Column("repo_id", sa.Text(), nullable=True),
        sa.Column("revision", sa.String(40), nullable=True),
        sa.Column("path", sa.Text(), nullable=True),
        moment("created_at"),
        key("model", "id"),
        unique("model", "fingerprint"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "vector",
        integer("id"),
        text("name"),
        moment("created_at"),
        key("vector", "id"),
        unique("vector", "name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "vector_version",
        integer("id"),
        integer("vector_id"),
        integer("number"),
        digest("digest"),
        digest("tensor_digest"),
        integer("dataset_version_id"),
        integer("model_id"),
        json("recipe"),
        digest("blob_digest"),
        integer("d_model"),
        moment("created_at"),
        moment("deleted_at", nullable=True),
        key("vector_version", "id"),
        unique("vector_version", "vector_id", "number"),
        unique("vector_version", "vector_id", "digest"),
        check("vector_version", "number", "number >= 1"),
        refers("vector_version", "vector_id", "vector"),
        refers("vector_version", "dataset_version_id", "dataset_version"),
        refers("vector_version", "model_id", "model"),
        sqlite_autoincrement=True,
    )
    for column in ("tensor_digest", "dataset_version_id", "model_id", "blob_digest"):
        index("vector_version", column)
    op.create_table(
        "vector_layer",
        integer("version_id"),
        integer("layer"),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("nbytes", sa.BigInteger(), nullable=False),
        digest("sha256"),
        real("norm"),
        real("residual_norm", nullable=True),
        key("vector_layer", "version_id", "layer"),
        check("vector_layer", "layer", "layer >= 0"),
        check("vector_layer", "range", '"offset" >= 0 AND nbytes >= 0'),
        refers("vector_layer", "version_id", "vector_version"),
    )


def create_evaluations() -> None:
    op.create_table(
        "evaluation",
        integer("id"),
        integer("vector_version_id"),
        integer("dataset_version_id"),
        text("split"),
        integer("model_id"),
        text("metric"),
        text("positions"),
        text("template"),
        json("parameters"),
        moment("created_at"),
        moment("deleted_at", nullable=True),
        key("evaluation", "id"),
        refers("evaluation", "vector_version_id", "vector_version"),
        refers("evaluation", "dataset_version_id", "dataset_version"),
        refers("evaluation", "model_id", "model"),
        sqlite_autoincrement=True,
    )
    for column in ("vector_version_id", "dataset_version_id", "model_id"):
        index("evaluation", column)
    op.create_table(
        "score",
        integer("evaluation_id"),
        integer("position"),
        integer("layer"),
        real("multiplier"),
        text("metric"),
        real("value"),
        real("ci_low", nullable=True),
        real("ci_high", nullable=True),
        integer("n"),
        key("score", "evaluation_id", "position"),
        unique("score", "evaluation_id", "layer", "multiplier", "metric"),
        refers("score", "evaluation_id", "evaluation"),
    )


def create_lineage() -> None:
    op.create_table(
        "run",
        integer("id"),
        text("kind"),
        json("parameters"),
        json("environment"),
        text("actor"),
        moment("started_at"),
        moment("finished_at"),
        key("run", "id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "run_io",
        integer("run_id"),
        sa.Column("direction", sa.String(6), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        integer("object_id"),
        text("role"),
        key("run_io", "run_id", "direction", "kind", "object_id", "role"),
        check("run_io", "direction", "direction IN ('input', 'output')"),
        check("run_io", "kind", "kind IN ('dataset', 'model', 'vector', 'evaluation')"),
        refers("run_io", "run_id", "run"),
    )
    index("run_io", "kind", "object_id")
    op.create_table(
        "alias",
        integer("id"),
        text("kind"),
        integer("owner_id"),
        text("name"),
        integer("dataset_version_id", nullable=True),
        integer("vector_version_id", nullable=True),
        json("recommendation", nullable=True),
        moment("updated_at"),
        key("alias", "id"),
        unique("alias", "kind", "owner_id", "name"),
        check(
            "alias",
            "target",
            "(kind = 'dataset' AND dataset_version_id IS NOT NULL AND vector_version_id IS NULL) OR "
            "(kind = 'vector' AND vector_version_id IS NOT NULL AND dataset_version_id IS NULL)",
        ),
        refers("alias", "dataset_version_id", "dataset_version"),
        refers("alias", "vector_version_id", "vector_version"),
        sqlite_autoincrement=True,
    )
    index("alias", "dataset_version_id")
    index("alias", "vector_version_id")


def create_storage() -> None:
    op.create_table(
        "event",
        integer("id"),
        moment("at"),
        text("actor"),
        text("action"),
        json("subject"),
        text("previous"),
        digest("digest"),
        key("event", "id"),
        unique("event", "digest"),
        unique("event", "previous"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "blob",
        digest("digest"),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        key("blob", "digest"),
    )
    if op.get_bind().dialect.name == "postgresql":
        # Uncompressed, so that a range read fetches only the pieces it needs.
        op.execute("ALTER TABLE blob ALTER COLUMN data SET STORAGE EXTERNAL")
    op.create_table("meta", text("key"), text("value"), key("meta", "key"))
