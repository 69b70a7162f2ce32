"""Triggers that keep versions and records as they were written, whichever program writes.

Only ``deleted_at`` and the folder of a model may change, and only what is marked deleted may go. Events never go.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Tables no column of which may change.
FIXED = (
    "pair",
    "dataset_member",
    "dataset_question",
    "vector_layer",
    "score",
    "run",
    "run_io",
    "blob",
    "event",
)

# What a model is may not change; the folder that it was last seen in may.
MODEL = (
    "id, name, fingerprint, weights, config, tokenizer, chat_template, architecture, n_layers, d_model, "
    "context_length, quantization, repo_id, revision, created_at"
)

# Tables that can be marked deleted, with every column that may not change.
MARKED = {
    "dataset_version": ("id, dataset_id, number, digest, parent_id, message, source, licence, n_items, created_at"),
    "vector_version": (
        "id, vector_id, number, digest, tensor_digest, dataset_version_id, model_id, recipe, blob_digest, "
        "d_model, created_at"
    ),
    "evaluation": (
        "id, vector_version_id, dataset_version_id, split, model_id, metric, positions, template, parameters, "
        "created_at"
    ),
}

# Tables whose rows belong to one of those: the column that says to which row.
CHILDREN = {
    "dataset_member": ("dataset_version", "version_id"),
    "dataset_question": ("dataset_version", "version_id"),
    "vector_layer": ("vector_version", "version_id"),
    "score": ("evaluation", "evaluation_id"),
}

NO_CHANGE = "cannot be changed"
NOT_MARKED = "is not marked deleted"
APPEND_ONLY = "is append-only"


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for_sqlite()
    else:
        for_postgresql()


def for_sqlite() -> None:
    def trigger(table: str, moment: str, when: str, message: str) -> None:
        action = moment.split()[0].lower()
        op.execute(
            f"CREATE TRIGGER keep_{table}_{action} BEFORE {moment} ON {table} FOR EACH ROW {when} "
            f"BEGIN SELECT RAISE(ABORT, '{table} {message}'); END"
        )

    for table in FIXED:
        trigger(table, "UPDATE", "", NO_CHANGE)
    for table, columns in MARKED.items():
        trigger(table, f"UPDATE OF {columns}", "", NO_CHANGE)
        trigger(table, "DELETE", "WHEN OLD.deleted_at IS NULL", NOT_MARKED)
    for table, (parent, column) in CHILDREN.items():
        marked = f"(SELECT deleted_at FROM {parent} WHERE id = OLD.{column})"
        trigger(table, "DELETE", f"WHEN {marked} IS NULL", f"belongs to a {parent} that {NOT_MARKED}")
    trigger("model", f"UPDATE OF {MODEL}", "", NO_CHANGE)
    trigger("event", "DELETE", "", APPEND_ONLY)


def for_postgresql() -> None:
    # Both functions raise class 23, so that drivers report an integrity error as they do on SQLite.
    op.execute(
        """
        CREATE FUNCTION caa_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION USING ERRCODE = '23000', MESSAGE = TG_TABLE_NAME || ' ' || TG_ARGV[0];
        END $$
        """
    )
    op.execute(
        """
        CREATE FUNCTION caa_refuse_unless_parent_marked() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            marked timestamptz;
        BEGIN
            EXECUTE 'SELECT deleted_at FROM ' || quote_ident(TG_TABLE_SCHEMA) || '.' || quote_ident(TG_ARGV[0])
                || ' WHERE id = ($1).' || quote_ident(TG_ARGV[1]) INTO marked USING OLD;
            IF marked IS NULL THEN
                RAISE EXCEPTION USING ERRCODE = '23000',
                    MESSAGE = TG_TABLE_NAME || ' belongs to a ' || TG_ARGV[0] || ' that is not marked deleted';
            END IF;
            RETURN OLD;
        END $$
        """
    )

    def trigger(table: str, moment: str, when: str, call: str) -> None:
        action = moment.split()[0].lower()
        op.execute(
            f"CREATE TRIGGER keep_{table}_{action} BEFORE {moment} ON {table} FOR EACH ROW {when} "
            f"EXECUTE FUNCTION {call}"
        )

    for table in FIXED:
        trigger(table, "UPDATE", "", f"caa_refuse('{NO_CHANGE}')")
    for table, columns in MARKED.items():
        trigger(table, f"UPDATE OF {columns}", "", f"caa_refuse('{NO_CHANGE}')")
        trigger(table, "DELETE", "WHEN (OLD.deleted_at IS NULL)", f"caa_refuse('{NOT_MARKED}')")
    for table, (parent, column) in CHILDREN.items():
        trigger(table, "DELETE", "", f"caa_refuse_unless_parent_marked('{parent}', '{column}')")
    trigger("model", f"UPDATE OF {MODEL}", "", f"caa_refuse('{NO_CHANGE}')")
    trigger("event", "DELETE", "", f"caa_refuse('{APPEND_ONLY}')")
