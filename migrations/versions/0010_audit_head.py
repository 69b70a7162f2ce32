"""The head of the audit: the digest of the last event, kept apart from the events, so that some that are cut off from
the end are missed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

EVENT = sa.table("event", sa.column("id"), sa.column("digest"))
META = sa.table("meta", sa.column("key"), sa.column("value"))


def upgrade() -> None:
    connection = op.get_bind()
    last = connection.scalar(sa.select(EVENT.c.digest).order_by(EVENT.c.id.desc()).limit(1))
    if last is not None:
        connection.execute(sa.insert(META).values(key="audit_head", value=last))
