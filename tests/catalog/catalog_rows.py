"""One row in every table, so that a test can try to change or delete each."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import MetaData, insert, inspect
from sqlalchemy.orm import Session

from caa_registry.catalog.events import append_event
from caa_registry.catalog.models import (
    Alias,
    Amendment,
    Base,
    Blob,
    Dataset,
    DatasetMember,
    DatasetQuestion,
    DatasetVersion,
    Deprecation,
    Evaluation,
    Judgement,
    LintReport,
    Meta,
    Model,
    Pair,
    Plan,
    Quarantine,
    Rating,
    Recall,
    Response,
    Review,
    Run,
    RunIO,
    Score,
    SearchEntry,
    Signature,
    Tag,
    Vector,
    VectorLayer,
    VectorVersion,
)
from caa_registry.digests import digest_bytes

NOW = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
D = digest_bytes(b"something")


def dataset_version(dataset_id: int, number: int, digest: str = D) -> DatasetVersion:
    return DatasetVersion(
        dataset_id=dataset_id,
        number=number,
        digest=digest,
        message="",
        source={"uri": "file:a.json"},
        licence="MIT",
        n_items=1,
        created_at=NOW,
    )


def rows() -> list[Base]:
    """One row of every table but the audit, each with id 1 or the digest ``D``, parents first."""
    model_digests = dict.fromkeys(("fingerprint", "weights", "config", "tokenizer", "chat_template", "tensors"), D)
    return [
        Pair(digest=D, prompt="Is it?", positive="(A)", negative="(B)", system=""),
        Dataset(name="team/set", kind="pairs", created_at=NOW),
        dataset_version(1, 1),
        DatasetMember(version_id=1, position=0, pair_digest=D, split="generate", details={"row": 1}),
        DatasetQuestion(version_id=1, position=0, split="test", text="Why?", details={}),
        Model(
            name="tiny", architecture="llama", n_layers=2, d_model=8, quantization={}, created_at=NOW,
            **model_digests,
        ),
        Vector(name="team/vector", created_at=NOW),
        VectorVersion(
            vector_id=1, number=1, digest=D, tensor_digest=D, dataset_version_id=1, model_id=1,
            recipe={"method": "mean_difference"}, blob_digest=D, d_model=8, created_at=NOW,
        ),
        VectorLayer(version_id=1, layer=0, offset=0, nbytes=32, sha256=D, norm=1.5, residual_norm=9.0),
        Evaluation(
            kind="propensity", vector_version_id=1, dataset_version_id=1, split="test", model_id=1, metric="propensity",
            positions="after_prompt", template=D, parameters={}, created_at=NOW,
        ),
        Plan(name="team/plan", digest=D, terms={"statistic": "effect"}, actor="ada", created_at=NOW),
        Score(
            evaluation_id=1, position=0, condition="vector", layer=0, multiplier=-1.0, metric="propensity", value=0.25,
            ci_low=0.1, ci_high=0.4, n=50,
        ),
        Response(
            evaluation_id=1, position=0, question=0, multiplier=1.0, text="Yes.", finish="stop",
            coherence={"tokens": 2},
        ),
        Judgement(evaluation_id=1, judge={"kind": "human"}, judge_digest=D, created_at=NOW),
        Rating(judgement_id=1, position=0, evaluation_id=1, value=7.0, reply="7"),
        LintReport(version_id=1, parameters={}, summary={"score": 100}, findings=[], actor="ada", created_at=NOW),
        Review(dataset_id=1, pair_digest=D, reviewer="ada", state="accepted", reason="", created_at=NOW),
        Recall(pair_digest=D, lifted=False, why="wrong", actor="ada", created_at=NOW),
        Deprecation(vector_version_id=1, lifted=False, successor="", why="old", actor="ada", created_at=NOW),
        Quarantine(vector_version_id=1, lifted=False, why="wrong", actor="ada", created_at=NOW),
        Signature(vector_version_id=1, alias="", key=D, envelope={"payload": ""}, actor="ada", created_at=NOW),
        Run(kind="import", parameters={}, environment={}, actor="ada", started_at=NOW, finished_at=NOW),
        RunIO(run_id=1, direction="output", kind="dataset", object_id=1),
        Alias(kind="dataset", owner_id=1, name="best", dataset_version_id=1, updated_at=NOW),
        Tag(dataset_version_id=1, key="status", value="reviewed", updated_at=NOW),
        Amendment(dataset_version_id=1, licence="MIT", updated_at=NOW),
        SearchEntry(pair_digest=D, text="is it"),
        Blob(digest=D, size=9, data=b"something"),
        Meta(key="note", value="of a test"),
    ]  # fmt: skip


def fill(session: Session) -> None:
    """Insert one row in every table."""
    for row in rows():
        session.add(row)
        session.flush()
    append_event(session, "ada", "dataset.import", {"dataset": "team/set", "version": 1})


def fill_older(session: Session) -> None:
    """The same, but for the audit, in a registry of an older schema: without the columns that it does not have yet."""
    older = MetaData()
    older.reflect(session.connection())
    for row in rows():
        mapper = inspect(type(row))
        if mapper.local_table.name not in older.tables:
            continue
        table = older.tables[mapper.local_table.name]
        values = {mapper.columns[a.key].name: getattr(row, a.key) for a in mapper.column_attrs}
        known = {name: value for name, value in values.items() if value is not None and name in table.columns}
        session.execute(insert(mapper.local_table).values({mapper.local_table.c[name]: v for name, v in known.items()}))
