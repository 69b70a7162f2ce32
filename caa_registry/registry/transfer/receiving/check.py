"""What was taken in, read again as anybody will read it."""

from __future__ import annotations

import math

from sqlalchemy import select

from caa_registry.catalog import models as t
from caa_registry.catalog.batches import among
from caa_registry.errors import CaaError, InputError
from caa_registry.formats import safetensors_file
from caa_registry.formats.safetensors_file import places
from caa_registry.registry.datasets.store import load_items
from caa_registry.registry.evaluations.plans.store import records as plan_records
from caa_registry.registry.evaluations.ratings import judgements
from caa_registry.registry.evaluations.store import check_answers
from caa_registry.registry.evaluations.store import load as load_evaluations
from caa_registry.registry.maintenance.signing.statements import evaluation_digest
from caa_registry.registry.records import VectorVersion
from caa_registry.registry.rows import dataset_records, vector_records
from caa_registry.registry.transfer.receiving.things import Receiver
from caa_registry.registry.vectors.tensors import checked_file


def check_received(receiver: Receiver) -> None:
    """Raise ``InputError`` unless everything that was added is what its digest says, and can be read."""
    try:
        _read_again(receiver)
    except InputError:
        raise
    except CaaError as error:
        raise InputError(error.message, "Nothing was stored. Have it sent again.", source=receiver.origin) from error


def _read_again(receiver: Receiver) -> None:
    session, new = receiver.session, receiver.new
    of = {(key.kind, found.id): key for key, found in receiver.there.items()}
    datasets = select(t.DatasetVersion.id).where(among(session, t.DatasetVersion.id, new.get("dataset", [])))
    for version in dataset_records(session, datasets):
        load_items(session, version)
    vectors = select(t.VectorVersion.id).where(among(session, t.VectorVersion.id, new.get("vector", [])))
    for vector in vector_records(session, vectors):
        _check_numbers(receiver, vector)
    plans = select(t.Plan).where(among(session, t.Plan.id, new.get("plan", [])))
    plan_records(session, list(session.scalars(plans)))
    evaluations = select(t.Evaluation.id).where(among(session, t.Evaluation.id, new.get("evaluation", [])))
    for evaluation in load_evaluations(session, evaluations):
        check_answers(session, session.get_one(t.Evaluation, evaluation.id))
        judgements(session, evaluation.id)
        if evaluation_digest(session, evaluation) != of["evaluation", evaluation.id].digest:
            raise InputError(f"evaluation {evaluation.id} is not what its digest says", source=receiver.origin)


def _check_numbers(receiver: Receiver, version: VectorVersion) -> None:
    """Raise ``InputError`` unless the rows of a vector say where its layers stand in its file, and their lengths."""
    data = checked_file(receiver.workspace.blobs, version, receiver.session)
    known = {layer.layer: (layer.offset, layer.nbytes) for layer in version.layers}
    if known != {layer: (place.offset, place.nbytes) for layer, place in places(data).items()}:
        raise InputError(f"the layers of {version.reference} stand elsewhere in its file", source=receiver.origin)
    stored = safetensors_file.read(data)
    if stored.d_model != version.d_model or any(
        not math.isclose(vector.norm, layer.norm, rel_tol=1e-6)
        for vector, layer in zip(stored.layers, version.layers, strict=True)
    ):
        raise InputError(f"the numbers of {version.reference} are not as long as it says", source=receiver.origin)
