"""Documents of things as JSON. What is read may come from anybody: each field is checked, and named where it is bad."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from caa_registry.errors import CaaError, InputError
from caa_registry.models.folder.fingerprint import Fingerprint, ModelInfo
from caa_registry.pairs.record import PairItem, QuestionItem, check_split_name, checked_question, dataset_digest
from caa_registry.pairs.source import Fields
from caa_registry.registry.models import MORE, PARTS
from caa_registry.registry.records import LayerRecord
from caa_registry.registry.records.locked_dataset import digest_in, item_json, name_in, pair_item
from caa_registry.registry.rows import RESPONSE, SCORE
from caa_registry.registry.transfer.documents.fields import (
    key_in,
    moment_in,
    moment_json,
    number_of,
    optional_digest,
    optional_key,
    optional_moment,
    optional_object,
    optional_text,
    whole_in,
)
from caa_registry.registry.transfer.documents.key import Key
from caa_registry.registry.transfer.documents.run import RunDocument
from caa_registry.registry.transfer.documents.things import (
    DatasetDocument,
    Described,
    Document,
    EvaluationDocument,
    ModelDocument,
    PlanDocument,
    VectorDocument,
)
from caa_registry.vectors import LayerQuality


def document_json(document: Document) -> dict[str, Any]:
    """A document as a JSON object."""
    key = {"key": document.key.to_json()}
    if isinstance(document, ModelDocument):
        return {**key, **_model_json(document.info)}
    made = {
        **key,
        "created_at": moment_json(document.created_at),
        "unchecked_before": None if document.unchecked_before is None else moment_json(document.unchecked_before),
        "run": document.run.to_json(),
    }
    if isinstance(document, DatasetDocument):
        return {**made, **_dataset_json(document)}
    if isinstance(document, VectorDocument):
        return {**made, **_vector_json(document)}
    if isinstance(document, PlanDocument):
        return {**made, "name": document.name, "terms": document.terms, "actor": document.actor}
    return {**made, **_evaluation_json(document)}


def document_from_json(values: Any, what: str) -> Document:
    """What ``document_json`` gave. ``what`` names the document in errors. Raises ``InputError`` naming the field."""
    read = Fields(values, what, "")
    key = key_in(read, "key")
    readers: Mapping[str, Callable[[Key, Fields], Document]] = {
        "dataset": _dataset,
        "model": _model,
        "vector": _vector,
        "plan": _plan,
        "evaluation": _evaluation,
    }
    if key.kind not in readers:
        raise read.bad("is of nothing that is a document", "key")
    return readers[key.kind](key, read)


def _dataset_json(document: DatasetDocument) -> dict[str, Any]:
    return {
        "number": document.number,
        "holds": document.holds,
        "items": [
            item_json(item)
            if isinstance(item, PairItem)
            else {"text": item.text, "split": item.split, "metadata": dict(item.metadata)}
            for item in document.items
        ],
        "source": document.source,
        "licence": document.licence,
        "message": document.message,
        "described": _described_json(document.described),
    }


def _dataset(key: Key, read: Fields) -> DatasetDocument:
    name_in(read, "key", key.name)
    holds, places = read.get("holds", str), read.get("items", list)
    items: list[PairItem] | list[QuestionItem]
    if holds == "pairs":
        items = [pair_item(values, read.what, f"items[{place}]") for place, values in enumerate(places)]
        digest = dataset_digest("pairs", items)
    elif holds == "questions":
        items = [_question(values, read.what, f"items[{place}]") for place, values in enumerate(places)]
        digest = dataset_digest("questions", items)
    else:
        raise read.bad("is neither pairs nor questions", "holds")
    if digest != key.digest:
        raise read.bad("are not those of its digest", "items")
    return DatasetDocument(
        key=key,
        number=whole_in(read, "number", 1),
        holds="pairs" if holds == "pairs" else "questions",
        items=items,
        source=read.get("source", dict),
        licence=read.get("licence", str),
        message=read.get("message", str),
        described=_described(read),
        created_at=moment_in(read, "created_at"),
        unchecked_before=optional_moment(read, "unchecked_before"),
        run=_run(read),
    )


def _described_json(described: Described) -> dict[str, Any]:
    return {"text": described.text, "tags": dict(described.tags), "behavior": described.behavior}


def _described(whole: Fields) -> Described:
    read = Fields(whole.get("described", dict), whole.what, "described")
    tags = read.get("tags", dict)
    if not all(isinstance(value, str) for value in tags.values()):
        raise read.bad("has to hold texts", "tags")
    return Described(read.get("text", str), tags, read.get("behavior", str))


def _question(values: Any, what: str, field: str) -> QuestionItem:
    read = Fields(values, what, field)
    text, split = read.get("text", str), read.get("split", str)
    try:
        check_split_name(split)
        return QuestionItem(checked_question(text), split, read.get("metadata", dict))
    except CaaError as error:
        raise InputError(error.message, source=what, field=field) from error


def _model_json(info: ModelInfo) -> dict[str, Any]:
    return {
        "name": info.name,
        "parts": {part: getattr(info.fingerprint, part) for part in (*PARTS, *MORE, "tensors")},
        "architecture": info.architecture,
        "n_layers": info.n_layers,
        "d_model": info.d_model,
        "context_length": info.context_length,
        "quantization": info.quantization,
        "repo": info.repo_id,
        "revision": info.revision,
    }


def _model(key: Key, read: Fields) -> ModelDocument:
    parts = Fields(read.get("parts", dict), read.what, "parts")
    found: dict[str, str] = {part: digest_in(parts, part) for part in PARTS}
    found |= {part: digest for part in (*MORE, "tensors") if (digest := optional_digest(parts, part)) is not None}
    fingerprint = Fingerprint(**found)
    if fingerprint.digest != key.digest:
        raise read.bad("are not those of its fingerprint", "parts")
    context = None if read.values.get("context_length") is None else whole_in(read, "context_length")
    info = ModelInfo(
        name=read.get("name", str),
        fingerprint=fingerprint,
        architecture=read.get("architecture", str),
        n_layers=whole_in(read, "n_layers", 1),
        d_model=whole_in(read, "d_model", 1),
        context_length=context,
        quantization=optional_object(read, "quantization"),
        repo_id=optional_text(read, "repo"),
        revision=optional_text(read, "revision"),
    )
    if info.revision is not None and len(info.revision) > 40:
        raise read.bad("has more than 40 characters", "revision")
    return ModelDocument(key, info)


def _vector_json(document: VectorDocument) -> dict[str, Any]:
    return {
        "number": document.number,
        "tensors": document.tensor_digest,
        "dataset": None if document.dataset is None else document.dataset.to_json(),
        "model": None if document.model is None else document.model.to_json(),
        "recipe": document.recipe,
        "origin": document.origin,
        "blob": document.blob,
        "d_model": document.d_model,
        "message": document.message,
        "described": _described_json(document.described),
        "layers": [
            {
                "layer": layer.layer,
                "norm": layer.norm,
                "residual_norm": layer.residual_norm,
                "sha256": layer.sha256,
                "offset": layer.offset,
                "nbytes": layer.nbytes,
                "quality": None if layer.quality is None else layer.quality.as_json(),
            }
            for layer in document.layers
        ],
    }


def _vector(key: Key, read: Fields) -> VectorDocument:
    name_in(read, "key", key.name)
    layers = read.parts("layers", _layer)
    numbers = [layer.layer for layer in layers]
    if not numbers or numbers != sorted(set(numbers)):
        raise read.bad("have to be there once each, ascending", "layers")
    if (read.values.get("origin") is None) != all(
        read.values.get(name) is not None for name in ("recipe", "dataset", "model")
    ) or (read.values.get("origin") is not None and (read.values.get("recipe") or read.values.get("dataset"))):
        raise read.bad("has to be there, or pairs, model and recipe", "origin")
    return VectorDocument(
        key=key,
        number=whole_in(read, "number", 1),
        tensor_digest=digest_in(read, "tensors"),
        dataset=optional_key(read, "dataset"),
        model=optional_key(read, "model"),
        recipe=optional_object(read, "recipe"),
        origin=optional_object(read, "origin"),
        blob=digest_in(read, "blob"),
        d_model=whole_in(read, "d_model", 1),
        layers=layers,
        message=read.get("message", str),
        described=_described(read),
        created_at=moment_in(read, "created_at"),
        unchecked_before=optional_moment(read, "unchecked_before"),
        run=_run(read),
    )


def _layer(values: Any, what: str, field: str) -> LayerRecord:
    read = Fields(values, what, field)
    quality = optional_object(read, "quality")
    try:
        measured = None if quality is None else LayerQuality.from_json(quality)
    except TypeError:
        raise read.bad("has other fields than this release knows", "quality") from None
    if quality is not None and not all(
        value is None or type(value) in (int, float, bool) for value in quality.values()
    ):
        raise read.bad("has to hold numbers", "quality")
    for key in ("norm", "residual_norm"):
        value = read.values.get(key)
        if not (number_of(value) or (value is None and key == "residual_norm")):
            raise read.bad("has to be a number", key)
    residual = read.values["residual_norm"]
    return LayerRecord(
        layer=whole_in(read, "layer"),
        norm=float(read.values["norm"]),
        residual_norm=None if residual is None else float(residual),
        sha256=digest_in(read, "sha256"),
        offset=whole_in(read, "offset"),
        nbytes=whole_in(read, "nbytes"),
        quality=measured,
    )


def _plan(key: Key, read: Fields) -> PlanDocument:
    return PlanDocument(
        key=key,
        name=name_in(read, "name", read.get("name", str)),
        terms=read.get("terms", dict),
        actor=read.get("actor", str),
        created_at=moment_in(read, "created_at"),
        unchecked_before=optional_moment(read, "unchecked_before"),
        run=_run(read),
    )


def _evaluation_json(document: EvaluationDocument) -> dict[str, Any]:
    return {
        "number": document.number,
        "measures": document.measures,
        "vector": document.vector.to_json(),
        "dataset": None if document.dataset is None else document.dataset.to_json(),
        "split": document.split,
        "model": document.model.to_json(),
        "metric": document.metric,
        "positions": document.positions,
        "template": document.template,
        "parameters": document.parameters,
        "measurements": document.measurements,
        "scores": [list(row) for row in document.scores],
        "responses": [list(row) for row in document.responses],
        "not_confirmatory": document.not_confirmatory,
    }


# The columns of scores and responses: what may stand in each.
_NUMBER, _TEXT, _WHOLE, _OBJECT = "a number", "a text", "a whole number", "an object"
_SCORE = (_WHOLE, _TEXT, _WHOLE, f"{_NUMBER}?", _TEXT, _NUMBER, f"{_NUMBER}?", f"{_NUMBER}?", _WHOLE)
_RESPONSE = (_WHOLE, _WHOLE, _NUMBER, _TEXT, _TEXT, _OBJECT)


def _evaluation(key: Key, read: Fields) -> EvaluationDocument:
    return EvaluationDocument(
        key=key,
        number=whole_in(read, "number", 1),
        measures=read.get("measures", str),
        vector=key_in(read, "vector"),
        dataset=optional_key(read, "dataset"),
        split=read.get("split", str),
        model=key_in(read, "model"),
        metric=read.get("metric", str),
        positions=read.get("positions", str),
        template=read.get("template", str),
        parameters=read.get("parameters", dict),
        measurements=optional_digest(read, "measurements"),
        scores=_rows(read, "scores", SCORE, _SCORE),
        responses=_rows(read, "responses", RESPONSE, _RESPONSE),
        not_confirmatory=read.get("not_confirmatory", str),
        created_at=moment_in(read, "created_at"),
        unchecked_before=optional_moment(read, "unchecked_before"),
        run=_run(read),
    )


def _rows(read: Fields, key: str, columns: tuple[str, ...], kinds: tuple[str, ...]) -> list[list[Any]]:
    rows = read.get(key, list)
    for place, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(columns):
            raise read.bad(f"has to be {', '.join(columns)}", f"{key}[{place}]")
        for column, kind, value in zip(columns, kinds, row, strict=True):
            if not _fits(kind, value):
                raise read.bad(f"has to be {kind.removesuffix('?')}", f"{key}[{place}].{column}")
    return rows


def _fits(kind: str, value: Any) -> bool:
    if value is None:
        return kind.endswith("?")
    if kind.startswith(_NUMBER):
        return number_of(value)
    if kind == _WHOLE:
        return type(value) is int and abs(value) < 2**31
    return isinstance(value, dict if kind == _OBJECT else str)


def _run(read: Fields) -> RunDocument:
    return RunDocument.from_json(read.get("run", dict), read.what, "run")
