"""From a shared folder: bundles are checked as ``caa bundle open`` checks them, each for the version asked for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from caa_registry.errors import InputError, IntegrityError, NotFoundError
from caa_registry.progress import Progress
from caa_registry.registry.records import SentVersion, Transfer
from caa_registry.registry.transfer.bundles.archive import opened_archive
from caa_registry.registry.transfer.bundles.bundles import signed
from caa_registry.registry.transfer.bundles.reading import manifest_in, opened_bundle, sayings_in
from caa_registry.registry.transfer.documents.key import Key
from caa_registry.registry.transfer.documents.notices import Notice
from caa_registry.registry.transfer.documents.things import EvaluationDocument
from caa_registry.registry.transfer.folder.finding import find
from caa_registry.registry.transfer.folder.shelf import Shelf, Shelved, left_out
from caa_registry.registry.transfer.parcel import Parcel, Root
from caa_registry.registry.transfer.receiving.receive import Taken, missing, receive, take_sayings
from caa_registry.registry.transfer.sayings import Sayings
from caa_registry.registry.workspace import Workspace


def pull(here: Workspace, references: Sequence[str], folder: Path, remote: str, telling: Progress) -> Transfer:
    """Take versions from a folder, and all recalls, quarantines and deprecations of what is here."""
    shelf = Shelf(folder)
    asked = _in_order(shelf, {find(shelf, each) for each in references})
    versions: list[SentVersion] = []
    notices, notes = 0, dict.fromkeys(shelf.notes)
    telling(0, len(asked))
    for done, version in enumerate(asked, start=1):
        # Bundles of the same version may hold other evaluations: each is taken.
        taken = [_take(here, path, version) for path in shelf.holding(version.key)]
        _, became, new = taken[0].roots[0]
        added = sum(each.added for each in taken)
        versions.append(SentVersion(version.kind, version.reference, became, new, added))
        notices += sum(each.sayings for each in taken)
        notes |= dict.fromkeys(note for each in taken for note in each.notes)
        telling(done, len(asked))
    said, left = _take_warnings(here, shelf)
    return Transfer(remote, tuple(versions), notices + said, (*notes, *left))


def _in_order(shelf: Shelf, asked: Collection[Shelved]) -> list[Shelved]:
    """What others need goes first, and older versions before newer ones, so that they get their numbers where these are
    free."""
    left = sorted(asked, key=lambda each: (each.kind, each.name, each.number, each.alias))
    before: dict[Key, set[Key]] = {}
    for version in left:
        needed = {key for path in shelf.holding(version.key) for key, _ in shelf.bundles[path].documents}
        older = {
            each.key
            for each in left
            if (each.kind, each.name) == (version.kind, version.name) and each.number < version.number
        }
        before[version.key] = (needed | older) - {version.key}
    ordered: list[Shelved] = []
    while left:
        waiting = {each.key for each in left}
        # What a bundle says of itself may go round in a circle.
        first = next((each for each in left if before[each.key].isdisjoint(waiting)), left[0])
        left.remove(first)
        ordered.append(first)
    return ordered


def _take(here: Workspace, path: Path, version: Shelved) -> Taken:
    with opened_bundle(path) as bundle:
        signed(bundle.archive, bundle.manifest, what=path.name)
        parcel = _part_of(bundle.parcel, version, path)
        lacking = missing(here, {document.key for document in parcel.documents})
        documents = [document for document in parcel.documents if document.key in lacking]
        return receive(here, Parcel(parcel.roots, documents, parcel.sayings), bundle.archive.member, path.name)


def _part_of(parcel: Parcel, version: Shelved, path: Path) -> Parcel:
    """Of a bundle that may hold several versions one, with what it needs and what was measured of it. The alias of
    ``version`` goes along, and no other."""
    documents = {document.key: document for document in parcel.documents}
    roots = [root for root in parcel.roots if root.key == version.key]
    if not roots:
        raise InputError(f"it no longer holds {version.key}", "Somebody replaced it. Pull again.", source=str(path))
    alias = next((root.alias for root in roots if root.alias is not None and root.alias.name == version.alias), None)
    kept: set[Key] = set()
    waiting = [version.key]
    waiting += [
        document.key
        for document in parcel.documents
        if isinstance(document, EvaluationDocument) and document.vector == version.key
    ]
    while waiting:
        key = waiting.pop()
        if key not in kept:
            kept.add(key)
            waiting += documents[key].needs
    said = parcel.sayings
    return Parcel(
        (Root(version.key, version.number, alias),),
        [document for key, document in documents.items() if key in kept],
        Sayings(
            tuple(each for each in said.notices if each.about.kind == "pair" or each.about in kept),
            tuple(each for each in said.signatures if each.about in kept),
            tuple(each for each in said.judgements if each.about in kept),
        ),
    )


def _take_warnings(here: Workspace, shelf: Shelf) -> tuple[int, list[str]]:
    """Take in what the bundles have recalled, quarantined and deprecated of what is here: how much of it was new, and
    what is said of bundles that do not hold."""
    taken, notes, seen = 0, list[str](), set[Notice]()
    for path in shelf.bundles:
        try:
            notices = _notices(path)
        except NotFoundError:
            continue  # it went meanwhile
        except (InputError, IntegrityError) as error:
            notes.append(left_out(error))
            continue
        try:
            taken += take_sayings(here, Sayings(tuple(each for each in notices if each not in seen)), path.name)
        except InputError as error:
            notes.append(left_out(error))
        seen.update(notices)
    return taken, notes


def _notices(path: Path) -> tuple[Notice, ...]:
    with opened_archive(path) as archive:
        manifest = manifest_in(archive, str(path))
        signed(archive, manifest, what=path.name)
        return sayings_in(archive, manifest).notices
