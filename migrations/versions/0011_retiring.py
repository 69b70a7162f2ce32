"""What is retired: versions that are deprecated, and when a blob was last stored, so that bytes which somebody is about
to use are not collected as unused."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)

# What of a blob may not change. The moment may: storing the same bytes again moves it.
FIXED = "digest, size, data"


def upgrade() -> None:
    op.add_column("blob", sa.Column("stored_at", MOMENT, nullable=True))
    drop_trigger("blob", "update")
    keep("blob", f"UPDATE OF {FIXED}", "cannot be changed")
    op.create_table(
        "deprecation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_version_id", sa.Integer(), nullable=True),
        sa.Column("vector_version_id", sa.Integer(), nullable=True),
        sa.Column("lifted", sa.Boolean(), nullable=False),
        sa.Column("successor", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("row_digest", sa.String(71), nullable=True),
        sa.Column("unchecked_before", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deprecation")),
        sa.ForeignKeyConstraint(
            ["dataset_version_id"],
            ["dataset_version.id"],
            name=op.f("fk_deprecation_dataset_version_id_dataset_version"),
        ),
        sa.ForeignKeyConstraint(
            ["vector_version_id"], ["vector_version.id"], name=op.f("fk_deprecation_vector_version_id_vector_version")
        ),
        sa.CheckConstraint(
            "(dataset_version_id IS NULL) != (vector_version_id IS NULL)", name=op.f("ck_deprecation_target")
        ),
        sqlite_autoincrement=True,
    )
    for column in ("dataset_version_id", "vector_version_id"):
        op.create_index(op.f(f"ix_deprecation_{column}"), "deprecation", [column])
    keep("deprecation", "UPDATE", "cannot be changed")
    keep("deprecation", "DELETE", "is append-only")


def drop_trigger(table: str, action: str) -> None:
    where = "" if op.get_bind().dialect.name == "sqlite" else f" ON {table}"
    op.execute(f"DROP TRIGGER keep_{table}_{action}{where}")


def keep(table: str, moment: str, message: str) -> None:
    """Forbid a change. The function on PostgreSQL is that of revision 0002."""
    if op.get_bind().dialect.name == "sqlite":
        body = f"BEGIN SELECT RAISE(ABORT, '{table} {message}'); END"
    else:
        body = f"EXECUTE FUNCTION caa_refuse('{message}')"
    action = moment.split()[0].lower()
    op.execute(f"CREATE TRIGGER keep_{table}_{action} BEFORE {moment} ON {table} FOR EACH ROW {body}")
