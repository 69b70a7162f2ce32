"""Recipes: how a dataset version came about, from its sources on, and doing it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.digests import DIGEST
from caa_registry.errors import InputError, NotFoundError
from caa_registry.pairs.curation.operations import check_operation, perform
from caa_registry.pairs.record import Imported, PairItem, dataset_digest
from caa_registry.pairs.sources import load, load_splits
from caa_registry.pairs.sources.formats import FORMATS
from caa_registry.pairs.sources.hub import parse_hub
from caa_registry.pairs.sources.mappings import mapping_of
from caa_registry.references import check_name
from caa_registry.registry.datasets.curation import curate
from caa_registry.registry.datasets.store import load_items, register
from caa_registry.registry.lookup import dataset_record
from caa_registry.registry.provenance.runs import Activity
from caa_registry.registry.records import DatasetVersion

if TYPE_CHECKING:
    from caa_registry.registry.registry import Registry

RECIPE = 1
MOST_STEPS = 1000

_IMPORT_KEYS = (
    "uri",
    "format",
    "files",
    "repo",
    "revision",
    "columns",
    "split",
    "sources",
    "behavior",
    "mapping",
    "limit",
)


@dataclass(frozen=True)
class Step:
    """One step of a recipe that was done again. ``expected`` and ``found``: digests of what it gave then and now."""

    dataset: str
    what: str
    expected: str
    found: str

    @property
    def same(self) -> bool:
        return self.expected == self.found


def recipe(session: Session, version: DatasetVersion) -> dict[str, Any]:
    """The whole way to a version as JSON: its imports and operations with their digests, inputs before what is made of
    them. Raises ``NotFoundError`` where a version on the way is not in the registry."""
    steps: list[dict[str, Any]] = []
    places: dict[int, int] = {}
    waiting = [version]
    while waiting:
        one = waiting.pop()
        if one.id in places:
            continue
        inputs = [_version(session, given) for given in one.source.get("inputs", ())]
        missing = [given for given in inputs if given.id not in places]
        if missing:
            # Once more, when all that it was made of has its place.
            waiting += [one, *reversed(missing)]
            continue
        places[one.id] = len(steps)
        steps.append(_step(one, [places[given.id] for given in inputs]))
    return {"recipe": RECIPE, "steps": steps}


def _step(version: DatasetVersion, inputs: Sequence[int]) -> dict[str, Any]:
    step: dict[str, Any] = {"dataset": version.name, "digest": version.digest}
    step |= {"behavior": version.behavior, "licence": version.licence, "message": version.message}
    operation = version.source.get("operation")
    if operation is None:
        return {**step, "import": _imported(version.source)}
    return {**step, "operation": operation["name"], "parameters": operation["parameters"], "inputs": list(inputs)}


def _imported(source: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: source[key] for key in _IMPORT_KEYS if key in source}
    if "sources" in kept:
        # Each of several sources was given a split, which older records say only of its file.
        kept["sources"] = [{"split": one["files"][0]["split"], **_imported(one)} for one in kept["sources"]]
    return kept


def replay(registry: Registry, version: DatasetVersion, *, from_source: bool, sources: Mapping[str, str]) -> list[Step]:
    """Do again what made a version, from the stored imports or, ``from_source``, from the files and repositories that
    they name (``sources``: where one lies now). Nothing is stored."""
    with registry.database.read() as session:
        given = recipe(session, version)
        stored = {} if from_source else _stored(session, given)
    return [step for step, _ in _performed(check_recipe(given, "the recipe"), sources, stored)]


@dataclass(frozen=True)
class Followed:
    """A recipe that was followed, with what each step gave, as far as the first that gave something else."""

    recipe: Mapping[str, Any]
    steps: Sequence[Step]
    made: Sequence[Imported]

    @property
    def same(self) -> bool:
        return all(step.same for step in self.steps)


def follow(given: Any, sources: Mapping[str, str], label: str = "the recipe") -> Followed:
    """Do what a recipe says, from its sources on; nothing is stored. Raises ``InputError`` naming the field for what is
    no recipe."""
    checked = check_recipe(given, label)
    done = _performed(checked, sources, {})
    return Followed(checked, [step for step, _ in done], [imported for _, imported in done])


def store(registry: Registry, followed: Followed, name: str | None) -> DatasetVersion:
    """Store every step of a recipe that gave what it should, the last one's dataset as ``name``."""
    steps = followed.recipe["steps"]
    versions: list[DatasetVersion] = []
    for step, imported in zip(steps, followed.made, strict=True):
        target = name if name is not None and step["dataset"] == steps[-1]["dataset"] else step["dataset"]
        about = {"name": target, "behavior": step["behavior"], "message": step["message"]}
        if "import" in step:
            activity = Activity("import", registry.actor, {"name": target})
            versions.append(register(registry, imported, activity, **about))
        else:
            inputs = [versions[i] for i in step["inputs"]]
            parameters = step["parameters"]
            made = curate(registry, step["operation"], inputs, parameters, licence=step["licence"], **about)
            versions.append(made.version or inputs[0])
    return versions[-1]


