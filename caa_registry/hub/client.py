"""What the hub's client may be asked, and what it raises, in words for people."""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit

from caa_registry.errors import HubError, UsageError
from caa_registry.hub.names import RepoKind

_TOKEN = "If it is private, set HF_TOKEN to a token that may read it."
_REACH = "Check the network and HF_ENDPOINT; what lies on this machine needs no hub."


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine: 127.0.0.0/8, ``::1`` or ``localhost``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_endpoint(what: str) -> None:
    """Raise ``HubError`` where asking for ``what`` would send a token over plain http to another machine."""
    from huggingface_hub import constants, get_token

    parts = urlsplit(constants.ENDPOINT)
    if parts.scheme == "https" or constants.HF_HUB_OFFLINE or is_loopback(parts.hostname or "") or not get_token():
        return
    raise HubError(
        f"{what}: the token of the hub would go to {parts.hostname} over plain http, where others can read it",
        "Set HF_ENDPOINT to an https URL, or unset HF_TOKEN (and log out with hf auth logout).",
    )


def check_private(repo: str, private: bool | None, *, public: bool) -> None:
    """Raise ``UsageError`` where ``repo`` is not ``private``, and nobody said that what is pushed may be ``public``."""
    if private is False and not public:
        raise UsageError(
            f"hf:{repo} is public, and everybody would see what is pushed", "Give --public, or name another repository."
        )


def client_errors() -> tuple[type[Exception], ...]:
    """What a call of the hub's client can raise: its own errors, the HTTP library's, and a nonsensical answer's."""
    from huggingface_hub import errors

    # The base class of the HTTP library that this version of the client uses (its name changed between versions).
    http = [cls for cls in errors.HfHubHTTPError.__mro__ if cls.__name__ == "HTTPError"]
    return (*http, errors.EntryNotFoundError, OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError)


def translated(error: Exception, what: str, kind: RepoKind = "dataset") -> HubError:
    """``error`` of the client, raised while asking for ``what``, as a ``HubError`` that says what to do."""
    from huggingface_hub import errors

    if is_offline(error):
        return HubError(
            f"{what}: the hub is switched off",
            "HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) is set, and the cache holds nothing of it at this revision. "
            "Unset it, or use what lies on this machine.",
        )
    if isinstance(error, errors.GatedRepoError):
        return HubError(
            f"{what}: access to the {kind} has to be granted first",
            "Accept its terms on the hub, then set HF_TOKEN to a token of that account.",
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return HubError(f"{what}: there is no such {kind} on the hub, or it is private", _token_hint())
    if isinstance(error, errors.RevisionNotFoundError):
        return HubError(f"{what}: there is no such revision", "Name a branch, a tag or a 40-digit commit.")
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return HubError(f"{what}: there is no such file", "Look at the repository's list of files.")
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code if error.response is not None else None
        if status in (401, 403):
            return HubError(f"{what}: the hub refused access (HTTP {status})", _token_hint())
        if status == 429:
            return HubError(f"{what}: the hub asks for a pause (HTTP 429)", "Try again later, or set HF_TOKEN.")
        return HubError(f"{what}: the hub answered HTTP {status}", "Try again later. " + _REACH)
    reason = type(error.__cause__ or error).__name__
    if isinstance(error, ValueError | TypeError | KeyError | AttributeError):
        return HubError(f"{what}: the hub's answer cannot be used ({reason})", _REACH)
    if isinstance(error, OSError) and error.filename and not isinstance(error, errors.LocalEntryNotFoundError):
        return HubError(
            f"{what}: the download cannot be stored ({error.strerror or reason})",
            "Check the free space and permissions of the cache folder (HF_HOME).",
        )
    text = str(error.__cause__ or error).partition("\n")[0]
    return HubError(f"{what}: the hub cannot be reached ({reason}{f': {text}' if text else ''})", _REACH)


def is_offline(error: BaseException | None) -> bool:
    """Whether the client refused because the hub is switched off."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    while error is not None:
        if isinstance(error, OfflineModeIsEnabled):
            return True
        error = error.__cause__
    return False


def _token_hint() -> str:
    given = "the one set may not read it" if os.environ.get("HF_TOKEN") else "none is set"
    return f"Check the name. {_TOKEN[:-1]} ({given})."
