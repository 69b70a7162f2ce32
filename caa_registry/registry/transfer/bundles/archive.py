"""The zip of a bundle: written the same for the same members, and read as something that anybody may have made."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from caa_registry.digests import digest_bytes
from caa_registry.errors import InputError, NotFoundError, UsageError

MANIFEST, SIGNATURE = "manifest.json", "signature.json"
_MEMBER = re.compile(r"members/([0-9a-f]{64})")
# Of the manifest and the signature, of a member, and how many entries there may be.
_LARGEST_MANIFEST, _LARGEST_MEMBER, _MOST_ENTRIES = 64 * 2**20, 2**30, 200_000
# Of the flags of an entry only that its name is UTF-8 may be set.
_UTF8 = 0x800
_MOMENT = (1980, 1, 1, 0, 0, 0)


def member_name(digest: str) -> str:
    """The name of a member in the zip."""
    return f"members/{digest.removeprefix('sha256:')}"


def write_archive(path: Path, entries: Iterable[tuple[str, bytes]]) -> None:
    """Write a zip of ``entries``, by name, in their order."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in entries:
            entry = zipfile.ZipInfo(name, _MOMENT)
            entry.create_system, entry.external_attr = 3, 0o100600 << 16
            archive.writestr(entry, data)


class Archive:
    """The entries of a bundle. ``members``: the sizes by digest, in the order of the file; ``signed``: whether it has a
    signature. Each is read into memory and compared with its digest; nothing is written anywhere."""

    def __init__(self, archive: zipfile.ZipFile, what: str, size: int) -> None:
        self._archive, self._what = archive, what
        entries = archive.infolist()
        if len(entries) > _MOST_ENTRIES:
            raise self.bad(f"it has {len(entries):,} entries; a bundle has at most {_MOST_ENTRIES:,}")
        names = [entry.filename for entry in entries]
        if not names or names[0] != MANIFEST:
            raise self.bad(f"its first entry is not {MANIFEST}")
        self.signed = names[-1] == SIGNATURE
        self.members: dict[str, int] = {}
        self._entries: dict[str, zipfile.ZipInfo] = {}
        for place, entry in enumerate(entries):
            name = entry.orig_filename
            match = _MEMBER.fullmatch(name)
            first_or_last = (place == 0 and name == MANIFEST) or (place == len(entries) - 1 and name == SIGNATURE)
            if match is None and not first_or_last:
                raise self.bad(f"it has an entry {name[:80]!r}, which no bundle has")
            if name in self._entries:
                raise self.bad(f"it has the entry {name} twice")
            most = _LARGEST_MANIFEST if match is None else _LARGEST_MEMBER
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                raise self.bad(f"its entry {name} is compressed")
            if entry.flag_bits & ~_UTF8:
                raise self.bad(f"its entry {name} is encrypted, or of a kind that no bundle has")
            if entry.file_size > most or entry.header_offset + entry.file_size > size:
                raise self.bad(f"its entry {name} claims {entry.file_size:,} bytes")
            self._entries[name] = entry
            if match is not None:
                self.members[f"sha256:{match[1]}"] = entry.file_size

    def bad(self, message: str) -> InputError:
        """The error that says what is wrong with the bundle."""
        return InputError(message, "Have it sent again.", source=self._what)

    def manifest(self) -> bytes:
        """The bytes of the manifest."""
        return self._read(MANIFEST)

    def signature(self) -> bytes:
        """The bytes of the signature."""
        return self._read(SIGNATURE)

    def member(self, digest: str) -> bytes:
        """The bytes of a member, compared with their digest. Raises ``InputError``."""
        name = member_name(digest)
        if name not in self._entries:
            raise self.bad(f"its member {digest} is missing")
        data = self._read(name)
        if digest_bytes(data) != digest:
            raise self.bad(f"its member {digest} is damaged: the bytes do not match the digest")
        return data

    def _read(self, name: str) -> bytes:
        entry = self._entries[name]
        try:
            with self._archive.open(entry) as file:
                data = file.read(entry.file_size + 1)
        except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
            raise self.bad(f"its entry {name} cannot be read ({error})") from error
        if len(data) != entry.file_size:
            raise self.bad(f"its entry {name} is cut off")
        return data


@contextmanager
def opened_archive(path: Path) -> Iterator[Archive]:
    """The entries of the bundle at ``path``. Raises ``NotFoundError`` where there is none, ``InputError`` for another
    file."""
    what = str(path)
    try:
        path.name.encode()
    except UnicodeEncodeError:  # it is kept as where things come from
        raise InputError("its name is not in UTF-8", "Give it another name.", source=ascii(path.name)) from None
    if not path.is_file():
        if path.exists():
            raise UsageError(f"{what} is not a regular file", "Name a bundle: pairs.caa")
        raise NotFoundError(f"there is no bundle {what}", "Name the file that caa bundle create wrote.")
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OverflowError, UnicodeDecodeError) as error:
        raise InputError(f"it is no bundle ({error})", "Have it sent again.", source=what) from error
    except OSError as error:
        raise InputError(f"it cannot be read ({error.strerror or error})", source=what) from error
    with archive:
        yield Archive(archive, what, path.stat().st_size)
