"""When a blob was last stored, so that bytes which somebody is about to use are not collected as unused."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# What may not change. The moment may: storing the same bytes again moves it.
FIXED = "digest, size, data"


def upgrade() -> None:
    op.add_column("blob", sa.Column("stored_at", sa.DateTime(timezone=True), nullable=True))
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER keep_blob_update")
        body = "BEGIN SELECT RAISE(ABORT, 'blob cannot be changed'); END"
    else:
        op.execute("DROP TRIGGER keep_blob_update ON blob")
        body = "EXECUTE FUNCTION caa_refuse('cannot be changed')"
    op.execute(f"CREATE TRIGGER keep_blob_update BEFORE UPDATE OF {FIXED} ON blob FOR EACH ROW {body}")
