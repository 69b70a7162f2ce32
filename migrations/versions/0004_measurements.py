"""What evaluations are made of: scores of controls and baselines, items, generated answers and their ratings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")
MOMENT = sa.DateTime(timezone=True)

UNIQUE = "uq_score_evaluation_id_condition_layer_multiplier_metric"
OLD_UNIQUE = "uq_score_evaluation_id_layer_multiplier_metric"
COLUMNS = ["evaluation_id", "condition", "layer", "multiplier", "metric"]

# Every column of an evaluation that may not change.
EVALUATION = (
    "id, kind, vector_version_id, dataset_version_id, split, model_id, metric, positions, template, parameters, "
    "measurements, created_at"
)


def upgrade() -> None:
    sqlite = op.get_bind().dialect.name == "sqlite"
    # A table that is made anew loses its triggers.
    triggers = [*triggers_of("score"), *triggers_of("evaluation")] if sqlite else []
    change_scores()
    change_evaluations()
    for statement in triggers:
        op.execute(statement)
    op.execute("DROP TRIGGER keep_evaluation_update" + ("" if sqlite else " ON evaluation"))
    keep("evaluation", f"UPDATE OF {EVALUATION}", "cannot be changed")
    create_responses()
    for table in ("response", "judgement", "rating"):
        keep(table, "UPDATE", "cannot be changed")
        keep_unless_deleted(table)


def triggers_of(table: str) -> list[str]:
    query = sa.text("SELECT sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :table")
    return list(op.get_bind().execute(query, {"table": table}).scalars())


def change_scores() -> None:
    with op.batch_alter_table("score") as score:
        score.add_column(sa.Column("condition", sa.Text(), nullable=False, server_default="vector"))
        score.alter_column("multiplier", existing_type=sa.Double(), nullable=True)
        score.drop_constraint(op.f(OLD_UNIQUE), type_="unique")
        score.create_unique_constraint(op.f(UNIQUE), COLUMNS)
    with op.batch_alter_table("score") as score:
        score.alter_column("condition", existing_type=sa.Text(), server_default=None)


def change_evaluations() -> None:
    with op.batch_alter_table("evaluation") as evaluation:
        evaluation.add_column(sa.Column("kind", sa.Text(), nullable=False, server_default="propensity"))
        evaluation.add_column(sa.Column("measurements", sa.String(71), nullable=True))
        # Side effects are measured on text that is no dataset.
        evaluation.alter_column("dataset_version_id", existing_type=sa.Integer(), nullable=True)
    with op.batch_alter_table("evaluation") as evaluation:
        evaluation.alter_column("kind", existing_type=sa.Text(), server_default=None)
        evaluation.create_index(op.f("ix_evaluation_measurements"), ["measurements"])


def create_responses() -> None:
    op.create_table(
        "response",
        sa.Column("evaluation_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("question", sa.Integer(), nullable=False),
        sa.Column("multiplier", sa.Double(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("finish", sa.Text(), nullable=False),
        sa.Column("coherence", JSON, nullable=False),
        sa.PrimaryKeyConstraint("evaluation_id", "position", name=op.f("pk_response")),
        refers("response", "evaluation"),
    )
    op.create_table(
        "judgement",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("evaluation_id", sa.Integer(), nullable=False),
        sa.Column("judge", JSON, nullable=False),
        sa.Column("judge_digest", sa.String(71), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_judgement")),
        refers("judgement", "evaluation"),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_judgement_evaluation_id"), "judgement", ["evaluation_id"])
    op.create_table(
        "rating",
        sa.Column("judgement_id", sa.Integer(), nullable=False),
        sa.Column("evaluation_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("reply", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("judgement_id", "position", name=op.f("pk_rating")),
        refers("rating", "judgement"),
        refers("rating", "evaluation"),
    )
    op.create_index(op.f("ix_rating_evaluation_id"), "rating", ["evaluation_id"])


def refers(table: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([f"{target}_id"], [f"{target}.id"], name=op.f(f"fk_{table}_{target}_id_{target}"))


def keep(table: str, moment: str, message: str) -> None:
    """Forbid to change a table. The functions on PostgreSQL are those of revision 0002."""
    action = moment.split()[0].lower()
    if op.get_bind().dialect.name == "sqlite":
        body = f"BEGIN SELECT RAISE(ABORT, '{table} {message}'); END"
    else:
        body = f"EXECUTE FUNCTION caa_refuse('{message}')"
    op.execute(f"CREATE TRIGGER keep_{table}_{action} BEFORE {moment} ON {table} FOR EACH ROW {body}")


def keep_unless_deleted(table: str) -> None:
    """Forbid to delete what belongs to an evaluation that is not marked deleted."""
    if op.get_bind().dialect.name == "sqlite":
        when = "WHEN (SELECT deleted_at FROM evaluation WHERE id = OLD.evaluation_id) IS NULL "
        message = f"{table} belongs to a evaluation that is not marked deleted"
        body = f"{when}BEGIN SELECT RAISE(ABORT, '{message}'); END"
    else:
        body = "EXECUTE FUNCTION caa_refuse_unless_parent_marked('evaluation', 'evaluation_id')"
    op.execute(f"CREATE TRIGGER keep_{table}_delete BEFORE DELETE ON {table} FOR EACH ROW {body}")
