"""What is said of versions later: tags, descriptions, amended licences and behaviors, messages of vectors, protected
aliases; who made a version; and an index of words to search, made of what is there.

Who made the versions that there are is taken from their runs, and their digests are made anew where they fit. The
names of datasets and vectors may change, and nothing else of their rows but the description.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from caa_registry.catalog.integrity.row_digests import digest_of_row
from caa_registry.catalog.search.words import indexed

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
AT_ONCE = 1000
TARGETS = ("dataset_version", "vector_version")

# Every column of a version that may not change.
FIXED = {
    "dataset_version": (
        "id, dataset_id, number, digest, parent_id, message, source, licence, n_items, statistics, items_digest, "
        "actor, row_digest, unchecked_before, created_at"
    ),
    "vector_version": (
        "id, vector_id, number, digest, tensor_digest, dataset_version_id, model_id, recipe, origin, blob_digest, "
        "d_model, layers_digest, message, actor, row_digest, unchecked_before, created_at"
    ),
}
JSON = ("source", "statistics", "recipe", "origin")
NAMES = {"dataset": "id, kind, unchecked_before, created_at", "vector": "id, unchecked_before, created_at"}


def upgrade() -> None:
    for table in NAMES:
        op.add_column(table, sa.Column("description", sa.Text(), nullable=True))
    op.add_column("alias", sa.Column("protected", sa.Boolean(), nullable=True))
    op.add_column("vector_version", sa.Column("message", sa.Text(), nullable=True))
    for table, columns in FIXED.items():
        op.add_column(table, sa.Column("actor", sa.Text(), nullable=True))
        where = "" if op.get_bind().dialect.name == "sqlite" else f" ON {table}"
        op.execute(f"DROP TRIGGER keep_{table}_update{where}")
        name_makers(table)
        keep(table, f"UPDATE OF {columns}", "cannot be changed")
    for table, columns in NAMES.items():
        keep(table, f"UPDATE OF {columns}", "cannot be changed")
    create("tag", [sa.Column("key", sa.Text(), nullable=False), sa.Column("value", sa.Text(), nullable=False)], ["key"])
    said = [sa.Column("licence", sa.Text(), nullable=True), sa.Column("behavior", sa.Text(), nullable=True)]
    create("amendment", said, [])
    keep("amendment", "DELETE", "is append-only")
    create_search()
    fill_search()


def name_makers(table: str) -> None:
    """Say of the versions that there are who made them, where nothing of them is damaged."""
    bind = op.get_bind()
    kind = table.removesuffix("_version")
    made = sa.text(
        "SELECT io.object_id, run.actor FROM run_io io JOIN run ON run.id = io.run_id "
        "WHERE io.direction = 'output' AND io.kind = :kind ORDER BY io.run_id DESC"
    )
    # The first run of several made it.
    makers = {id: actor for id, actor in bind.execute(made, {"kind": kind}) if isinstance(actor, str)}
    update = sa.text(f"UPDATE {table} SET actor = :actor, row_digest = :digest WHERE id = :row_id")
    versions = bind.execute(sa.text(f"SELECT * FROM {table} ORDER BY id")).mappings().all()
    for first in range(0, len(versions), AT_ONCE):
        changes = []
        for row in versions[first : first + AT_ONCE]:
            digest = digest_with(table, row, makers.get(row["id"]))
            if digest is not None:
                changes.append({"actor": makers[row["id"]], "digest": digest, "row_id": row["id"]})
        if changes:
            bind.execute(update, changes)


def digest_with(table: str, row: sa.RowMapping, actor: str | None) -> str | None:
    """The digest of a version with who made it; ``None`` where nobody is known, or its own does not fit."""
    cells = dict(row)
    try:
        for name in JSON:
            if isinstance(cells.get(name), str):
                cells[name] = json.loads(cells[name])
        if isinstance(cells["created_at"], str):
            cells["created_at"] = datetime.fromisoformat(cells["created_at"]).replace(tzinfo=UTC)
        if actor is None or cells["row_digest"] is None or digest_of_row(table, cells) != cells["row_digest"]:
            return None
        return digest_of_row(table, {**cells, "actor": actor})
    except (ValueError, TypeError, RecursionError):
        return None


def create(table: str, said: list[sa.Column[Any]], unique: list[str]) -> None:
    """A table each row of which is about one version, which does not change."""
    of_one = "(dataset_version_id IS NULL) != (vector_version_id IS NULL)"
    checks = [sa.CheckConstraint(of_one, name=op.f(f"ck_{table}_target"))]
    if table == "amendment":
        of_dataset = "licence IS NULL OR dataset_version_id IS NOT NULL"
        checks.append(sa.CheckConstraint(of_dataset, name=op.f(f"ck_{table}_licence")))
    op.create_table(
        table,
        sa.Column("id", sa.Integer(), nullable=False),
        *(sa.Column(f"{target}_id", sa.Integer(), nullable=True) for target in TARGETS),
        *said,
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("row_digest", sa.String(71), nullable=True),
        sa.Column("unchecked_before", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        *(refers(table, f"{target}_id", target) for target in TARGETS),
        *(alone(table, f"{target}_id", *unique) for target in TARGETS),
        *checks,
        sqlite_autoincrement=True,
    )
    kept = ", ".join(["id", *(f"{target}_id" for target in TARGETS), *unique, "unchecked_before"])
    keep(table, f"UPDATE OF {kept}", "cannot be changed")


def create_search() -> None:
    table = "search_entry"
    op.create_table(
        table,
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("pair_digest", sa.String(71), nullable=True),
        sa.Column("dataset_version_id", sa.Integer(), nullable=True),
        sa.Column("position", sa.Integer(), nullable=True),
        sa.Column("vector_version_id", sa.Integer(), nullable=True),
        sa.Column("model_id", sa.Integer(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        refers(table, "pair_digest", "pair", "digest"),
        refers(table, "dataset_version_id", "dataset_version"),
        refers(table, "vector_version_id", "vector_version"),
        refers(table, "model_id", "model"),
        alone(table, "pair_digest"),
        alone(table, "dataset_version_id", "position"),
        alone(table, "vector_version_id"),
        alone(table, "model_id"),
        sqlite_autoincrement=True,
    )
    if op.get_bind().dialect.name == "sqlite":
        # Words have ASCII letters and digits only.
        op.execute(
            "CREATE VIRTUAL TABLE search_index USING fts5"
            "(text, content='search_entry', content_rowid='id', tokenize='ascii')"
        )
    else:
        op.execute("CREATE INDEX ix_search_entry_text ON search_entry USING gin (to_tsvector('simple', text))")


def refers(table: str, column: str, target: str, key: str = "id") -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{target}.{key}"], name=op.f(f"fk_{table}_{column}_{target}"))


def alone(table: str, *columns: str) -> sa.UniqueConstraint:
    return sa.UniqueConstraint(*columns, name=op.f(f"uq_{table}_{'_'.join(columns)}"))


def fill_search() -> None:
    bind = op.get_bind()
    insert = sa.text(
        "INSERT INTO search_entry (pair_digest, dataset_version_id, position, vector_version_id, model_id, text) "
        "VALUES (:pair_digest, :dataset_version_id, :position, :vector_version_id, :model_id, :text)"
    )
    none = dict.fromkeys(("pair_digest", "dataset_version_id", "position", "vector_version_id", "model_id"))
    part: list[dict[str, Any]] = []
    for entry in entries(bind):
        part.append({**none, **entry})
        if len(part) == AT_ONCE:
            bind.execute(insert, part)
            part = []
    if part:
        bind.execute(insert, part)
    if bind.dialect.name == "sqlite":
        op.execute("INSERT INTO search_index (search_index) VALUES ('rebuild')")


def entries(bind: sa.Connection) -> Iterator[dict[str, Any]]:
    """What is to be found, of all that can be read."""
    for digest, turns, *texts in rows(bind, "SELECT digest, turns, prompt, positive, negative, system FROM pair"):
        if isinstance(digest, str):
            said = [turn.get("content") for turn in read(turns, list) if isinstance(turn, dict)]
            yield {"pair_digest": digest, "text": joined(*texts, *said)}
    for version, position, text in rows(bind, "SELECT version_id, position, text FROM dataset_question"):
        yield {"dataset_version_id": version, "position": position, "text": joined(text)}
    for id, *texts in rows(bind, "SELECT id, name, repo_id, architecture FROM model"):
        yield {"model_id": id, "text": joined(*texts)}
    behaviors: dict[Any, Any] = {}
    query = (
        "SELECT v.id, d.name, v.source, v.licence, v.message FROM dataset_version v "
        "JOIN dataset d ON d.id = v.dataset_id"
    )
    for id, name, source, licence, message in rows(bind, query):
        stated = read(source, dict).get("behavior")
        behaviors[id] = stated if isinstance(stated, str) and stated else str(name).rpartition("/")[2]
        yield {
            "dataset_version_id": id,
            "position": -1,
            "text": joined(name, behaviors[id], licence, None, message),
        }
    query = (
        "SELECT v.id, n.name, v.origin, v.dataset_version_id, m.name FROM vector_version v "
        "JOIN vector n ON n.id = v.vector_id LEFT JOIN model m ON m.id = v.model_id"
    )
    for id, name, origin, dataset, model in rows(bind, query):
        behavior = read(origin, dict).get("behavior") or behaviors.get(dataset)
        yield {"vector_version_id": id, "text": joined(name, behavior, model)}


def rows(bind: sa.Connection, query: str) -> Iterator[Sequence[Any]]:
    # All at once: the same connection writes in between.
    yield from bind.execute(sa.text(query)).all()


def joined(*texts: Any) -> str:
    """The words of the texts that are texts: a damaged cell may hold anything."""
    return indexed(*(text if isinstance(text, str) else None for text in texts))


def read(value: Any, kind: type) -> Any:
    """JSON of that kind, or an empty one where there is none or it cannot be read."""
    try:
        value = json.loads(value) if isinstance(value, str | bytes) else value
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, kind) else kind()


def keep(table: str, moment: str, message: str) -> None:
    """Forbid a change. The function on PostgreSQL is that of revision 0002."""
    if op.get_bind().dialect.name == "sqlite":
        body = f"BEGIN SELECT RAISE(ABORT, '{table} {message}'); END"
    else:
        body = f"EXECUTE FUNCTION caa_refuse('{message}')"
    action = moment.split()[0].lower()
    op.execute(f"CREATE TRIGGER keep_{table}_{action} BEFORE {moment} ON {table} FOR EACH ROW {body}")
