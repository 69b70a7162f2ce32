"""Runs that failed, digests of what runs read and made, signatures, and vectors and evaluations quarantined by hand.

The arrows of runs had no digest. They get one of what is there; the digest of a run that was changed still does
not fit.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from caa_registry.catalog.integrity.row_digests import digest_of_row, digest_of_rows

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")
MOMENT = sa.DateTime(timezone=True)
AT_ONCE = 1000


def upgrade() -> None:
    op.add_column("run", sa.Column("failure", sa.Text(), nullable=True))
    op.add_column("run", sa.Column("arrows_digest", sa.String(71), nullable=True))
    seal_arrows()
    create("quarantine", ("vector_version", "evaluation"), "(vector_version_id IS NULL) != (evaluation_id IS NULL)")
    create(
        "signature",
        ("dataset_version", "vector_version", "evaluation"),
        "(dataset_version_id IS NULL AND (vector_version_id IS NULL) != (evaluation_id IS NULL)) OR "
        "(dataset_version_id IS NOT NULL AND vector_version_id IS NULL AND evaluation_id IS NULL)",
    )


def create(table: str, targets: tuple[str, ...], check: str) -> None:
    """A table that is only added to, each row of which is about one of ``targets``."""
    said: dict[str, list[sa.Column[Any]]] = {
        "quarantine": [
            sa.Column("lifted", sa.Boolean(), nullable=False),
            sa.Column("why", sa.Text(), nullable=False),
        ],
        "signature": [
            sa.Column("alias", sa.Text(), nullable=False),
            sa.Column("key", sa.String(71), nullable=False),
            sa.Column("envelope", JSON, nullable=False),
        ],
    }
    op.create_table(
        table,
        sa.Column("id", sa.Integer(), nullable=False),
        *(sa.Column(f"{target}_id", sa.Integer(), nullable=True) for target in targets),
        *said[table],
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("row_digest", sa.String(71), nullable=True),
        sa.Column("unchecked_before", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        *(
            sa.ForeignKeyConstraint([f"{target}_id"], [f"{target}.id"], name=op.f(f"fk_{table}_{target}_id_{target}"))
            for target in targets
        ),
        sa.CheckConstraint(check, name=op.f(f"ck_{table}_target")),
        sqlite_autoincrement=True,
    )
    for target in targets:
        op.create_index(op.f(f"ix_{table}_{target}_id"), table, [f"{target}_id"])
    keep(table, "UPDATE", "cannot be changed")
    keep(table, "DELETE", "is append-only")


def seal_arrows() -> None:
    bind = op.get_bind()
    where = "" if bind.dialect.name == "sqlite" else " ON run"
    op.execute(f"DROP TRIGGER keep_run_update{where}")
    arrows: dict[int, list[tuple[Any, ...]]] = {}
    for run, *arrow in bind.execute(sa.text("SELECT run_id, direction, kind, object_id, role FROM run_io")):
        arrows.setdefault(run, []).append(tuple(arrow))
    update = sa.text("UPDATE run SET arrows_digest = :arrows, row_digest = :whole WHERE id = :run")
    runs = bind.execute(sa.text("SELECT * FROM run ORDER BY id")).mappings().all()
    for first in range(0, len(runs), AT_ONCE):
        changes = [change(row, arrows) for row in runs[first : first + AT_ONCE] if row["id"] in arrows]
        if changes:
            bind.execute(update, changes)
    keep("run", "UPDATE", "cannot be changed")


def change(row: sa.RowMapping, arrows: dict[int, list[tuple[Any, ...]]]) -> dict[str, Any]:
    """The digests of a run with those of its arrows; the row's stays as it is where it did not fit before."""
    cells = dict(row)
    try:
        for name in ("parameters", "environment"):
            cells[name] = json.loads(cells[name]) if isinstance(cells[name], str) else cells[name]
        for name in ("started_at", "finished_at"):
            if isinstance(cells[name], str):
                cells[name] = datetime.fromisoformat(cells[name]).replace(tzinfo=UTC)
        digest = digest_of_rows("run_io", sorted(arrows[row["id"]]))
        fits = cells["row_digest"] is not None and digest_of_row("run", cells) == cells["row_digest"]
    except (ValueError, TypeError, RecursionError):
        return {"run": row["id"], "arrows": None, "whole": row["row_digest"]}
    whole = digest_of_row("run", {**cells, "arrows_digest": digest}) if fits else row["row_digest"]
    return {"run": row["id"], "arrows": digest, "whole": whole}


def keep(table: str, moment: str, message: str) -> None:
    """Forbid a change. The function on PostgreSQL is that of revision 0002."""
    if op.get_bind().dialect.name == "sqlite":
        body = f"BEGIN SELECT RAISE(ABORT, '{table} {message}'); END"
    else:
        body = f"EXECUTE FUNCTION caa_refuse('{message}')"
    action = moment.split()[0].lower()
    op.execute(f"CREATE TRIGGER keep_{table}_{action} BEFORE {moment} ON {table} FOR EACH ROW {body}")
