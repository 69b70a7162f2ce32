"""What the hub's client raises, in words for people."""

from __future__ import annotations

import os

from caa_registry.errors import HubError

_TOKEN = "If it is private, set HF_TOKEN to a token that may read it."
_REACH = "Check the network and HF_ENDPOINT; a local file needs no hub."


def client_errors() -> tuple[type[Exception], ...]:
    """What a call of the hub's client can raise: its own errors, the HTTP library's, and a nonsensical answer's."""
    from huggingface_hub import errors

    # The base class of the HTTP library that this version of the client uses (its name changed between versions).
    http = [cls for cls in errors.HfHubHTTPError.__mro__ if cls.__name__ == "HTTPError"]
    return (*http, errors.EntryNotFoundError, OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError)


def translated(error: Exception, wanted: str) -> HubError:
    """``error`` of the client, met while asking for ``wanted``, as a ``HubError`` that says what to do."""
    from huggingface_hub import errors

    if is_offline(error):
        return HubError(
            f"{wanted}: the hub is switched off",
            "HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) is set, and the cache has nothing of it at this revision; unset "
            "it, or import a local file.",
        )
    if isinstance(error, errors.GatedRepoError):
        return HubError(
            f"{wanted}: access to the dataset has to be granted first",
            "Accept its terms on the hub, then set HF_TOKEN to a token of that account.",
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return HubError(f"{wanted}: there is no such dataset on the hub, or it is private", _token_hint())
    if isinstance(error, errors.RevisionNotFoundError):
        return HubError(f"{wanted}: there is no such revision", "Name a branch, a tag or a 40-digit commit.")
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return HubError(f"{wanted}: there is no such file", "Look at the repository's list of files.")
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code if error.response is not None else None
        if status in (401, 403):
            return HubError(f"{wanted}: the hub refused access (HTTP {status})", _token_hint())
        if status == 429:
            return HubError(f"{wanted}: the hub asks for a pause (HTTP 429)", "Try again later, or set HF_TOKEN.")
        return HubError(f"{wanted}: the hub answered HTTP {status}", "Try again later. " + _REACH)
    reason = type(error.__cause__ or error).__name__
    if isinstance(error, ValueError | TypeError | KeyError | AttributeError):
        return HubError(f"{wanted}: the hub's answer cannot be used ({reason})", _REACH)
    if isinstance(error, OSError) and error.filename and not isinstance(error, errors.LocalEntryNotFoundError):
        return HubError(
            f"{wanted}: the download cannot be stored ({error.strerror or reason})",
            "Check the free space and permissions of the cache folder (HF_HOME).",
        )
    return HubError(f"{wanted}: the hub cannot be reached ({reason})", _REACH)


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
