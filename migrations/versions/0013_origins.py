"""Vectors that were not computed from pairs of the registry: they come from a file or from other vectors, which
``origin`` says. They have no dataset and no recipe, and a model only where somebody said which.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")
TABLE = "vector_version"
OPTIONAL = {"dataset_version_id": sa.Integer(), "model_id": sa.Integer(), "recipe": JSON}
NUMBER = "number >= 1"
ORIGIN = (
    "(origin IS NULL AND recipe IS NOT NULL AND dataset_version_id IS NOT NULL AND model_id IS NOT NULL) OR "
    "(origin IS NOT NULL AND recipe IS NULL AND dataset_version_id IS NULL)"
)
# Every column that may not change.
FIXED = (
    "id, vector_id, number, digest, tensor_digest, dataset_version_id, model_id, recipe, origin, blob_digest, d_model, "
    "layers_digest, row_digest, unchecked_before, created_at"
)


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        make_anew()
    else:
        op.add_column(TABLE, sa.Column("origin", JSON, nullable=True))
        for column, kind in OPTIONAL.items():
            op.alter_column(TABLE, column, existing_type=kind, nullable=True)
        op.create_check_constraint(op.f("ck_vector_version_origin"), TABLE, ORIGIN)
    where = "" if op.get_bind().dialect.name == "sqlite" else f" ON {TABLE}"
    op.execute(f"DROP TRIGGER keep_{TABLE}_update{where}")
    if op.get_bind().dialect.name == "sqlite":
        body = f"BEGIN SELECT RAISE(ABORT, '{TABLE} cannot be changed'); END"
    else:
        body = "EXECUTE FUNCTION caa_refuse('cannot be changed')"
    op.execute(f"CREATE TRIGGER keep_{TABLE}_update BEFORE UPDATE OF {FIXED} ON {TABLE} FOR EACH ROW {body}")


def make_anew() -> None:
    """SQLite changes no column of a table that there is. The new one keeps the triggers, those of other tables that
    look into it, and the numbers that were given."""
    bind = op.get_bind()
    triggers = bind.execute(
        sa.text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND sql LIKE '%vector_version%'")
    ).all()
    last = bind.scalar(sa.text("SELECT seq FROM sqlite_sequence WHERE name = 'vector_version'"))
    for name, _ in triggers:
        op.execute(f"DROP TRIGGER {name}")
    with op.batch_alter_table(TABLE, recreate="always", table_kwargs={"sqlite_autoincrement": True}) as version:
        version.add_column(sa.Column("origin", JSON, nullable=True))
        for column, kind in OPTIONAL.items():
            version.alter_column(column, existing_type=kind, nullable=True)
        version.create_check_constraint(op.f("ck_vector_version_origin"), ORIGIN)
    if last is not None:
        bind.execute(sa.text("UPDATE sqlite_sequence SET seq = :last WHERE name = 'vector_version'"), {"last": last})
    for _, statement in triggers:
        op.execute(statement)
