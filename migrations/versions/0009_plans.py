"""Plans: what is to be measured, stored before it is. They are read by runs, as datasets and vectors are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")
MOMENT = sa.DateTime(timezone=True)

KIND = "kind IN ('dataset', 'model', 'vector', 'evaluation', 'plan')"


def upgrade() -> None:
    op.create_table(
        "plan",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("terms", JSON, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("row_digest", sa.String(71), nullable=True),
        sa.Column("unchecked_before", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plan")),
        sa.UniqueConstraint("name", name=op.f("uq_plan_name")),
        sa.UniqueConstraint("digest", name=op.f("uq_plan_digest")),
        sqlite_autoincrement=True,
    )
    keep("UPDATE", "cannot be changed")
    keep("DELETE", "is append-only")
    widen_runs()


def widen_runs() -> None:
    if op.get_bind().dialect.name != "sqlite":
        op.drop_constraint(op.f("ck_run_io_kind"), "run_io", type_="check")
        op.create_check_constraint(op.f("ck_run_io_kind"), "run_io", KIND)
        return
    # A table that is made anew loses its triggers.
    query = sa.text("SELECT sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'run_io'")
    triggers = list(op.get_bind().execute(query).scalars())
    with op.batch_alter_table("run_io", recreate="always") as run_io:
        run_io.drop_constraint(op.f("ck_run_io_kind"), type_="check")
        run_io.create_check_constraint(op.f("ck_run_io_kind"), KIND)
    for statement in triggers:
        op.execute(statement)


def keep(action: str, message: str) -> None:
    """Forbid a change. The function on PostgreSQL is that of revision 0002."""
    if op.get_bind().dialect.name == "sqlite":
        body = f"BEGIN SELECT RAISE(ABORT, 'plan {message}'); END"
    else:
        body = f"EXECUTE FUNCTION caa_refuse('{message}')"
    op.execute(f"CREATE TRIGGER keep_plan_{action.lower()} BEFORE {action} ON plan FOR EACH ROW {body}")
