"""Checks of what versions and evaluations hold, each as a whole, and of the bytes that are kept for them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

from sqlalchemy import Select, func, select

from caa_registry.catalog import models as t
from caa_registry.catalog.batches import among
from caa_registry.catalog.integrity.damage import name_of
from caa_registry.errors import NotFoundError
from caa_registry.registry.datasets.store import any_items, load_items
from caa_registry.registry.evaluations import ratings
from caa_registry.registry.evaluations.plans.store import records as plan_records
from caa_registry.registry.evaluations.store import check_answers
from caa_registry.registry.evaluations.store import load as load_evaluations
from caa_registry.registry.maintenance.checkup import Checkup
from caa_registry.registry.records import Evaluation
from caa_registry.registry.rows import dataset_records, vector_records
from caa_registry.registry.vectors.tensors import check_bytes

T = TypeVar("T")
# A bucket tells when something was stored in whole seconds.
_SECONDS = timedelta(seconds=2)


def check_datasets(checkup: Checkup) -> None:
    """The pairs or questions of every dataset version, against its digests and its figures."""
    session, table = checkup.session, t.DatasetVersion
    emptied = set(session.scalars(select(table.id).where(table.deleted_at.is_not(None), ~any_items())))
    versions = checkup.each(
        "datasets",
        _recent(checkup, table),
        lambda ids: dataset_records(session, _among(checkup, table, ids)),
        lambda id: _name(checkup, table, id),
    )
    for version in versions:
        if version.id in emptied:
            continue  # by caa gc
        with checkup.noting("datasets", f"dataset {version.reference}"):
            items = load_items(session, version)
            splits = Counter(item.split for item in items)
            if len(items) != version.n_items or splits != version.splits:
                checkup.note("datasets", f"dataset {version.reference}", "its figures are not those of what it holds")


def check_vectors(checkup: Checkup) -> None:
    """The numbers of every vector version, against every digest of theirs."""
    session, table = checkup.session, t.VectorVersion
    deleted = set(session.scalars(select(table.id).where(table.deleted_at.is_not(None))))
    versions = checkup.each(
        "vectors",
        _recent(checkup, table),
        lambda ids: vector_records(session, _among(checkup, table, ids)),
        lambda id: _name(checkup, table, id),
    )
    # The file of what is deleted may be gone.
    kept = (version for version in versions if version.id not in deleted or version.blob in checkup.stored)
    for version, read in _with_bytes(checkup, kept, lambda version: version.blob):
        with checkup.noting("vectors", f"vector {version.reference}"), _unless_deleted(checkup, table, version.id):
            if read is not None:
                check_bytes(read(), version)


@contextmanager
def _unless_deleted(checkup: Checkup, table: Any, id: int) -> Iterator[None]:
    """Pass over bytes that are not there where what they belong to is deleted by now: a store elsewhere is not as it
    was when this began."""
    try:
        yield
    except NotFoundError:
        with checkup.workspace.database.read() as session:
            deleted = session.scalar(select(table.deleted_at).where(table.id == id)) is not None
        if checkup.workspace.blobs.in_catalogue or not deleted:
            raise


def check_evaluations(checkup: Checkup) -> None:
    """The scores, items, answers and ratings of every evaluation."""
    session, table = checkup.session, t.Evaluation
    evaluations = checkup.each(
        "evaluations",
        _recent(checkup, table),
        lambda ids: load_evaluations(session, _among(checkup, table, ids)),
        lambda id: f"evaluation {id}",
    )
    deleted = set(session.scalars(select(table.id).where(table.deleted_at.is_not(None))))

    def items(evaluation: Evaluation) -> str | None:
        digest = evaluation.measurements
        return None if evaluation.id in deleted and digest not in checkup.stored else digest  # caa gc removes it

    for evaluation, read in _with_bytes(checkup, evaluations, items):
        _check_parts(checkup, evaluation, read)


def _with_bytes(
    checkup: Checkup, things: Iterable[T], digest: Callable[[T], str | None]
) -> Iterator[tuple[T, Callable[[], bytes] | None]]:
    """Each of ``things`` with what reads its blob, ``None`` where it has none. From a store far away those of the next
    are read meanwhile."""
    waiting: deque[tuple[T, bool]] = deque()

    def digests() -> Iterator[str]:
        for thing in things:
            its = digest(thing)
            waiting.append((thing, its is not None))
            if its is not None:
                yield its

    for read in checkup.workspace.blobs.read_each(digests(), checkup.session):
        while not waiting[0][1]:
            yield waiting.popleft()[0], None
        yield waiting.popleft()[0], read
    for thing, _ in waiting:
        yield thing, None


def check_plans(checkup: Checkup) -> None:
    """The terms of every plan."""
    session = checkup.session
    for id in list(session.scalars(select(t.Plan.id))):
        with checkup.noting("plans", f"plan {id}"):
            plan_records(session, [session.get_one(t.Plan, id)])
        checkup.count("plans")


def _check_parts(checkup: Checkup, evaluation: Evaluation, read: Callable[[], bytes] | None) -> None:
    from caa_registry.evaluation.measurements import from_bytes

    session, thing = checkup.session, f"evaluation {evaluation.id}"
    if read is not None:
        with checkup.noting("evaluations", thing), _unless_deleted(checkup, t.Evaluation, evaluation.id):
            from_bytes(read())
    with checkup.noting("evaluations", thing):
        check_answers(session, session.get_one(t.Evaluation, evaluation.id))
    with checkup.noting("evaluations", thing):
        ratings.judgements(session, evaluation.id)


def check_blobs(checkup: Checkup) -> None:
    """The bytes that nothing refers to; those of versions and evaluations were checked with these."""
    session, blobs = checkup.session, checkup.workspace.blobs
    referred = {
        *session.scalars(select(t.VectorVersion.blob_digest)),
        *session.scalars(select(t.Evaluation.measurements).where(t.Evaluation.measurements.is_not(None))),
    }
    # A store elsewhere has what others have put there since this began, and they are about to refer to it.
    lately = checkup.began - _SECONDS
    unneeded = sorted(
        stat.digest
        for stat in checkup.stored.values()
        if stat.digest not in referred and (blobs.in_catalogue or stat.stored_at is None or stat.stored_at < lately)
    )
    for digest, read in zip(unneeded, blobs.read_each(unneeded, session), strict=True):
        checkup.note("blobs", f"blob {digest}", "nothing refers to it: caa gc removes it", harmless=True)
        with checkup.noting("blobs", f"blob {digest}"):
            read()
    checkup.count("blobs", len(checkup.stored))
    other_size = select(t.Blob.digest).where(t.Blob.size.is_distinct_from(func.length(t.Blob.data)))
    for digest in session.scalars(other_size):
        checkup.note("blobs", f"blob {digest}", "its size is not that of its bytes")


def _recent(checkup: Checkup, table: Any) -> Sequence[int]:
    recent = select(table.id).where(checkup.recent(table.created_at)).order_by(table.id)
    return checkup.own(list(checkup.session.scalars(recent)))


def _among(checkup: Checkup, table: Any, ids: Sequence[int]) -> Select[int]:
    return select(table.id).where(among(checkup.session, table.id, ids))


def _name(checkup: Checkup, table: Any, id: int) -> str:
    """What a version is called whose record cannot be made."""
    connection = checkup.session.connection()
    columns = [c for c in table.__table__.columns if c.name in ("id", "number", "dataset_id", "vector_id")]
    row = connection.execute(select(*columns).where(table.id == id)).mappings().first()
    return name_of(connection, table.__tablename__, dict(row) if row else {"id": id})
