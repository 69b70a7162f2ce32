"""Recipes: the whole way to a dataset version, from its sources on.

As JSON a recipe is ``{"recipe": 1, "steps": [...]}``, inputs before what is made of them. A step names its ``dataset``
and the ``digest`` of what it gave, with ``behavior``, ``licence`` and ``message``; it either has an ``import``, or an
``operation`` with ``parameters`` and, as places in the list, ``inputs``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.digests import DIGEST
from caa_registry.errors import InputError, NotFoundError
from caa_registry.pairs.curation.operations import operation_of
from caa_registry.pairs.source import OperationRecord, Source
from caa_registry.pairs.sources.mappings import mapping_of
from caa_registry.references import check_name
from caa_registry.registry.records import DatasetVersion
from caa_registry.registry.rows import dataset_record

RECIPE = 1
MOST_STEPS = 1000

_HINT = "A recipe is what caa dataset recipe writes."
_TEXTS = ("dataset", "digest", "behavior", "licence", "message")


@dataclass(frozen=True)
class RecipeStep:
    """One step: the import of ``source``, or the ``operation`` on what the steps at the places ``inputs`` gave.

    ``digest``: of what it gave. ``behavior``, ``licence`` and ``message``: of the version.
    """

    dataset: str
    digest: str
    behavior: str
    licence: str
    message: str
    source: Source | None = None
    operation: OperationRecord | None = None
    inputs: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        values: dict[str, Any] = {name: getattr(self, name) for name in _TEXTS}
        if self.source is not None:
            return {**values, "import": self.source.to_json()}
        assert self.operation is not None
        parameters = dict(self.operation.parameters)
        return {**values, "operation": self.operation.name, "parameters": parameters, "inputs": list(self.inputs)}


def recipe_json(steps: Sequence[RecipeStep]) -> dict[str, Any]:
    """A recipe as JSON."""
    return {"recipe": RECIPE, "steps": [step.to_json() for step in steps]}


def recipe_steps(session: Session, version: DatasetVersion) -> list[RecipeStep]:
    """The way to a version. Raises ``NotFoundError`` where a version on the way is not in the registry."""
    steps: list[RecipeStep] = []
    places: dict[int, int] = {}
    waiting = [version]
    while waiting:
        current = waiting.pop()
        if current.id in places:
            continue
        inputs = [version_of(session, given.reference, given.digest) for given in current.source.inputs]
        missing = [given for given in inputs if given.id not in places]
        if missing:
            # Once more, when all that it was made of has its place.
            waiting += [current, *reversed(missing)]
            continue
        places[current.id] = len(steps)
        steps.append(_step(current, [places[given.id] for given in inputs]))
    return steps


def version_of(session: Session, reference: str, digest: str) -> DatasetVersion:
    """The version with that digest, of the dataset that ``reference`` names where several datasets hold it."""
    name = reference.rpartition(":")[0]
    row = session.scalar(
        select(t.DatasetVersion)
        .join(t.Dataset, t.Dataset.id == t.DatasetVersion.dataset_id)
        .where(t.DatasetVersion.digest == digest)
        .order_by(t.Dataset.name != name, t.DatasetVersion.id)
        .limit(1)
    )
    if row is None:
        raise NotFoundError(f"{reference} is not in this registry", "Its recipe cannot be followed.")
    return dataset_record(session, row)


def _step(version: DatasetVersion, inputs: Sequence[int]) -> RecipeStep:
    operation = version.source.operation
    return RecipeStep(
        dataset=version.name,
        digest=version.digest,
        behavior=version.behavior,
        licence=version.licence,
        message=version.message,
        source=None if operation else _import_of(version.source),
        operation=operation,
        inputs=tuple(inputs),
    )


def _import_of(source: Source) -> Source:
    """What an import needs of a source. Each of several sources was given a split; where an older record does not say
    it, its files do."""
    parts = (_import_of(replace(part, split=part.split or part.files[0].split)) for part in source.sources)
    return replace(source, sources=tuple(parts), card=None, notes=None)


def read_recipe(given: Any, label: str) -> list[RecipeStep]:
    """The steps of a recipe, whoever wrote it; nothing of it is run here. ``label`` names it in errors.

    Raises ``InputError`` naming the field.
    """
    if not isinstance(given, dict) or given.get("recipe") != RECIPE:
        raise _bad(f"this is not a recipe of form {RECIPE}", label, "recipe")
    steps = given.get("steps")
    if not isinstance(steps, list) or not 0 < len(steps) <= MOST_STEPS:
        raise _bad(f"has to be a list of 1 to {MOST_STEPS} steps", label, "steps")
    return [_read_step(step, place, label) for place, step in enumerate(steps)]


def _read_step(step: Any, place: int, label: str) -> RecipeStep:
    field = f"steps[{place}]"
    if not isinstance(step, dict):
        raise _bad("has to be an object", label, field)
    for key in _TEXTS:
        if not isinstance(step.get(key), str):
            raise _bad("has to be a text", label, f"{field}.{key}")
    check_name(step["dataset"])
    if not DIGEST.fullmatch(step["digest"]):
        raise _bad("has to be a digest", label, f"{field}.digest")
    texts = {key: step[key] for key in _TEXTS}
    if "import" in step:
        return RecipeStep(**texts, source=_read_import(step["import"], label, f"{field}.import"))
    inputs = step.get("inputs")
    if not isinstance(inputs, list) or not all(type(i) is int and 0 <= i < place for i in inputs):
        raise _bad("has to list steps before it", label, f"{field}.inputs")
    operation_of(step.get("operation"), step.get("parameters"), len(inputs), source=f"{label}, {field}")
    return RecipeStep(**texts, operation=OperationRecord(step["operation"], step["parameters"]), inputs=tuple(inputs))


def _read_import(value: Any, label: str, field: str) -> Source:
    try:
        source = Source.from_json(value, label, field)
    except InputError as error:
        error.hint = error.hint or _HINT
        raise
    for part in (source, *source.sources):
        if part.mapping is not None:
            mapping_of(part.mapping, f"{label}, {field}")
    for i, part in enumerate(source.sources):
        if part.split is None:
            raise _bad("has to name its split", label, f"{field}.sources[{i}].split")
    return source


def _bad(message: str, label: str, field: str) -> InputError:
    return InputError(message, _HINT, source=label, field=field)
