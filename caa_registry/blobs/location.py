"""Where a registry keeps its blobs: what a user names, what the catalogue remembers of it, and the store that it is.

The catalogue remembers it in table ``meta``, so that whoever opens the registry finds the same store; without that the
blobs are in the database. A store belongs to one registry, since ``gc`` removes from it what that one does not need: a
claim lies with the blobs.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from caa_registry import settings
from caa_registry.blobs.cache import BlobCache
from caa_registry.blobs.database import DatabaseBlobStore
from caa_registry.blobs.external import ExternalBlobStore, owner_of
from caa_registry.blobs.objects import CLAIM, Objects
from caa_registry.blobs.store import BlobStore
from caa_registry.catalog import models as t
from caa_registry.catalog.database import Database
from caa_registry.catalog.location import Location, locate
from caa_registry.catalog.state import look
from caa_registry.digests import canonical_json, digest_object
from caa_registry.disk import expanded, explained
from caa_registry.errors import CaaError, RegistryError, UsageError, one_line
from caa_registry.extensions import Extensions, resolve

KEY = "blobs"
"""The key in table ``meta``."""

_EXAMPLES = "Give a folder (./NAME where it holds a colon) or s3://BUCKET/PREFIX."
_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]+):")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"(?:[A-Za-z0-9!_.*'()=+,-]+/)*[A-Za-z0-9!_.*'()=+,-]+")


@dataclass(frozen=True)
class BlobPlace:
    """A place for blobs: of which ``kind`` (a name in ``PLACES``), and ``where``: a path, or what stands behind
    ``KIND://``. It may be printed as ``shown``, since it holds no secret."""

    kind: str
    where: str

    @property
    def shown(self) -> str:
        return self.where if self.kind == "folder" else f"{self.kind}://{self.where}"

    def objects(self, home: Path | None) -> Objects:
        """What keeps the bytes. ``home``: the folder of the registry's file, which a path may be relative to."""
        reference = PLACES.named(self.kind)
        make = resolve(reference) if isinstance(reference, str) else reference
        objects: Objects = make(self.where, home)
        return objects


def parse_place(given: str) -> BlobPlace:
    """The place that a user names. Raises ``UsageError``, which does not show what may be a password."""
    kind, separator, where = given.partition("://")
    kind = kind.strip().lower()
    if separator and kind == "file" and where.startswith("/"):
        return BlobPlace("folder", _path(where))
    known = bool(separator) and kind != "folder" and kind in PLACES
    if not known and ((_SCHEME.match(given) is None and not settings.may_hold_password(given)) or _exists(given)):
        return BlobPlace("folder", _path(given))
    if set("@?#") & set(given) or settings.may_hold_password(where):
        raise UsageError(
            "a URL of blobs holds no credentials: caa stores and prints none",
            "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and give s3://BUCKET/PREFIX.",
        )
    if not known:
        raise UsageError("blobs are kept in a folder or in a bucket of S3, and this is neither", _EXAMPLES)
    place = BlobPlace(kind, where.rstrip("/"))
    place.objects(None)  # what cannot be understood is said at once
    return place


def _exists(given: str) -> bool:
    try:
        return expanded(given).exists()
    except (OSError, ValueError):
        return False


def _path(given: str) -> str:
    try:
        given.encode()
        path = expanded(given).absolute()
    except UnicodeEncodeError as error:
        raise UsageError("the path of the blobs cannot be stored", "Choose another folder.") from error
    if not given.strip() or "\x00" in given:
        raise UsageError("the path of the blobs is empty or holds a NUL character", _EXAMPLES)
    return str(path)


def folder_objects(where: str, home: Path | None) -> Objects:
    """A folder; a relative path counts from the folder of the registry's file."""
    from caa_registry.blobs.folder import FolderObjects

    return FolderObjects(Path(where) if home is None else home / where)


def bucket_objects(where: str, home: Path | None) -> Objects:
    """``BUCKET/PREFIX``. Raises ``UsageError``."""
    from caa_registry.blobs.bucket import BucketObjects

    bucket, _, prefix = where.partition("/")
    if (
        not _BUCKET.fullmatch(bucket)
        or (prefix and not _PREFIX.fullmatch(prefix))
        or {".", ".."} & {*prefix.split("/")}
    ):
        raise UsageError(
            "the URL of the bucket cannot be understood",
            "Give s3://BUCKET/PREFIX; a prefix is of letters, figures and !_.*'()=+,- with '/' between its parts.",
        )
    return BucketObjects(bucket, prefix)


PLACES: Extensions[str | Callable[[str, Path | None], Objects]] = Extensions(
    "place of blobs",
    {
        "folder": "caa_registry.blobs.location:folder_objects",
        "s3": "caa_registry.blobs.location:bucket_objects",
    },
)
"""What blobs can be kept in: by the scheme of its URL what makes the ``Objects``."""


