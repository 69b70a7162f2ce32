"""Curation: an operation on dataset versions makes a new version, with the operation as its recipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from caa_registry.digests import floats_as_text
from caa_registry.errors import UsageError
from caa_registry.pairs.curation.operations import OPERATIONS, perform
from caa_registry.pairs.record import Imported, PairItem
from caa_registry.progress import Progress
from caa_registry.references import check_name
from caa_registry.registry.datasets.store import load_pairs, register
from caa_registry.registry.lookup import of_pairs
from caa_registry.registry.provenance.runs import Activity
from caa_registry.registry.records import DatasetVersion

if TYPE_CHECKING:
    from caa_registry.registry.registry import Registry

_EXAMPLES = 3


@dataclass(frozen=True)
class Curated:
    """What an operation did, or would do. ``version``: what was made or found, none in a dry run and where nothing
    changed. ``before`` and ``after``: rows by split. ``removed`` and ``added``: how many rows went and came, as pairs
    in their splits; ``examples`` of each. ``notes``: what the operation says."""

    name: str
    version: DatasetVersion | None
    before: Mapping[str, int]
    after: Mapping[str, int]
    removed: int
    added: int
    examples: Mapping[str, Sequence[PairItem]]
    notes: Sequence[str]

    @property
    def changed(self) -> bool:
        return bool(self.removed or self.added)


def curate(
    registry: Registry,
    operation: str,
    references: Sequence[str | DatasetVersion],
    parameters: Mapping[str, Any],
    *,
    name: str | None = None,
    behavior: str = "",
    message: str = "",
    licence: str = "",
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Curated:
    """Perform ``operation`` on the versions given and store what it gives as the next version of ``name``, by default
    of the first version's dataset.

    Nothing is stored in a dry run, and where the operation changes nothing. Raises ``UsageError`` for datasets of
    questions, for sets of different behaviors without a ``behavior``, and where nothing would be left; ``InputError``.
    """
    versions = [registry.datasets.get(reference) for reference in references]
    name = check_name(name or versions[0].name) if versions else check_name(name or "")
    # A merge holds pairs of all its sets; what others compare with gives them none.
    givers = versions if operation == "merge" else versions[:1]
    behavior = behavior or _behavior(givers)
    with registry.database.read() as session:
        sets = [load_pairs(session, of_pairs(version).id) for version in versions]
    activity = Activity("curate", registry.actor, {"name": name, "operation": operation})
    defaults = OPERATIONS[operation].defaults if operation in OPERATIONS else {}
    parameters = floats_as_text({**defaults, **parameters})
    result = perform(operation, sets, parameters, progress)
    if not result.items:
        said = f" ({'; '.join(result.notes)})" if result.notes else ""
        raise UsageError(f"{operation} leaves no pair{said}", "Nothing was stored.")
    before, after = _counted(sets[0] if sets else ()), _counted(result.items)
    removed, added = before - after, after - before
    version = None
    into_another = bool(versions) and name != versions[0].name
    if not dry_run and (removed or added or into_another):
        source = recipe_source(operation, parameters, versions)
        made = Imported(
            "pairs",
            result.items,
            {**source, **_card(versions, operation, parameters)},
            licence or "; ".join(dict.fromkeys(version.licence for version in givers if version.licence)),
            result.notes,
        )
        version = register(
            registry,
            made,
            activity,
            name=name,
            behavior=behavior,
            message=message,
            inputs=[("dataset", id) for id in dict.fromkeys(version.id for version in givers)],
        )
    return Curated(
        name,
        version,
        _splits(sets[0] if sets else ()),
        _splits(result.items),
        removed.total(),
        added.total(),
        {"removed": _examples(sets[0] if sets else (), removed), "added": _examples(result.items, added)},
        result.notes,
    )


def recipe_source(operation: str, parameters: Mapping[str, Any], versions: Sequence[DatasetVersion]) -> dict[str, Any]:
    """What a curated version says of where it came from."""
    of = " and ".join(version.reference for version in versions)
    return {
        "uri": f"{operation} of {of}" if of else operation,
        "format": "operation",
        "files": [],
        "operation": {"name": operation, "parameters": dict(parameters)},
        "inputs": [{"reference": version.reference, "digest": version.digest} for version in versions],
    }


def described(version: DatasetVersion) -> str:
    """How a version came about, in a few words: the operation, or the source of the import."""
    operation = version.source.get("operation")
    return str(operation["name"] if operation else version.source.get("uri", ""))


def _behavior(versions: Sequence[DatasetVersion]) -> str:
    behaviors = list(dict.fromkeys(version.behavior for version in versions))
    if len(behaviors) > 1:
        raise UsageError(
            f"the sets contrast different behaviors: {', '.join(behaviors)}", "Give --behavior if they are one."
        )
    return behaviors[0] if behaviors else ""


def _card(
    versions: Sequence[DatasetVersion], operation: str, parameters: Mapping[str, Any]
) -> dict[str, Mapping[str, str]]:
    """What the sides mean, as of the first set; the other way round where all of them are swapped."""
    card = versions[0].source.get("card") if versions else None
    if not card:
        return {}
    if operation == "relabel" and parameters["where"] is None:
        card = {"positive": card["negative"], "negative": card["positive"]}
    return {"card": card}


def _counted(items: Sequence[PairItem]) -> Counter[tuple[str, str]]:
    return Counter((item.digest, item.split) for item in items)


def _splits(items: Sequence[PairItem]) -> dict[str, int]:
    return dict(sorted(Counter(item.split for item in items).items()))


def _examples(items: Sequence[PairItem], which: Counter[tuple[str, str]]) -> list[PairItem]:
    return [item for item in items if (item.digest, item.split) in which][:_EXAMPLES]
