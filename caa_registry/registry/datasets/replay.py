"""Doing again what made a dataset version, step by step as its recipe says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy.orm import Session

from caa_registry.hub.names import parse_hub
from caa_registry.pairs.curation.operations import Operation, operation_of, perform
from caa_registry.pairs.record import Imported, PairItem, dataset_digest
from caa_registry.pairs.source import OperationRecord, Source
from caa_registry.pairs.sources import load, load_splits
from caa_registry.pairs.sources.formats import FORMATS
from caa_registry.pairs.sources.mappings import mapping_of
from caa_registry.registry.datasets.curation import CurationRequest, curate
from caa_registry.registry.datasets.recipe import RecipeStep, read_recipe, recipe_steps, version_of
from caa_registry.registry.datasets.store import NewVersion, load_items, register
from caa_registry.registry.provenance.runs import Activity
from caa_registry.registry.records import DatasetVersion, Step
from caa_registry.registry.workspace import Workspace


@dataclass(frozen=True)
class ReplayRequest:
    """A version whose recipe is followed again: from the stored imports, or ``from_source`` from the files and
    repositories that they name. ``sources``: where a source lies now, by the name it is recorded under."""

    version: DatasetVersion
    from_source: bool = False
    sources: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Followed:
    """A recipe that was followed: its steps, what came of them, and what each gave, as far as the first that gave
    something else."""

    recipe: Sequence[RecipeStep]
    steps: Sequence[Step]
    imported: Sequence[Imported]

    @property
    def same(self) -> bool:
        return all(step.same for step in self.steps)


def replay(workspace: Workspace, request: ReplayRequest) -> Sequence[Step]:
    """Do again what made a version; nothing is stored."""
    with workspace.database.read() as session:
        recipe = recipe_steps(session, request.version)
        stored = {} if request.from_source else _stored_imports(session, recipe)
    return _performed(recipe, request.sources, stored).steps


def follow(given: Any, sources: Mapping[str, str], label: str = "the recipe") -> Followed:
    """Do what a recipe says, from its sources on; nothing is stored. Raises ``InputError`` naming the field for what is
    not a recipe."""
    return _performed(read_recipe(given, label), sources, {})


def store(workspace: Workspace, followed: Followed, name: str | None) -> DatasetVersion:
    """Store every step of a recipe that gave what it should, the last one's dataset as ``name``."""
    last = followed.recipe[-1].dataset
    versions: list[DatasetVersion] = []
    for place, (step, imported) in enumerate(zip(followed.recipe, followed.imported, strict=True)):
        target = name if name is not None and step.dataset == last else step.dataset
        if step.operation is None:
            activity = Activity("import", workspace.actor, {"name": target})
            new = NewVersion(imported, activity, name=target, behavior=step.behavior, message=step.message)
            versions.append(register(workspace, new))
        else:
            inputs = [versions[i] for i in step.inputs]
            request = CurationRequest(
                _operation(step.operation, len(inputs), place),
                inputs,
                name=target,
                behavior=step.behavior,
                message=step.message,
                licence=step.licence,
            )
            versions.append(curate(workspace, request).version or inputs[0])
    return versions[-1]


def _performed(recipe: Sequence[RecipeStep], sources: Mapping[str, str], stored: Mapping[str, Imported]) -> Followed:
    """Each step done, one after the other, as far as the first that gives something else."""
    steps: list[Step] = []
    results: list[Imported] = []
    for place, step in enumerate(recipe):
        if step.operation is not None:
            sets = [_pairs(results[i]) for i in step.inputs]
            operation = _operation(step.operation, len(sets), place)
            result = perform(operation, sets)
            record = Source(uri=operation.name, format="operation")
            imported = Imported("pairs", result.items, record, step.licence, result.notes)
            what = operation.name
        else:
            assert step.source is not None
            what = f"import of {step.source.uri}"
            if step.digest in stored:
                imported = stored[step.digest]
                what += ", as stored"
            else:
                imported = _read_again(step.source, sources, step.licence)
        digest = dataset_digest(imported.kind, imported.items)
        steps.append(Step(step.dataset, what, step.digest, digest))
        results.append(imported)
        if digest != step.digest:
            break
    return Followed(recipe, steps, results)


def _operation(record: OperationRecord, n_inputs: int, place: int) -> Operation:
    return operation_of(record.name, record.parameters, n_inputs, source=f"the recipe, steps[{place}]")


def _read_again(source: Source, moved: Mapping[str, str], licence: str) -> Imported:
    """What a recorded import reads now. ``moved``: where a source lies now, by the name it is recorded under."""
    first = source.sources[0] if source.sources else source
    options: dict[str, Any] = {
        "columns": first.columns,
        "format": _format(first),
        "mapping": mapping_of(first.mapping, "the recipe") if first.mapping is not None else None,
        "limit": first.limit,
        "licence": licence,
    }
    if source.sources:
        return load_splits({str(part.split): _where(part, moved) for part in source.sources}, **options)
    return load(_where(source, moved), split=source.split, **options)


def _where(source: Source, moved: Mapping[str, str]) -> str:
    if source.uri in moved:
        return moved[source.uri]
    if source.repo and source.revision:
        # At the commit that was read then, whatever its branch holds now.
        return str(replace(parse_hub(source.uri), revision=source.revision))
    return source.uri


def _format(source: Source) -> str | None:
    """The format to ask for; none where a mapping, the card of a seed set or the content decides."""
    asked = source.format in FORMATS and source.mapping is None and not source.uri.startswith("seed:")
    return source.format if asked else None


def _pairs(imported: Imported) -> list[PairItem]:
    return [item for item in imported.items if isinstance(item, PairItem)]


def _stored_imports(session: Session, recipe: Sequence[RecipeStep]) -> dict[str, Imported]:
    """What the registry holds of each import, by digest."""
    stored = {}
    for step in recipe:
        if step.source is not None:
            version = version_of(session, f"{step.dataset}:", step.digest)
            items = load_items(session, version)
            stored[step.digest] = Imported(version.kind, items, version.source, version.licence)
    return stored
