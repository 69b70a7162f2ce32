"""What is in a shared folder, by the manifests of its bundles."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from caa_registry.errors import CaaError, InputError, NotFoundError, UsageError
from caa_registry.references import Kind, check_alias, check_name, parse
from caa_registry.registry.lookup import KINDS
from caa_registry.registry.transfer.bundles.archive import opened_archive
from caa_registry.registry.transfer.bundles.manifest import Manifest
from caa_registry.registry.transfer.bundles.reading import manifest_in
from caa_registry.registry.transfer.differences import Versions
from caa_registry.registry.transfer.documents.key import Key
from caa_registry.registry.transfer.folder.files import SUFFIX, named


@dataclass(frozen=True)
class Shelved:
    """A version that a bundle was made for. Of a bundle that is damaged (``error``) the name of its file tells:
    ``digest`` is how it begins then. ``alias``: by which it was asked for, empty where by none."""

    kind: Kind
    name: str
    number: int
    digest: str
    path: Path
    alias: str = ""
    error: InputError | None = field(default=None, compare=False)

    @property
    def key(self) -> Key:
        return Key(self.kind, self.name, self.digest)

    @property
    def reference(self) -> str:
        return f"{self.name}:v{self.number}"


class Shelf:
    """The bundles in ``folder``: the regular files that are called ``*.caa`` and are not hidden.

    ``bundles``: by path the manifests of those whose manifest can be read, compared with nothing else; ``damaged``: by
    path what is wrong with the others. Raises ``NotFoundError`` where there is no folder, ``UsageError`` where it is
    something else, ``InputError`` where it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bundles: dict[Path, Manifest] = {}
        self.damaged: dict[Path, InputError] = {}
        for path in _files(folder):
            self.look(path)

    def look(self, path: Path) -> None:
        """Read the manifest of one of the files, or read it again."""
        self.bundles.pop(path, None)
        self.damaged.pop(path, None)
        try:
            if not path.is_symlink():
                self.bundles[path] = _manifest(path)
        except (NotFoundError, UsageError):
            pass  # it went meanwhile, or is no file
        except InputError as error:
            self.damaged[path] = error
        except OSError as error:
            self.damaged[path] = InputError(f"it cannot be read ({error.strerror or error})", source=str(path))

    @property
    def versions(self) -> Iterator[Shelved]:
        for path, manifest in self.bundles.items():
            for root in manifest.roots:
                kind: Kind = "dataset" if root.key.kind == "dataset" else "vector"
                alias = root.alias.name if root.alias is not None else ""
                yield Shelved(kind, root.key.name, root.number, root.key.digest, path, alias)
        for path, error in self.damaged.items():
            told = named(path.name)
            if told is not None:
                yield Shelved(*told, path, error=error)

    @property
    def by_name(self) -> Versions:
        """The versions of each kind, by name, as they are compared."""
        versions: dict[Kind, dict[str, set[tuple[int, str]]]] = {kind: {} for kind in KINDS}
        for each in self.versions:
            if each.error is None:
                versions[each.kind].setdefault(each.name, set()).add((each.number, each.digest))
        return versions

    @property
    def along(self) -> set[Key]:
        """All that is in its bundles, with what came along with the versions."""
        return {key for manifest in self.bundles.values() for key, _ in manifest.documents}

    def holding(self, key: Key) -> list[Path]:
        """The bundles that were made for a version."""
        return [path for path, manifest in self.bundles.items() if any(root.key == key for root in manifest.roots)]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of it."""
        return tuple(left_out(error) for error in self.damaged.values())


def left_out(error: CaaError) -> str:
    """What is said of a bundle that does not hold, where others are asked for."""
    return f"left out: {error.message}"


def _files(folder: Path) -> list[Path]:
    try:
        if not folder.is_dir():
            raise _no_folder(folder)
        with os.scandir(folder) as entries:
            # A hidden file is what another program keeps beside a bundle.
            found = [
                entry.name
                for entry in entries
                if entry.name.lower().endswith(SUFFIX) and not entry.name.startswith(".") and entry.is_file()
            ]
    except OSError as error:
        raise InputError(f"it cannot be read ({error.strerror or error})", source=str(folder)) from error
    return [folder / name for name in sorted(found)]


def _no_folder(folder: Path) -> CaaError:
    if os.path.lexists(folder):
        return UsageError(f"{folder} is not a folder", "Name a folder that holds bundles.")
    return NotFoundError(
        f"there is no folder {folder}",
        f"Mount its disk, or make the folder if it is new: mkdir {shlex.quote(str(folder))}",
    )


def _manifest(path: Path) -> Manifest:
    with opened_archive(path) as archive:
        manifest = manifest_in(archive, str(path))
    for root in manifest.roots:
        try:
            parse(f"{check_name(root.key.name)}:v{root.number}")
            if root.alias is not None:
                check_alias(root.alias.name)
        except UsageError as error:
            raise InputError(error.message, "Have it sent again.", source=str(path)) from error
    return manifest