def open_store(database: Database) -> BlobStore:
    """The store of a registry's blobs. Nothing is asked of it yet. Raises ``RegistryError`` for a place that this
    installation does not know."""
    remembered = _remembered(database)
    if remembered is None:
        return DatabaseBlobStore(database)
    place, owner = remembered
    folder, limit = settings.blob_cache()
    return ExternalBlobStore(database, place.objects(_home(database.path)), owner, BlobCache(folder, limit))


def place_of(database: Database) -> BlobPlace | None:
    """Where a registry keeps its blobs; ``None`` for in its database. A folder's path is whole."""
    remembered = _remembered(database)
    if remembered is None:
        return None
    place, home = remembered[0], _home(database.path)
    return place if place.kind != "folder" or home is None else BlobPlace("folder", str(home / place.where))


def _home(path: Path | None) -> Path | None:
    """The folder in which a registry's file lies, also where ``path`` is a link to it."""
    return None if path is None else path.resolve().parent


def _remembered(database: Database) -> tuple[BlobPlace, str] | None:
    with database.read() as session:
        row = session.get(t.Meta, KEY)
    if row is None:
        return None
    try:
        value = json.loads(row.value)
        place, owner = BlobPlace(value["kind"], value["where"]), value["owner"]
        if not all(isinstance(each, str) for each in (place.kind, place.where, owner)):
            raise TypeError
    except (ValueError, KeyError, TypeError):
        raise RegistryError(
            f"{database.shown} is damaged: it does not say where its blobs are", "Restore a backup."
        ) from None
    if place.kind not in PLACES:
        raise RegistryError(
            f"{database.shown} keeps its blobs in {one_line(place.kind, 40)}, which this caa does not know",
            "Update caa-registry, or import what provides it.",
        )
    return place, owner


def owner_name(location: Location) -> str:
    """What tells the registry that is to be made there from others: made again in the same place it may have the same
    blobs."""
    return digest_object("blobs", {"machine": socket.gethostname(), "registry": location.shown})


@dataclass(frozen=True)
class Claim:
    """A place that was claimed for a registry that is to be made: what keeps its bytes, and what table ``meta`` is to
    hold. ``written``: the names of blobs that go with the claim where that is taken back."""

    objects: Objects
    facts: Mapping[str, str]
    written: list[str] = field(default_factory=list)


@contextmanager
def claimed(place: BlobPlace, url: str, *, shared: bool) -> Iterator[Claim]:
    """Claim a place for the registry that is to be made at ``url``. It is taken back, with all that was made for it,
    where that fails and no registry there keeps its blobs in the place.

    Raises ``UsageError`` where another registry keeps its blobs there, ``BlobStoreError`` and ``WriteError`` where
    nothing can be kept there.
    """
    location = locate(url)
    owner, home = owner_name(location), _home(location.path)
    objects = place.objects(None)
    data = canonical_json({"schema": "caa-registry/blobs/v1", "registry": owner}).encode()
    value = json.dumps({"kind": place.kind, "owner": owner, "where": _where(place, home)})
    claim, new = Claim(objects, {KEY: value}), False
    try:
        with explained(place.shown):
            objects.prepare(shared=shared)
            known = owner_of(objects)
            if known is None:
                new = objects.write(CLAIM, data, replace=False)
                known = owner_of(objects)
        if known != owner:
            raise UsageError(
                f"another registry keeps its blobs in {place.shown}",
                f"Name another place. If that registry is gone, and its blobs with it, remove {CLAIM} there.",
            )
        yield claim
    except BaseException:
        if not _is_used(place, url):
            with suppress(CaaError):
                objects.remove([*claim.written, *([CLAIM] if new else [])])
            objects.remove_place()
        raise


def _is_used(place: BlobPlace, url: str) -> bool:
    """Whether there may be a registry at ``url`` by now, which keeps its blobs in the place."""
    if look(url).state == "none":
        return False
    try:
        with Database.open(url, create=False, read_only=True) as database:
            check_same(database, place)
        return True
    except UsageError:
        return False
    except CaaError:
        return True


def _where(place: BlobPlace, home: Path | None) -> str:
    """A folder beside or below the registry's file moves with it."""
    if place.kind == "folder" and home is not None:
        path = Path(place.where).resolve()
        if path.is_relative_to(home):
            return str(path.relative_to(home))
    return place.where


def check_same(database: Database, wanted: BlobPlace) -> None:
    """Raise ``UsageError`` unless a registry that is there already keeps its blobs where they are wanted."""
    known = place_of(database)
    if known is None or _followed(known) != _followed(wanted):
        raise UsageError(
            f"the registry {database.shown} is there already and keeps its blobs in "
            f"{'its database' if known is None else known.shown}",
            "To move them: caa backup FILE, then caa restore FILE --registry NEW --blobs URL.",
        )


def _followed(place: BlobPlace) -> tuple[str, str]:
    return place.kind, str(Path(place.where).resolve()) if place.kind == "folder" else place.where
