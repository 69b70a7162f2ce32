"""The errors a user can meet. Each says what happened, to which input, and what to do about it."""

from __future__ import annotations

import re

# Controls but for tab and line feed, and what turns the direction of writing or ends a line without one.
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


# Of a message: a text that it repeats may have any length.
_LONGEST = 10_000


def visible(text: str) -> str:
    """``text`` with control characters and marks of direction written out (``\\x1b``, ``\\u202e``): a text must not
    steer the reader's terminal, nor look like another."""
    return UNSEEN.sub(lambda found: repr(found[0])[1:-1], text)


def one_line(text: str, most: int) -> str:
    """``text``, a name from outside, as it may stand in a message: in one line, as line feeds could pass for the end of
    the message, and shortened in its middle to about ``most`` characters."""
    return shortened(visible(text[: 2 * most] + text[2 * most :][-most:]).replace("\n", "\\n"), most)


def shortened(text: str, most: int) -> str:
    """``text`` without its middle where it has more than ``most`` characters."""
    return text if len(text) <= most else f"{text[: most * 2 // 3]} ... {text[-(most // 3) :]}"


_ADDRESS = re.compile(r"(\s*[A-Za-z][A-Za-z0-9+.-]+:/*)(.*@)?(.*)", re.DOTALL)


def without_secrets(address: str) -> str:
    """``address`` as it may be shown where it may be a mistyped URL: without what stands before ``@``, and without its
    query and its fragment, since any of them may be a password. A path stays as it is."""
    match = _ADDRESS.fullmatch(address)
    if match is None:
        return address
    scheme, user, rest = match.groups()
    place = re.split(r"[?#]", rest, maxsplit=1)
    return f"{scheme}{'***@' if user else ''}{place[0]}{'?***' if len(place) > 1 else ''}"


class CaaError(Exception):
    """Base of every error this package raises on purpose.

    ``message`` says what was wrong and names the input; ``hint`` says what to do. ``exit_code`` is what the
    command line ends with: 1 for work that failed, 2 for wrong usage.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        message = shortened(message, _LONGEST)
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class UsageError(CaaError):
    """A request that cannot be understood or does not fit: a bad name, an unknown layer, options that clash."""

    exit_code = 2


class NoCommonDoseError(UsageError):
    """Two evaluations were measured at doses that do not overlap, so that nothing of them can be compared."""


class PassphraseError(UsageError):
    """A private key is encrypted, and its passphrase is missing or wrong."""


class LicenceError(UsageError):
    """A licence has to be known and is not. ``of``: whose, ``pairs`` or ``model``."""

    def __init__(self, message: str, hint: str = "", *, of: str) -> None:
        super().__init__(message, hint)
        self.of = of


class InputError(CaaError):
    """Data from outside that cannot be used. Says which source, which row (1-based) and which field."""

    def __init__(
        self, message: str, hint: str = "", *, source: str = "", row: int | None = None, field: str = ""
    ) -> None:
        place = one_line(source, 400)
        if row is not None:
            place = f"{place}, row {row}" if place else f"row {row}"
        if field:
            named = f"field '{one_line(field, 100)}'"
            place = f"{place}, {named}" if place else named
        super().__init__(f"{place}: {message}" if place else message, hint)
        self.source = source
        self.row = row
        self.field = field


class NotFoundError(CaaError):
    """A reference, model, file or seed set that does not exist."""


class ConflictError(CaaError):
    """Something is not as it was expected to be: somebody else changed it meanwhile. Nothing was changed."""


class RegistryError(CaaError):
    """The registry itself cannot be opened, created or upgraded."""


class BlobStoreError(CaaError):
    """The folder or bucket that a registry keeps its bytes in is not there, cannot be reached, or refuses a request."""


class WriteError(CaaError):
    """A file cannot be written: the disk is full or read-only, or permissions forbid it."""


class IntegrityError(CaaError):
    """Stored bytes do not match their digest. Nothing is guessed or repaired."""


class ModelError(CaaError):
    """A model cannot be loaded, or its residual stream cannot be read."""


class ModelMismatchError(ModelError):
    """A vector belongs to another model than the one it was to be applied to."""


class HubError(CaaError):
    """The Hugging Face hub could not be reached or refused a request."""


class JudgeError(CaaError):
    """A judge of open-ended answers could not be reached, refused a request, or gave no usable answer."""
