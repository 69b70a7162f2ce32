"""Curation: an operation on dataset versions makes a new version, with the operation as its recipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from caa_registry.errors import UsageError
from caa_registry.pairs.curation.operations import Operation, Relabel, perform
from caa_registry.pairs.record import Imported, PairItem
from caa_registry.pairs.source import OperationRecord, Source, SourceCard, SourceInput
from caa_registry.progress import Progress
from caa_registry.registry.datasets.store import NewVersion, load_pairs, register
from caa_registry.registry.provenance.runs import Activity
from caa_registry.registry.records import Curated, DatasetVersion, of_pairs
from caa_registry.registry.workspace import Workspace

_EXAMPLES = 3


@dataclass(frozen=True)
class CurationRequest:
    """An operation on ``versions``, whose result is the next version of dataset ``name``.

    ``behavior`` and ``licence``: of the result, where they are not those of the versions. ``dry_run``: nothing is
    stored.
    """

    operation: Operation
    versions: Sequence[DatasetVersion]
    name: str
    behavior: str = ""
    message: str = ""
    licence: str = ""
    dry_run: bool = False

    @property
    def givers(self) -> Sequence[DatasetVersion]:
        """The versions whose pairs the result holds: what others are compared with gives it none."""
        return self.versions if self.operation.joins else self.versions[:1]


def curate(workspace: Workspace, request: CurationRequest, progress: Progress | None = None) -> Curated:
    """Perform an operation and store what it gives.

    Nothing is stored in a dry run, and where the operation changes nothing. Raises ``UsageError`` for datasets of
    questions, for sets of different behaviors without a ``behavior``, and where nothing would be left; ``InputError``.
    """
    operation, versions, givers = request.operation, request.versions, request.givers
    behavior = request.behavior or _behavior(givers)
    with workspace.database.read() as session:
        sets = [load_pairs(session, of_pairs(version).id) for version in versions]
    activity = Activity("curate", workspace.actor, {"name": request.name, "operation": operation.name})
    result = perform(operation, sets, progress)
    if not result.items:
        notes = f" ({'; '.join(result.notes)})" if result.notes else ""
        raise UsageError(f"{operation.name} leaves no pairs{notes}", "Nothing was stored.")
    first = sets[0] if sets else []
    before, after = _counted(first), _counted(result.items)
    removed, added = before - after, after - before
    into_another = bool(versions) and request.name != versions[0].name
    version = None
    if not request.dry_run and (removed or added or into_another):
        imported = Imported(
            "pairs",
            result.items,
            _source(operation, versions),
            request.licence or "; ".join(dict.fromkeys(giver.licence for giver in givers if giver.licence)),
            result.notes,
        )
        new = NewVersion(
            imported,
            activity,
            name=request.name,
            behavior=behavior,
            message=request.message,
            inputs=[("dataset", id) for id in dict.fromkeys(giver.id for giver in givers)],
        )
        version = register(workspace, new)
    return Curated(
        request.name,
        version,
        _splits(first),
        _splits(result.items),
        removed.total(),
        added.total(),
        {"removed": _examples(first, removed), "added": _examples(result.items, added)},
        result.notes,
    )


def _source(operation: Operation, versions: Sequence[DatasetVersion]) -> Source:
    """Where a curated version comes from."""
    inputs = " and ".join(version.reference for version in versions)
    return Source(
        uri=f"{operation.name} of {inputs}" if inputs else operation.name,
        format="operation",
        operation=OperationRecord(operation.name, operation.parameters),
        inputs=tuple(SourceInput(version.reference, version.digest) for version in versions),
        card=_card(operation, versions),
    )


def _card(operation: Operation, versions: Sequence[DatasetVersion]) -> SourceCard | None:
    """What the sides mean, as of the first set; the other way round where all of them are swapped."""
    card = versions[0].source.card if versions else None
    if card is not None and isinstance(operation, Relabel) and operation.where is None:
        return card.swapped()
    return card


def _behavior(versions: Sequence[DatasetVersion]) -> str:
    behaviors = list(dict.fromkeys(version.behavior for version in versions))
    if len(behaviors) > 1:
        raise UsageError(
            f"the sets contrast different behaviors: {', '.join(behaviors)}",
            "If they mean the same, name it with --behavior.",
        )
    return behaviors[0] if behaviors else ""


def _counted(items: Sequence[PairItem]) -> Counter[tuple[str, str]]:
    return Counter((item.digest, item.split) for item in items)


def _splits(items: Sequence[PairItem]) -> dict[str, int]:
    return dict(sorted(Counter(item.split for item in items).items()))


def _examples(items: Sequence[PairItem], which: Counter[tuple[str, str]]) -> list[PairItem]:
    return [item for item in items if (item.digest, item.split) in which][:_EXAMPLES]
