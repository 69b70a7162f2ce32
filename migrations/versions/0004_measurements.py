"""Scores of controls and baselines, and of whole layers, beside the vector's own; and the items they are made of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

UNIQUE = "uq_score_evaluation_id_condition_layer_multiplier_metric"
OLD_UNIQUE = "uq_score_evaluation_id_layer_multiplier_metric"
COLUMNS = ["evaluation_id", "condition", "layer", "multiplier", "metric"]

# Every column of an evaluation that may not change.
EVALUATION = (
    "id, vector_version_id, dataset_version_id, split, model_id, metric, positions, template, parameters, "
    "measurements, created_at"
)


def upgrade() -> None:
    sqlite = op.get_bind().dialect.name == "sqlite"
    # A table that is made anew loses its triggers.
    triggers = [
        sql
        for (sql,) in (
            op.get_bind()
            .exec_driver_sql("SELECT sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'score'")
            .fetchall()
            if sqlite
            else []
        )
    ]
    with op.batch_alter_table("score") as score:
        score.add_column(sa.Column("condition", sa.Text(), nullable=False, server_default="vector"))
        score.alter_column("multiplier", existing_type=sa.Double(), nullable=True)
        score.drop_constraint(op.f(OLD_UNIQUE), type_="unique")
        score.create_unique_constraint(op.f(UNIQUE), COLUMNS)
    with op.batch_alter_table("score") as score:
        score.alter_column("condition", existing_type=sa.Text(), server_default=None)
    for statement in triggers:
        op.execute(statement)
    op.add_column("evaluation", sa.Column("measurements", sa.String(71), nullable=True))
    op.create_index(op.f("ix_evaluation_measurements"), "evaluation", ["measurements"])
    if sqlite:
        op.execute("DROP TRIGGER keep_evaluation_update")
        op.execute(
            f"CREATE TRIGGER keep_evaluation_update BEFORE UPDATE OF {EVALUATION} ON evaluation FOR EACH ROW "
            "BEGIN SELECT RAISE(ABORT, 'evaluation cannot be changed'); END"
        )
    else:
        op.execute("DROP TRIGGER keep_evaluation_update ON evaluation")
        op.execute(
            f"CREATE TRIGGER keep_evaluation_update BEFORE UPDATE OF {EVALUATION} ON evaluation FOR EACH ROW "
            "EXECUTE FUNCTION caa_refuse('cannot be changed')"
        )
