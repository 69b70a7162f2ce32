"""What more is known of a model: its tensors in whatever files, other files that it reads, the adapter on top.

Of a model that was recorded before, its tensors may be filled in once; nothing else of what it is may change.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# Every column that may not change. The folders, which are none of them, say where a model was last seen.
MODEL = (
    "id, name, fingerprint, weights, config, tokenizer, chat_template, files, adapter, architecture, n_layers, "
    "d_model, context_length, quantization, repo_id, revision, created_at"
)


def upgrade() -> None:
    for column in ("tensors", "files", "adapter"):
        op.add_column("model", sa.Column(column, sa.String(71), nullable=True))
    op.add_column("model", sa.Column("adapter_path", sa.Text(), nullable=True))
    sqlite = op.get_bind().dialect.name == "sqlite"
    op.execute(f"DROP TRIGGER keep_model_update{'' if sqlite else ' ON model'}")
    keep("keep_model_update", f"UPDATE OF {MODEL}", "")
    keep("keep_model_tensors_update", "UPDATE OF tensors", "WHEN (OLD.tensors IS NOT NULL)")


def keep(name: str, moment: str, when: str) -> None:
    if op.get_bind().dialect.name == "sqlite":
        body = "BEGIN SELECT RAISE(ABORT, 'model cannot be changed'); END"
    else:
        body = "EXECUTE FUNCTION caa_refuse('cannot be changed')"
    op.execute(f"CREATE TRIGGER {name} BEFORE {moment} ON model FOR EACH ROW {when} {body}")
