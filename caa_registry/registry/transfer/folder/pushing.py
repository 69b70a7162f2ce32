"""To a shared folder: a bundle for each version, which grows with what becomes known of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from sqlalchemy.orm import Session

from caa_registry import disk
from caa_registry.errors import ConflictError, InputError, NotFoundError, UsageError
from caa_registry.progress import Progress
from caa_registry.references import Kind, parse
from caa_registry.registry.lookup import find_version, kind_of
from caa_registry.registry.records import SentVersion, Transfer
from caa_registry.registry.transfer.bundles.archive import opened_archive
from caa_registry.registry.transfer.bundles.bundles import signed
from caa_registry.registry.transfer.bundles.reading import manifest_in, opened_bundle, sayings_in
from caa_registry.registry.transfer.bundles.writing import joined, laid_out, write
from caa_registry.registry.transfer.documents.key import Key
from caa_registry.registry.transfer.folder.files import State, clear, file_name, put, state
from caa_registry.registry.transfer.folder.shelf import Shelf, left_out
from caa_registry.registry.transfer.parcel import Parcel, Root
from caa_registry.registry.transfer.sayings import Sayings
from caa_registry.registry.transfer.sending import in_order, parcel_of
from caa_registry.registry.workspace import Workspace

# How often a bundle may be replaced by others while it is written.
_TRIES = 5
_REMOVE = "Remove it, and push again."


def push(here: Workspace, references: Sequence[str], folder: Path, remote: str, telling: Progress) -> Transfer:
    """Write a bundle for each version that the folder lacks, and replace those that lack something."""
    ordered = in_order(here, references)
    shelf = Shelf(folder)
    clear(folder)
    versions: list[SentVersion] = []
    notices, notes = 0, dict.fromkeys(shelf.notes)
    telling(0, len(ordered))
    for done, reference in enumerate(ordered, start=1):
        sent = _Sending(here, shelf, reference)
        versions.append(sent.send())
        notices += sent.notices
        notes |= dict.fromkeys(sent.notes)
        telling(done, len(ordered))
    return Transfer(remote, tuple(versions), notices, tuple(notes))


class _Sending:
    """One version on its way to the folder. ``notices`` and ``notes``: what came of it, as in ``Transfer``."""

    def __init__(self, here: Workspace, shelf: Shelf, reference: str) -> None:
        self._here, self._shelf, self._reference = here, shelf, reference
        self.notices = 0
        self.notes: list[str] = []

    def send(self) -> SentVersion:
        for _ in range(_TRIES):
            self.notes.clear()
            with self._here.database.read() as session:
                sent = self._try(session)
            if sent is not None:
                return sent
        raise ConflictError(
            f"{self._shelf.folder} changes all the time: {self._reference} was not written", "Push again."
        )

    def _try(self, session: Session) -> SentVersion | None:
        """Send it; ``None`` where somebody replaced its bundle meanwhile."""
        shelf, reference = self._shelf, self._reference
        kind = kind_of(session, reference, prefer="vector")  # its pairs go along
        row = find_version(session, reference, kind)
        key = Key(kind, parse(reference).name, row.digest)
        number = self._number(kind, key, row.number)
        path = shelf.folder / file_name(kind, key.name, number, key.digest)
        with disk.explained(path):
            before = state(path)
        shelf.look(path)
        self._check_free(path, before)
        keys: set[Key] = set()

        def needed(found: Collection[Key]) -> Collection[Key]:
            keys.update(found)
            return ()

        empty = parcel_of(session, reference, needed)
        there, said = self._known(key, path)
        self.notices = _count([*said, empty.sayings]) - _count(said)
        root = self._without_alias_of_others(kind, replace(empty.roots[0], number=number))
        aliases = {each.alias for each in shelf.versions if each.error is None and each.key == key}
        if keys - there or self.notices or (root.alias is not None and root.alias.name not in aliases):
            written = self._write(session, path, before, root)
            shelf.look(path)
            if not written:
                return None
        return SentVersion(kind, f"{key.name}:v{row.number}", root.reference, key not in there, len(keys - there))

    def _number(self, kind: Kind, key: Key, number: int) -> int:
        """The number that the version has in the folder, or gets there: its own, or the next that is free."""
        of_name = [each for each in self._shelf.versions if (each.kind, each.name) == (kind, key.name)]
        same = [each for each in of_name if key.digest.startswith(each.digest)]
        if same:
            own = (each for each in same if each.path.name == file_name(kind, key.name, each.number, key.digest))
            return next(own, same[0]).number
        taken = {each.number for each in of_name}
        while number in taken:
            number += 1
        return number

    def _check_free(self, path: Path, before: State | None) -> None:
        """Raise ``InputError`` or ``UsageError`` where a file has the name of the bundle and is not one."""
        if path in self._shelf.damaged:
            raise InputError(self._shelf.damaged[path].message, _REMOVE)
        if before is not None and path not in self._shelf.bundles:
            raise UsageError(f"{path} is in the way: it is no bundle", "Give it another name, or remove it.")

    def _known(self, key: Key, own: Path) -> tuple[set[Key], list[Sayings]]:
        """What the bundles of a version hold, and what they say, as far as every byte of them is what it was."""
        keys, said = set[Key](), list[Sayings]()
        for path in self._shelf.holding(key):
            try:
                with opened_archive(path) as archive:
                    manifest = manifest_in(archive, str(path))
                    for digest in archive.members:
                        archive.member(digest)
                    said.append(sayings_in(archive, manifest))
                    keys.update(each for each, _ in manifest.documents)
            except NotFoundError:
                continue  # it went meanwhile
            except InputError as error:
                if path == own:
                    raise InputError(error.message, _REMOVE) from error
                self.notes.append(left_out(error))
        return keys, said

    def _without_alias_of_others(self, kind: Kind, root: Root) -> Root:
        """``root`` without an alias by which the folder knows another version."""
        if root.alias is None:
            return root
        for each in self._shelf.versions:
            same_name = (each.kind, each.name, each.alias) == (kind, root.key.name, root.alias.name)
            if same_name and each.digest != root.key.digest:
                self.notes.append(
                    f"{root.key.name}:{root.alias.name} is {each.reference} there and was left. To move it there, "
                    f"remove {each.path.name} and push both again"
                )
                return replace(root, alias=None)
        return root

    def _write(self, session: Session, path: Path, before: State | None, root: Root) -> bool:
        """Write the bundle with all that it holds already; whether nobody replaced it meanwhile."""
        blobs = self._here.blobs
        with ExitStack() as stack:
            base = stack.enter_context(opened_bundle(path)) if path in self._shelf.bundles else None
            if base is not None and signed(base.archive, base.manifest, what=path.name)[0]:
                self.notes.append(f"{path.name} was signed as it was before, and is not signed any more")
            theirs = base.parcel if base is not None else Parcel((), (), Sayings())
            held = base.archive.members if base is not None else {}
            known = {document.key for document in theirs.documents}
            both = joined([theirs, parcel_of(session, self._reference, lambda keys: set(keys) - known)])
            parcel = Parcel(_with(theirs.roots, root), both.documents, both.sayings)
            manifest, texts = laid_out(
                parcel, lambda digest: held[digest] if digest in held else blobs.stat(digest).size
            )

            def blob(digest: str) -> bytes:
                return base.archive.member(digest) if base and digest in held else blobs.get(digest, session)

            return put(path, before, lambda part: write(part, manifest, texts, blob))


def _with(roots: Sequence[Root], root: Root) -> tuple[Root, ...]:
    """``roots`` with ``root``, which may be there already, without its alias or with another."""
    aliases = [each.alias.name if each.alias is not None else "" for each in roots if each.key == root.key]
    if aliases and (root.alias is None or root.alias.name in aliases):
        return tuple(roots)
    return (*(each for each in roots if each.key != root.key or each.alias is not None), root)


def _count(said: Sequence[Sayings]) -> int:
    """How much is said, each thing once."""
    once = joined([Parcel((), (), sayings) for sayings in said]).sayings
    return len(once.notices) + len(once.signatures) + len(once.judgements)
