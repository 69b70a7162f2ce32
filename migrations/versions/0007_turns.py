"""What was said before a pair's prompt: the earlier turns of a conversation, null where there are none.

The trigger that keeps pairs as they are names no column, so that it keeps this one too.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("pair", sa.Column("turns", JSON, nullable=True))
