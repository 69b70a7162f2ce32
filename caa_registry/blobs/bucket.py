"""Blobs in a bucket of S3, or of what speaks its language.

Endpoint, region and credentials come from the usual environment (``AWS_...``) when a process first asks the bucket for
something. They are stored nowhere. What the client library says of an error holds addresses, and what a server answers
may hold keys. Therefore neither is ever shown or kept: an error is told in words of our own.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from caa_registry.blobs.objects import CLAIM, FOLDER, Stored
from caa_registry.errors import BlobStoreError

if TYPE_CHECKING:
    from obstore.store import S3Store

T = TypeVar("T")

_SECONDS = 60  # without an answer, or without more of it
_SLOWEST = 100_000  # bytes a second that a line takes at least
_TRIES = 4
_TRIES_ABSENT = 3
_WAIT_SECONDS = 0.2  # before the second try; then twice as long each time
_AT_ONCE = 1000  # the most that one request removes
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
# What gives credentials by the environment alone; without any the client would ask the network for a role.
_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
)
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([A-Za-z]{1,60})</Code>")
_OTHER_REGION = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
_BAD_KEYS = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired"}
_KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


# The process in which the client's threads are: a fork of it would wait for them for ever.
_process: list[int] = []


class _BehindEndError(Exception):
    """A range begins where an object has no bytes any more."""


class BucketObjects:
    """``Objects`` below ``prefix`` in a bucket."""

    remote = True

    def __init__(self, bucket: str, prefix: str) -> None:
        self._bucket = bucket
        self._prefix = prefix

    @property
    def shown(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def prepare(self, *, shared: bool) -> None:
        """Nothing: a bucket is there or not, and who may use it is decided there."""

    def remove_place(self) -> None:
        """Nothing: no more was made than objects."""

    def write(self, name: str, data: bytes, *, replace: bool = True) -> bool:
        mode = "overwrite" if replace else "create"
        client = self._writer(len(data))
        try:
            self._asked(lambda: self._library.put(client, name, data, mode=mode, use_multipart=False))
        except FileNotFoundError:
            raise self._no_bucket() from None
        except self._library.exceptions.AlreadyExistsError:
            return False
        return True

    def read(self, name: str, offset: int = 0, nbytes: int | None = None) -> bytes | None:
        def get() -> bytes:
            if nbytes is None:
                return bytes(self._library.get(self._client, name).bytes())
            return bytes(self._library.get_range(self._client, name, start=offset, length=nbytes))

        if nbytes == 0:
            return None if self.stat(name) is None else b""
        try:
            return self._asked(get)
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise self._no_bucket() from None
            return None
        except _BehindEndError:
            return b""

    def stat(self, name: str) -> Stored | None:
        try:
            found = self._asked(lambda: self._library.head(self._client, name))
        except FileNotFoundError:
            return None
        except BlobStoreError:
            self.read(CLAIM)  # such an answer has no body to say more; this one may
            raise
        return Stored(name, found["size"], found["last_modified"])

    def ls(self) -> Iterator[Stored]:
        def pages() -> list[Stored]:
            return [
                Stored(each["path"], each["size"], each["last_modified"])
                for page in self._library.list(self._client, prefix=FOLDER, chunk_size=1000)
                for each in page
            ]

        yield from self._asked(pages)

    def remove(self, names: Sequence[str]) -> None:
        for first in range(0, len(names), _AT_ONCE):
            part = list(names[first : first + _AT_ONCE])
            try:
                # Without an answer it may happen later, so it is not asked again and then taken for done.
                self._asked(lambda part=part: self._library.delete(self._brief_writer, part), only_answered=True)  # type: ignore[misc]
            except FileNotFoundError:
                raise self._no_bucket() from None

    @cached_property
    def _library(self) -> Any:
        try:
            import obstore.exceptions
            import obstore.store
        except ImportError:
            raise BlobStoreError(
                f"{self.shown} needs the package obstore, which is not installed", "Run: pip install 'caa-registry[s3]'"
            ) from None
        return obstore

    @cached_property
    def _client(self) -> S3Store:
        return self._made({"read_timeout": f"{_SECONDS}s", "timeout": "1h"})

    def _writer(self, nbytes: int) -> S3Store:
        """A client that waits as long as it may take to send so many bytes."""
        if nbytes <= _SLOWEST * _SECONDS:
            return self._brief_writer
        return self._made({"timeout": f"{_SECONDS + nbytes // _SLOWEST}s"})

    @cached_property
    def _brief_writer(self) -> S3Store:
        return self._made({"timeout": f"{2 * _SECONDS}s"})

    def _made(self, limits: Mapping[str, str]) -> S3Store:
        self._check_environment()
        plain = any(os.environ.get(name, "").startswith("http:") for name in _ENDPOINTS)
        try:
            return self._library.store.S3Store(  # type: ignore[no-any-return]
                self._bucket,
                prefix=self._prefix or None,
                client_options={"allow_http": plain, "connect_timeout": "5s", **limits},
                retry_config={"max_retries": 0},  # see _asked
            )
        except (self._library.exceptions.BaseError, ValueError):
            raise BlobStoreError(
                f"the environment does not say how to reach {self.shown}",
                "Check AWS_ENDPOINT_URL, AWS_REGION and the other variables that begin with AWS_.",
            ) from None

    def _check_environment(self) -> None:
        for name in _ENDPOINTS:
            endpoint = os.environ.get(name, "")
            if endpoint and not _is_address(endpoint):
                raise BlobStoreError(
                    f"{name} is not an address, or holds more than one",
                    f"Write https://HOST or http://HOST:PORT. Keys belong into {_KEYS}.",
                )
            if endpoint.startswith("http:") and not _is_here(endpoint) and not _is_on("AWS_ALLOW_HTTP"):
                raise BlobStoreError(
                    f"{name} is another machine, and http does not hide what is sent there",
                    "Use https, or set AWS_ALLOW_HTTP=true for a network that you trust.",
                )
        if not any(os.environ.get(name) for name in _CREDENTIALS):
            raise BlobStoreError(
                f"the environment holds no credentials for {self.shown}",
                f"Set {_KEYS}. Profiles of the AWS command line are not read.",
            )

    def _asked(self, ask: Callable[[], T], *, only_answered: bool = False) -> T:
        """What ``ask`` gives, asked again after what may pass: no answer, a server that is busy or failed, and that
        nothing is there, which a server may say before all of it knows what was just written. ``only_answered``: not
        after a request without an answer. Raises ``FileNotFoundError`` where nothing is there."""
        if not _process:
            _process.append(os.getpid())
        if _process != [os.getpid()]:
            raise BlobStoreError(
                f"{self.shown} was asked for something before this process was forked",
                "Start processes anew: multiprocessing.get_context('spawn').",
            )
        errors = self._library.exceptions
        for tried in range(1, _TRIES + 1):
            try:
                return ask()
            except errors.AlreadyExistsError:
                raise
            except (errors.BaseError, OSError, ValueError) as error:
                problem = str(error)
                status = int(found[1]) if (found := _STATUS.search(problem)) else None
                absent = isinstance(error, FileNotFoundError)
                if status == 416:
                    raise _BehindEndError from None
                passes = status is None or status == 429 or status >= 500
                if absent and (tried >= _TRIES_ABSENT or "NoSuchBucket" in problem):
                    raise
                if not absent and (tried == _TRIES or not passes or (only_answered and status is None)):
                    raise self._explained(problem, status) from None
            time.sleep(_WAIT_SECONDS * 2 ** (tried - 1))
        raise AssertionError("every try returns or raises")

    def _no_bucket(self) -> BlobStoreError:
        return BlobStoreError(
            f"there is no bucket {self._bucket}", "Make it first, or check its name and AWS_ENDPOINT_URL."
        )

    def _explained(self, problem: str, status: int | None) -> BlobStoreError:
        """``problem`` itself is not repeated: it holds addresses, and what the server was sent."""
        code = found[1] if (found := _CODE.search(problem)) else ""
        if "NoSuchBucket" in problem:
            return self._no_bucket()
        if code in _OTHER_REGION or status == 301 or "BareRedirect" in problem:
            return BlobStoreError(f"{self.shown} is in another region", "Name it in AWS_REGION.")
        if status is None:
            timed_out = "kind: Timeout" in problem or "TimedOut" in problem
            said = "did not answer in time" if timed_out else "cannot be reached, or breaks the connection off"
            return BlobStoreError(f"{self.shown} {said}", "Check the network and AWS_ENDPOINT_URL, and try again.")
        if code == "RequestTimeTooSkewed":
            return BlobStoreError(f"{self.shown} refused the time of this machine", "Set its clock.")
        if code in _BAD_KEYS or status == 401:
            return BlobStoreError(f"{self.shown} does not accept the credentials", f"Check {_KEYS}.")
        if status == 403:
            return BlobStoreError(
                f"access to {self.shown} is denied",
                "These keys need the rights to list the bucket, and to get, put and delete objects in it.",
            )
        if status == 429 or status >= 500:
            return BlobStoreError(f"{self.shown} is busy or failing (status {status})", "Try again later.")
        return BlobStoreError(f"{self.shown} refused a request (status {status})", "Check the AWS_ variables.")


def _is_here(endpoint: str) -> bool:
    host = urlsplit(endpoint).hostname or ""
    return host in ("localhost", "::1") or re.fullmatch(r"127\.\d+\.\d+\.\d+", host) is not None


def _is_on(name: str) -> bool:
    return os.environ.get(name, "").strip().lower() in ("1", "true", "yes", "on")


def _is_address(endpoint: str) -> bool:
    """Whether it is no more than a scheme, a host and a path."""
    try:
        parts = urlsplit(endpoint)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and not set("@?# ") & set(endpoint)
    except ValueError:
        return False
