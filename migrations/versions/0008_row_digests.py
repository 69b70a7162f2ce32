"""Digests of rows, and of the rows that belong to one: what is read is compared with what was written.

Of an older registry the digests that it has are checked first. What agrees with them gets the new ones, and a date
before which the rest was not checked; what does not gets none, which reading reports as damage.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from caa_registry.catalog.integrity.row_digests import digest_of_row, digest_of_rows
from caa_registry.digests import digest_object

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

PARTS = {
    "dataset": (),
    "dataset_version": ("items_digest",),
    "model": (),
    "vector": (),
    "vector_version": ("layers_digest",),
    "evaluation": ("scores_digest", "responses_digest"),
    "judgement": ("ratings_digest",),
    "alias": (),
    "lint_report": (),
    "review": (),
    "recall": (),
    "run": (),
}
MOVABLE = {"model": ("tensors", "path", "adapter_path")}

# Every column that may not change, of tables where others may.
FIXED = {
    "dataset_version": (
        "id, dataset_id, number, digest, parent_id, message, source, licence, n_items, statistics, items_digest, "
        "row_digest, unchecked_before, created_at"
    ),
    "vector_version": (
        "id, vector_id, number, digest, tensor_digest, dataset_version_id, model_id, recipe, blob_digest, d_model, "
        "layers_digest, row_digest, unchecked_before, created_at"
    ),
    "evaluation": (
        "id, kind, vector_version_id, dataset_version_id, split, model_id, metric, positions, template, parameters, "
        "measurements, scores_digest, responses_digest, row_digest, unchecked_before, created_at"
    ),
    "model": (
        "id, name, fingerprint, weights, config, tokenizer, chat_template, files, adapter, architecture, n_layers, "
        "d_model, context_length, quantization, repo_id, revision, row_digest, unchecked_before, created_at"
    ),
}

# Of each table whose rows belong to a row of another: where, what is covered, and in which order.
CHILDREN = {
    "items_digest": ("dataset_member", "version_id", ("position", "pair_digest", "split", "metadata"), "position"),
    "layers_digest": (
        "vector_layer",
        "version_id",
        ("layer", "offset", "nbytes", "sha256", "norm", "residual_norm", "quality"),
        "layer",
    ),
    "scores_digest": (
        "score",
        "evaluation_id",
        ("position", "condition", "layer", "multiplier", "metric", "value", "ci_low", "ci_high", "n"),
        "position",
    ),
    "responses_digest": (
        "response",
        "evaluation_id",
        ("position", "question", "multiplier", "text", "finish", "coherence"),
        "position",
    ),
    "ratings_digest": ("rating", "judgement_id", ("position", "value", "reply"), "position"),
}
QUESTIONS = ("dataset_question", "version_id", ("position", "text", "split", "metadata"), "position")

JSON = {
    *("source", "statistics", "metadata", "recipe", "quality", "parameters", "coherence", "judge", "recommendation"),
    *("summary", "findings", "environment", "quantization", "turns"),
}
MOMENTS = {"created_at", "updated_at", "started_at", "finished_at", "deleted_at"}


class Damaged(Exception):
    """A row that cannot be read, or that does not agree with a digest."""


def upgrade() -> None:
    bind = op.get_bind()
    for table, parts in PARTS.items():
        for column in (*parts, "row_digest"):
            op.add_column(table, sa.Column(column, sa.String(71), nullable=True))
        op.add_column(table, sa.Column("unchecked_before", sa.DateTime(timezone=True), nullable=True))
    on = (lambda table: "") if bind.dialect.name == "sqlite" else (lambda table: f" ON {table}")
    for table in (*FIXED, "run", "lint_report", "review", "recall", "judgement"):
        op.execute(f"DROP TRIGGER keep_{table}_update{on(table)}")
    now = datetime.now(UTC)
    for table in PARTS:
        seal(bind, table, now)
    for table in ("run", "lint_report", "review", "recall", "judgement"):
        keep(table, "UPDATE")
    for table, columns in FIXED.items():
        keep(table, f"UPDATE OF {columns}")


def seal(bind: sa.Connection, table: str, now: datetime) -> None:
    update = sa.text(
        f"UPDATE {table} SET "
        + "".join(f"{part} = :{part}, " for part in PARTS[table])
        + "row_digest = :row_digest, unchecked_before = :now WHERE id = :row_id"
    ).bindparams(sa.bindparam("now", type_=sa.DateTime(timezone=True)))
    stamp = now.replace(tzinfo=None) if bind.dialect.name == "sqlite" else now
    for row in list(bind.execute(sa.text(f"SELECT * FROM {table} ORDER BY id")).mappings()):
        parts: dict[str, str | None] = dict.fromkeys(PARTS[table])
        whole = None
        try:
            cells = read(row)
            check(bind, table, cells)
            parts = {part: digest_of_part(bind, table, cells, part) for part in parts}
            whole = digest_of_row(table, {**cells, **parts}, MOVABLE.get(table, ()))
        except Damaged:
            parts = dict.fromkeys(parts)
        bind.execute(update, {**parts, "row_digest": whole, "now": stamp, "row_id": row["id"]})


def read(row: Mapping[str, Any]) -> dict[str, Any]:
    """The cells of a row as the registry reads them, on either database."""
    cells = dict(row)
    try:
        for name, value in row.items():
            if name in JSON and isinstance(value, str):
                cells[name] = json.loads(value)
            elif name in MOMENTS and isinstance(value, str):
                cells[name] = datetime.fromisoformat(value).replace(tzinfo=UTC)
            elif name == "lifted":
                cells[name] = bool(value)
            elif isinstance(value, bytes):
                raise Damaged
    except (ValueError, RecursionError) as error:
        raise Damaged from error
    return cells


def rows_of(bind: sa.Connection, table: str, column: str, order: str, id: int) -> Iterator[dict[str, Any]]:
    query = sa.text(f"SELECT * FROM {table} WHERE {column} = :id ORDER BY {order}")
    return (read(row) for row in bind.execute(query, {"id": id}).mappings())


def digest_of_part(bind: sa.Connection, table: str, cells: Mapping[str, Any], part: str) -> str | None:
    child, column, covered, order = CHILDREN[part]
    if part == "items_digest" and kind_of(bind, cells) == "questions":
        child, column, covered, order = QUESTIONS
    rows = [[row[name] for name in covered] for row in rows_of(bind, child, column, order, cells["id"])]
    return None if part == "responses_digest" and not rows else digest_of_rows(child, rows)


def kind_of(bind: sa.Connection, version: Mapping[str, Any]) -> Any:
    return bind.scalar(sa.text("SELECT kind FROM dataset WHERE id = :id"), {"id": version["dataset_id"]})


def check(bind: sa.Connection, table: str, cells: Mapping[str, Any]) -> None:
    """Compare a row with the digests that it had before. Raises ``Damaged``."""
    if table == "dataset_version" and cells["digest"] != dataset_digest(bind, cells):
        raise Damaged
    if table == "vector_version":
        check_vector(bind, cells)
    if table == "model":
        names = ("weights", "config", "tokenizer", "chat_template", "files", "adapter")
        if cells["fingerprint"] != digest_object("model", {n: cells[n] for n in names if cells[n] is not None}):
            raise Damaged


def dataset_digest(bind: sa.Connection, version: Mapping[str, Any]) -> str:
    kind = kind_of(bind, version)
    members: list[list[Any]] = []
    if kind == "questions":
        for row in rows_of(bind, "dataset_question", "version_id", "position", version["id"]):
            members.append([digest_object("question", {"text": row["text"]}), row["split"]])
    else:
        query = sa.text(
            "SELECT m.split, p.* FROM dataset_member m LEFT JOIN pair p ON p.digest = m.pair_digest "
            "WHERE m.version_id = :id"
        )
        for row in bind.execute(query, {"id": version["id"]}).mappings():
            texts = {name: row[name] for name in ("prompt", "positive", "negative", "system")}
            if not all(isinstance(text, str) for text in texts.values()):
                raise Damaged
            turns = read({"turns": row["turns"]})["turns"]
            # Only where there are any: a pair without them has the digest that it had before there were.
            if digest_object("pair", {**texts, "turns": turns} if turns else texts) != row["digest"]:
                raise Damaged
            members.append([row["digest"], row["split"]])
    return digest_object("dataset", {"kind": kind, "members": sorted(members)})


def check_vector(bind: sa.Connection, version: Mapping[str, Any]) -> None:
    made_of = sa.text(
        "SELECT d.digest AS dataset, m.fingerprint AS model FROM dataset_version d, model m "
        "WHERE d.id = :dataset AND m.id = :model"
    )
    found = bind.execute(made_of, {"dataset": version["dataset_version_id"], "model": version["model_id"]}).mappings()
    identity = {"tensors": version["tensor_digest"], **(found.first() or {}), "recipe": version["recipe"]}
    try:
        digest = digest_object("vector", identity)
    except TypeError as error:
        raise Damaged from error
    if version["digest"] != digest:
        raise Damaged
    # Blobs that lie elsewhere are compared with their layers when they are read.
    data = bind.scalar(sa.text("SELECT data FROM blob WHERE digest = :digest"), {"digest": version["blob_digest"]})
    if data is not None:
        layers = rows_of(bind, "vector_layer", "version_id", "layer", version["id"])
        check_layers(bytes(data), layers)


def check_layers(data: bytes, layers: Iterable[Mapping[str, Any]]) -> None:
    try:
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        header.pop("__metadata__", None)
        for row in layers:
            first, stop = header.pop(f"layer.{row['layer']}")["data_offsets"]
            begin = 8 + length + first
            sha256 = "sha256:" + hashlib.sha256(data[begin : 8 + length + stop]).hexdigest()
            if (row["offset"], row["nbytes"], row["sha256"]) != (begin, stop - first, sha256):
                raise Damaged
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise Damaged from error
    if header:
        raise Damaged


def keep(table: str, moment: str) -> None:
    """Forbid a change. The function on PostgreSQL is that of revision 0002."""
    if op.get_bind().dialect.name == "sqlite":
        body = f"BEGIN SELECT RAISE(ABORT, '{table} cannot be changed'); END"
    else:
        body = "EXECUTE FUNCTION caa_refuse('cannot be changed')"
    op.execute(f"CREATE TRIGGER keep_{table}_update BEFORE {moment} ON {table} FOR EACH ROW {body}")
