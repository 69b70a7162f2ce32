"""Blobs in a bucket, and what goes wrong on the way to it: the right bytes come of it, or one sentence with a hint."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from blobs.store_suite import ABSENT, StoreSuite
from catalog.registry_fixtures import together
from support.s3_server import KEY, SECRET, Fault, S3Server, s3

from caa_registry.blobs.bucket import BucketObjects
from caa_registry.blobs.cache import BlobCache
from caa_registry.blobs.external import ExternalBlobStore, owner_of
from caa_registry.blobs.location import claimed, parse_place
from caa_registry.blobs.objects import name_of
from caa_registry.blobs.store import BlobPiece, BlobStore
from caa_registry.catalog.database import Database
from caa_registry.digests import digest_bytes
from caa_registry.errors import BlobStoreError, CaaError, IntegrityError, NotFoundError

__all__ = ["s3"]

DATA = b"0123456789" * 100


@pytest.fixture
def database(sqlite_database: Database) -> Database:
    """Nothing here depends on the dialect."""
    return sqlite_database


@pytest.fixture
def name(s3: S3Server) -> str:
    return s3.new_bucket()


@pytest.fixture
def store(database: Database, name: str, tmp_path: Path) -> ExternalBlobStore:
    with claimed(parse_place(f"s3://{name}/team/blobs"), "sqlite:////nowhere/r.db", shared=False):
        pass
    objects = BucketObjects(name, "team/blobs")
    return ExternalBlobStore(database, objects, owner_of(objects) or "", BlobCache(tmp_path / "cache", 10**6))


@pytest.fixture
def uncached(database: Database, store: ExternalBlobStore, tmp_path: Path) -> ExternalBlobStore:
    """The same store, which keeps nothing that it has read."""
    return ExternalBlobStore(database, store._objects, store._owner, BlobCache(tmp_path / "none", 0))


class TestBucketStore(StoreSuite):
    @pytest.fixture
    def store(self, uncached: ExternalBlobStore) -> ExternalBlobStore:
        return uncached

    def damage(self, store: BlobStore, database: Database, digest: str, data: bytes) -> None:
        BucketObjects(*store.shown.removeprefix("s3://").split("/", 1)).write(name_of(digest), data)


class TestCachedBucketStore(TestBucketStore):
    """The same with a cache, which never shows."""

    @pytest.fixture
    def store(self, database: Database, uncached: ExternalBlobStore, tmp_path: Path) -> ExternalBlobStore:
        return ExternalBlobStore(database, uncached._objects, uncached._owner, BlobCache(tmp_path / "cache", 10**6))

    def damage(self, store: BlobStore, database: Database, digest: str, data: bytes) -> None:
        super().damage(store, database, digest, data)
        assert isinstance(store, ExternalBlobStore)
        store.cache.drop(digest.removeprefix("sha256:"))


PASSING = [
    *("refuse", "drop", "hang", "cut"),
    *((500, "InternalError"), (503, "SlowDown"), (503, "ServiceUnavailable"), (429, "TooManyRequests")),
]


def fault(method: str, kind: object, times: int = 1, part: str = "/sha256/") -> Fault:
    if isinstance(kind, tuple):
        return Fault(method, kind[0], kind[1], part=part, times=times)
    assert isinstance(kind, str)
    return Fault(method, kind, part=part, times=times)


@pytest.mark.parametrize("kind", PASSING, ids=str)
def test_what_passes_is_not_noticed(s3: S3Server, uncached: ExternalBlobStore, kind: object) -> None:
    s3.faults += [fault("PUT", kind, times=2)]
    digest = uncached.put(DATA)
    other = uncached.put(b"other")
    s3.faults += [fault("GET", kind, times=2)]
    assert uncached.get(digest) == DATA
    s3.faults += [fault("GET", kind, times=2)]
    assert uncached.read_range(digest, 10, 20) == DATA[10:30]
    s3.faults += [fault("HEAD", kind)]
    assert digest in uncached
    s3.faults += [fault("GET", kind, part="list-type")]
    assert sorted(uncached.ls()) == sorted([digest, other])
    assert not s3.faults


@pytest.mark.parametrize("kind", ["flip", "short", "other", "cut"])
def test_wrong_bytes_on_the_way_are_asked_for_again(s3: S3Server, uncached: ExternalBlobStore, kind: str) -> None:
    digest, sha256 = uncached.put(DATA), digest_bytes(DATA[10:30])
    s3.faults += [fault("GET", kind, times=2)]
    assert uncached.get(digest) == DATA
    s3.faults += [fault("GET", kind, times=2)]
    assert uncached.read_range(digest, 10, 20, sha256) == DATA[10:30]
    if kind != "other":  # without its digest nobody can tell
        s3.faults += [fault("GET", kind)]
        assert len(uncached.read_range(digest, 0, 5)) == 5
    s3.faults += [fault("GET", kind)]
    assert uncached.read_ranges([BlobPiece(digest, 10, 20, sha256)] * 2) == [DATA[10:30]] * 2
    s3.faults = [fault("GET", kind, times=1000)]
    with pytest.raises((IntegrityError, BlobStoreError)) as error:
        uncached.get(digest)
    assert error.value.hint


def test_what_was_just_written_may_not_be_there_at_once(s3: S3Server, uncached: ExternalBlobStore) -> None:
    digest = uncached.put(DATA)
    for method, ask in (
        ("GET", lambda: uncached.get(digest) == DATA),
        ("GET", lambda: uncached.read_range(digest, 0, 5) == DATA[:5]),
        ("HEAD", lambda: digest in uncached),
        ("HEAD", lambda: uncached.stat(digest).size == len(DATA)),
    ):
        s3.faults += [Fault(method, 404, "NoSuchKey", part="/sha256/", times=2)]
        assert ask() and not s3.faults


# What is said, of what, by which word of the environment.
LASTING = [
    ("refuse", "cannot be reached", "AWS_ENDPOINT_URL"),
    ("hang", "did not answer", "AWS_ENDPOINT_URL"),
    ((403, "AccessDenied"), "denied", "rights"),
    ((403, "InvalidAccessKeyId"), "credentials", "AWS_SECRET_ACCESS_KEY"),
    ((403, "SignatureDoesNotMatch"), "credentials", "AWS_SECRET_ACCESS_KEY"),
    ((400, "ExpiredToken"), "credentials", "AWS_SECRET_ACCESS_KEY"),
    ((403, "RequestTimeTooSkewed"), "time of this machine", "clock"),
    ((301, "PermanentRedirect"), "another region", "AWS_REGION"),
    ((400, "AuthorizationHeaderMalformed"), "another region", "AWS_REGION"),
    ((404, "NoSuchBucket"), "no bucket", "Make it first"),
    ((503, "SlowDown"), "busy", "later"),
    ((500, "InternalError"), "failing", "later"),
    ((418, "Teapot"), "refused", "AWS_"),
]


@pytest.mark.parametrize(("kind", "said", "hint"), LASTING, ids=str)
def test_what_lasts_is_one_sentence_without_secrets(
    s3: S3Server, uncached: ExternalBlobStore, kind: object, said: str, hint: str
) -> None:
    digest = uncached.put(DATA)
    s3.faults = [fault("*", kind, times=10_000, part="")]
    attempts: list[Callable[[], object]] = [
        lambda: uncached.put(b"more"),
        lambda: uncached.get(digest),
        lambda: uncached.read_range(digest, 0, 4),
        lambda: list(uncached.ls()),
        lambda: digest in uncached,
        lambda: uncached.stat(digest),
        lambda: uncached.delete([digest]),
        lambda: [read() for read in uncached.read_each([digest, ABSENT])],
    ]
    for attempt in attempts if kind != "hang" else attempts[1:3]:
        with pytest.raises(BlobStoreError) as error:
            attempt()
        assert said in error.value.message and hint in error.value.hint, error.value
        assert "\n" not in error.value.message
        whole = "".join(traceback.format_exception(error.value))
        assert not any(secret in whole for secret in (KEY, SECRET, s3.url))
    s3.faults = []
    assert uncached.get(digest) == DATA


@pytest.mark.parametrize("kind", ["drop", "hang", "refuse"])
def test_a_removal_without_an_answer_is_not_taken_for_done(
    s3: S3Server, uncached: ExternalBlobStore, kind: str
) -> None:
    digest = uncached.put(DATA)
    s3.faults = [Fault("POST", kind)]
    with pytest.raises(BlobStoreError):
        uncached.delete([digest])
    assert not s3.faults
    uncached.delete([digest])
    assert digest not in uncached


def test_a_removal_that_the_server_is_too_busy_for_is_asked_again(s3: S3Server, uncached: ExternalBlobStore) -> None:
    digest = uncached.put(DATA)
    s3.faults = [Fault("POST", 503, "SlowDown", times=2)]
    assert uncached.delete([digest]) == len(DATA)
    assert digest not in uncached


def test_a_claim_that_was_made_without_an_answer_holds(s3: S3Server, name: str) -> None:
    place, url = parse_place(f"s3://{name}/x"), "sqlite:////nowhere/r.db"
    s3.faults = [Fault("PUT", "drop")]
    with claimed(place, url, shared=False) as claim:
        assert owner_of(claim.objects)
    with pytest.raises(CaaError, match="another registry"), claimed(place, "sqlite:////other.db", shared=False):
        pass


def _read(store: ExternalBlobStore, digest: str) -> str:
    try:
        return str(store.get(digest))
    except BlobStoreError as error:
        return error.message


def test_a_fork_does_not_wait_for_ever(uncached: ExternalBlobStore) -> None:
    digest = uncached.put(DATA)
    (said,) = together(_read, uncached, digest, processes=1)
    assert "before this process was forked" in said
    assert uncached.get(digest) == DATA


def test_many_are_asked_for_at_once(s3: S3Server, uncached: ExternalBlobStore) -> None:
    digests = [uncached.put(b"%d" % number) for number in range(32)]
    s3.gate = threading.Barrier(8)  # nobody is answered before so many have asked
    assert [read() for read in uncached.read_each(digests)] == [b"%d" % number for number in range(32)]
    pieces = [BlobPiece(digest, 0, 1) for digest in digests]
    assert uncached.read_ranges(pieces) == [b"%d" % number for number in [*range(10), *([1] * 10), *([2] * 10), 3, 3]]
    assert len(list(uncached.stats(digests))) == 32
    s3.gate = None
    s3.requests.clear()
    assert uncached.delete(digests) == 10 + 2 * 22
    assert len([request for request in s3.requests if request.startswith("POST")]) == 1


def test_what_was_read_is_kept_and_a_damaged_entry_read_anew(
    s3: S3Server, store: ExternalBlobStore, tmp_path: Path
) -> None:
    digest, sha256 = store.put(DATA), digest_bytes(DATA[10:30])
    other = store.put(b"another one")
    store.cache.drop(digest.removeprefix("sha256:"))
    s3.requests.clear()
    assert store.read_range(digest, 10, 20, sha256) == DATA[10:30]
    assert len(s3.requests) == 1
    assert store.read_range(digest, 10, 20, sha256) == DATA[10:30]
    assert store.read_ranges([BlobPiece(digest, 10, 20, sha256)] * 3) == [DATA[10:30]] * 3
    assert len(s3.requests) == 1
    assert store.get(digest) == store.get(digest) == DATA and store.get(other) == b"another one"
    assert store.read_range(digest, 5, 7) == DATA[5:12]
    assert len(s3.requests) == 2
    for path in list((tmp_path / "cache").rglob("*")):
        if path.is_file():
            path.write_bytes(b"damaged")
    assert store.get(digest) == DATA and store.read_range(digest, 10, 20, sha256) == DATA[10:30]
    assert len(s3.requests) == 3
    # What fsck reads is what the store holds.
    assert next(store.read_each([digest]))() == DATA
    assert len(s3.requests) == 4
    store._objects.remove([name_of(digest)])
    assert store.get(digest) == DATA
    with pytest.raises(NotFoundError):
        next(store.read_each([digest]))()


def test_the_cache_has_a_bound_and_leaves_out_what_belongs_to_others(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path / "cache", 10_000)
    blobs = [b"%4d" % number * 250 for number in range(30)]
    for data in blobs:
        cache.add(digest_bytes(data)[7:], data)
    assert 5_000 < cache.size() <= 10_000 + 10_000 // 16
    assert cache.get(digest_bytes(blobs[-1])[7:], digest_bytes(blobs[-1])) == blobs[-1]
    assert cache.get(digest_bytes(blobs[0])[7:], digest_bytes(blobs[0])) is None
    cache.add("large", b"x" * 20_000)
    assert cache.size() <= 10_000 + 10_000 // 16
    link = tmp_path / "cache" / "ab" / "abcd"
    link.parent.mkdir(exist_ok=True)
    (tmp_path / "secret").write_bytes(b"x")
    link.symlink_to(tmp_path / "secret")
    assert cache.get("abcd", digest_bytes(b"x")) is None
    nothing = BlobCache(tmp_path / "none", 0)
    nothing.add("abcd", b"x")
    assert nothing.get("abcd", digest_bytes(b"x")) is None and not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"AWS_ACCESS_KEY_ID": None}, "no credentials"),
        ({"AWS_ENDPOINT_URL": "http://user:PLANTED@127.0.0.1:1"}, "not an address"),
        ({"AWS_ENDPOINT_URL": "127.0.0.1:1"}, "not an address"),
        ({"AWS_ENDPOINT_URL_S3": "https://host/?key=PLANTED"}, "not an address"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "cannot be reached"),
        ({"AWS_ENDPOINT_URL": "https://no-such-host.invalid"}, "cannot be reached"),
        ({"AWS_ENDPOINT_URL": "http://no-such-host.invalid"}, "does not hide"),
        ({"AWS_ENDPOINT_URL": "http://no-such-host.invalid", "AWS_ALLOW_HTTP": "true"}, "cannot be reached"),
    ],
    ids=str,
)
def test_what_the_environment_lacks_is_said(
    s3: S3Server, name: str, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str | None], said: str
) -> None:
    for variable, value in changed.items():
        if value is None:
            monkeypatch.delenv(variable)
        else:
            monkeypatch.setenv(variable, value)
    with pytest.raises(BlobStoreError, match=said) as error:
        BucketObjects(name, "").read("x")
    whole = "".join(traceback.format_exception(error.value))
    assert error.value.hint and "PLANTED" not in whole and SECRET not in whole
