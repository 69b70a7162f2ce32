"""Versions from one registry to another, one after the other, and what the other one says of them. A folder may stand
for the other registry."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from caa_registry.errors import UsageError
from caa_registry.hub.names import parse_hub
from caa_registry.progress import Progress
from caa_registry.references import Kind
from caa_registry.registry.records import Difference, Remote, SentVersion, Transfer
from caa_registry.registry.transfer.differences import differences, versions_in
from caa_registry.registry.transfer.folder import pulling, pushing
from caa_registry.registry.transfer.folder.shelf import Shelf
from caa_registry.registry.transfer.receiving.receive import take_sayings
from caa_registry.registry.transfer.remotes import described, opened
from caa_registry.registry.transfer.sayings import warnings_in
from caa_registry.registry.transfer.sending import in_order, send
from caa_registry.registry.workspace import Workspace

_log = logging.getLogger(__name__)


def push(here: Workspace, references: Sequence[str], remote: Remote, telling: Progress) -> Transfer:
    """See ``Registry.push``."""
    if not references:
        raise UsageError("nothing was named that is to be sent", "Name versions: team/sycophancy:v1")
    if remote.kind == "folder":
        return pushing.push(here, references, Path(remote.url), remote.name or remote.url, telling)
    if remote.kind == "hub":
        raise UsageError(f"{remote.url} is on the hub", "Call publish, which asks what may be public.")
    with opened(remote, here, read_only=False) as other:
        return _sent(here, other, references, remote.name or other.database.shown, telling)


def pull(here: Workspace, references: Sequence[str], remote: Remote, telling: Progress) -> Transfer:
    """See ``Registry.pull``."""
    if remote.kind == "folder":
        return pulling.pull(here, references, Path(remote.url), remote.name or remote.url, telling)
    with opened(remote, here, read_only=True) as other:
        taken = _sent(other, here, references, remote.name or other.database.shown, telling)
        with other.database.read() as session:
            said = warnings_in(session)
        notices = take_sayings(here, said, described(other))
    return Transfer(taken.remote, taken.versions, taken.notices + notices, taken.notes)


def diff(here: Workspace, remote: Remote) -> list[Difference]:
    """See ``Registry.diff``."""
    if remote.kind == "folder":
        shelf = Shelf(Path(remote.url))
        for note in shelf.notes:
            _log.warning("%s", note)
        return differences(versions_in(here), shelf.by_name, shelf.along)
    if remote.kind == "hub":
        from caa_registry.registry.transfer.hub.taking import held

        return differences(versions_in(here), *held(parse_hub(remote.url)))
    with opened(remote, here, read_only=True) as other:
        return differences(versions_in(here), versions_in(other))


def _sent(
    source: Workspace, destination: Workspace, references: Sequence[str], remote: str, telling: Progress
) -> Transfer:
    ordered = in_order(source, references)
    telling(0, len(ordered))
    versions: list[SentVersion] = []
    notices, notes = 0, dict[str, None]()
    for done, reference in enumerate(ordered, start=1):
        taken = send(source, destination, reference, described(source))
        for root, became, new in taken.roots:
            kind: Kind = "dataset" if root.key.kind == "dataset" else "vector"
            versions.append(SentVersion(kind, root.reference, became, new, taken.added))
        notices += taken.sayings
        notes |= dict.fromkeys(taken.notes)
        telling(done, len(ordered))
    return Transfer(remote, tuple(versions), notices, tuple(notes))