def check_recipe(given: Any, label: str) -> dict[str, Any]:
    """``given`` if it is a recipe, whoever wrote it; nothing of it is run here. Raises ``InputError``."""

    def bad(message: str, field: str) -> InputError:
        return InputError(message, "A recipe is what caa dataset recipe writes.", source=label, field=field)

    if not isinstance(given, dict) or given.get("recipe") != RECIPE:
        raise bad(f"this is no recipe of form {RECIPE}", "recipe")
    steps = given.get("steps")
    if not isinstance(steps, list) or not 0 < len(steps) <= MOST_STEPS:
        raise bad(f"has to be a list of 1 to {MOST_STEPS} steps", "steps")
    for i, step in enumerate(steps):
        field = f"steps[{i}]"
        if not isinstance(step, dict):
            raise bad("has to be an object", field)
        for key in ("dataset", "digest", "behavior", "licence", "message"):
            if not isinstance(step.get(key), str):
                raise bad("has to be a text", f"{field}.{key}")
        check_name(step["dataset"])
        if not DIGEST.fullmatch(step["digest"]):
            raise bad("has to be a digest", f"{field}.digest")
        if "import" in step:
            _check_import(step["import"], f"{field}.import", bad)
        else:
            inputs = step.get("inputs")
            if not isinstance(inputs, list) or not all(type(place) is int and 0 <= place < i for place in inputs):
                raise bad("has to list steps before it", f"{field}.inputs")
            check_operation(step.get("operation"), step.get("parameters"), len(inputs), source=f"{label}, {field}")
    return given


def _check_import(value: Any, field: str, bad: Any) -> None:
    if not isinstance(value, dict) or not isinstance(value.get("uri"), str):
        raise bad("has to name its source", f"{field}.uri")
    columns = value.get("columns", {})
    if not isinstance(columns, dict) or not all(isinstance(v, str) for pair in columns.items() for v in pair):
        raise bad("has to map parts to columns", f"{field}.columns")
    for key in ("format", "split", "revision"):
        if not isinstance(value.get(key, ""), str):
            raise bad("has to be a text", f"{field}.{key}")
    if "mapping" in value:
        mapping_of(value["mapping"], field)
    if type(value.get("limit", 1)) is not int:
        raise bad("has to be a number", f"{field}.limit")
    sources = value.get("sources", [])
    if not isinstance(sources, list):
        raise bad("has to be a list", f"{field}.sources")
    for i, one in enumerate(sources):
        _check_import(one, f"{field}.sources[{i}]", bad)
        if not isinstance(one.get("split"), str):
            raise bad("has to name its split", f"{field}.sources[{i}].split")


def _performed(
    given: Mapping[str, Any], sources: Mapping[str, str], stored: Mapping[str, Imported]
) -> list[tuple[Step, Imported]]:
    """Each step done, one after the other, as far as the first that gives something else."""
    done: list[tuple[Step, Imported]] = []
    for step in given["steps"]:
        if "import" not in step:
            sets = [_pairs(done[place][1]) for place in step["inputs"]]
            result = perform(step["operation"], sets, step["parameters"])
            imported = Imported("pairs", result.items, {}, step["licence"], result.notes)
            what = step["operation"]
        elif step["digest"] in stored:
            imported = stored[step["digest"]]
            what = f"import of {step['import']['uri']}, as stored"
        else:
            imported = read_again(step["import"], sources, step["licence"])
            what = f"import of {step['import']['uri']}"
        found = dataset_digest(imported.kind, imported.items)
        done.append((Step(step["dataset"], what, step["digest"], found), imported))
        if found != step["digest"]:
            break
    return done


def read_again(source: Mapping[str, Any], moved: Mapping[str, str], licence: str) -> Imported:
    """What a recorded import reads now. ``moved``: where a source lies now, by the name it is recorded under."""
    first = source["sources"][0] if "sources" in source else source
    options: dict[str, Any] = {
        "columns": first.get("columns"),
        "format": None if "mapping" in first else _format(first),
        "mapping": mapping_of(first["mapping"], "the recipe") if "mapping" in first else None,
        "limit": first.get("limit"),
        "licence": licence,
    }
    if "sources" in source:
        return load_splits({one["split"]: _where(one, moved) for one in source["sources"]}, **options)
    return load(_where(source, moved), split=source.get("split"), **options)


def _where(source: Mapping[str, Any], moved: Mapping[str, str]) -> str:
    uri = str(source["uri"])
    if uri in moved:
        return moved[uri]
    if source.get("repo") and source.get("revision"):
        # At the commit that was read then, whatever its branch holds now.
        return str(replace(parse_hub(uri), revision=source["revision"]))
    return uri


def _format(source: Mapping[str, Any]) -> str | None:
    format = source.get("format")
    return format if format in FORMATS and not str(source["uri"]).startswith("seed:") else None


def _pairs(imported: Imported) -> list[PairItem]:
    return [item for item in imported.items if isinstance(item, PairItem)]


def _version(session: Session, given: Mapping[str, str]) -> DatasetVersion:
    name = given["reference"].rpartition(":")[0]
    row = session.scalar(
        select(t.DatasetVersion)
        .join(t.Dataset, t.Dataset.id == t.DatasetVersion.dataset_id)
        .where(t.DatasetVersion.digest == given["digest"])
        .order_by(t.Dataset.name != name, t.DatasetVersion.id)
        .limit(1)
    )
    if row is None:
        raise NotFoundError(f"{given['reference']} is not in this registry", "Its recipe cannot be followed.")
    return dataset_record(session, row)


def _stored(session: Session, given: Mapping[str, Any]) -> dict[str, Imported]:
    found = {}
    for step in given["steps"]:
        if "import" in step:
            version = _version(session, {"reference": step["dataset"] + ":", "digest": step["digest"]})
            found[step["digest"]] = Imported(version.kind, load_items(session, version), {}, version.licence)
    return found
