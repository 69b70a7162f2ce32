"""The files of a repository at one commit, downloaded and compared with its list of digests, as one that anybody may
have made or changed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caa_registry.errors import HubError, InputError, IntegrityError, NotFoundError, one_line, shortened, visible
from caa_registry.hub.client import check_endpoint, client_errors, translated
from caa_registry.hub.names import HubSource, is_commit
from caa_registry.progress import Progress
from caa_registry.registry.transfer.hub.layout import CARD, CARD_COPY, SIGNATURE, SUMS, file_digest, read_sums

_SECONDS = 30.0
_LARGEST_LIST = 4 * 2**20
_LARGEST = 64 * 2**30
_SHOWN = 80


@dataclass(frozen=True)
class Repository:
    """What is in a repository. ``files``: by name where each was downloaded to, all that the list of digests names,
    each with the digest that it has there; ``digests``: in hex; ``envelope``: the bytes of the signature, ``None``
    where it is not signed; ``notes``: what a person should know."""

    repo: str
    commit: str
    files: Mapping[str, Path]
    digests: Mapping[str, str]
    envelope: bytes | None
    notes: tuple[str, ...]

    def __str__(self) -> str:
        return f"hf:{self.repo}@{self.commit[:12]}"


def fetched(source: HubSource, telling: Progress) -> Repository:
    """Download all that the list of digests names. Raises ``NotFoundError`` for a repository without one,
    ``IntegrityError`` naming the file that is not what the list says, ``HubError``."""
    info = _resolved(source)
    commit, where = str(info.sha), f"hf:{source.repo}@{str(info.sha)[:12]}"
    sizes = {sibling.rfilename: sibling.size or 0 for sibling in info.siblings or []}
    if SUMS not in sizes:
        raise NotFoundError(
            f"{where} holds no {SUMS}, so that nothing in it can be checked",
            "It was not made by caa push. Download the file of a vector and import it: caa vector import FILE",
        )
    if sizes[SUMS] > _LARGEST_LIST:
        raise InputError(f"is larger than {_LARGEST_LIST // 2**20} MiB", source=f"{where}/{SUMS}")
    digests = read_sums(_downloaded(source.repo, SUMS, commit).read_bytes(), f"{where}/{SUMS}")
    for name in digests:
        if name not in sizes:
            raise IntegrityError(f"{where}: {visible(name)} is missing", f"{SUMS} names it. Nothing was stored.")
    if (total := sum(sizes[name] for name in digests)) > _LARGEST:
        raise InputError(f"holds {total:,} bytes; at most {_LARGEST:,} are read", source=where)
    files: dict[str, Path] = {}
    telling(0, len(digests))
    for name, digest in digests.items():
        path = files[name] = _downloaded(source.repo, name, commit)
        if file_digest(path) != digest:
            raise IntegrityError(
                f"{where}: {visible(name)} is not the file that {SUMS} names: its SHA-256 is {file_digest(path)[:12]}, "
                f"and not {digest[:12]}",
                "It was changed or damaged after it was pushed. Nothing was stored.",
            )
        telling(len(files), len(digests))
    envelope = None
    if SIGNATURE in sizes:
        if sizes[SIGNATURE] > _LARGEST_LIST:
            raise InputError(f"is larger than {_LARGEST_LIST // 2**20} MiB", source=f"{where}/{SIGNATURE}")
        envelope = _downloaded(source.repo, SIGNATURE, commit).read_bytes()
    notes = _beside(set(sizes) - set(digests)) + _of_card(source.repo, commit, sizes, files)
    return Repository(source.repo, commit, files, digests, envelope, notes)


def _resolved(source: HubSource) -> Any:
    from huggingface_hub import HfApi

    check_endpoint(str(source))
    try:
        info = HfApi().model_info(source.repo, revision=source.revision, timeout=_SECONDS, files_metadata=True)
    except client_errors() as error:
        raise translated(error, str(source), "model") from error
    if not is_commit(str(info.sha)):
        raise HubError(f"{source}: the hub gave no commit for it", "Try again, or name another revision.")
    return info


def _downloaded(repo: str, name: str, commit: str) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repo, name, repo_type="model", revision=commit))
    except client_errors() as error:
        raise translated(error, f"hf:{repo}/{one_line(name, 200)}", "model") from error


def _beside(names: set[str]) -> tuple[str, ...]:
    """A note on the files that nothing covers."""
    others = sorted(names - {SUMS, SIGNATURE, CARD, ".gitattributes"})
    if not others:
        return ()
    shown = ", ".join(one_line(name, 100) for name in others[:5])
    more = f" and {len(others) - 5} more" if len(others) > 5 else ""
    return (f"{SUMS} does not name {shown}{more}: nothing of that was looked at",)


def _of_card(repo: str, commit: str, sizes: Mapping[str, int], files: Mapping[str, Path]) -> tuple[str, ...]:
    """A note on the card, where it is not as it was pushed: which line is the first that was changed."""
    if CARD_COPY not in files:
        return ()
    if CARD not in sizes:
        return (f"its card ({CARD}) was taken away after it was pushed",)
    if sizes[CARD] > _LARGEST_LIST:
        return (f"its card ({CARD}) was changed: it is larger than {_LARGEST_LIST // 2**20} MiB",)
    before, now = (
        path.read_bytes().decode("utf-8", "replace").splitlines()
        for path in (files[CARD_COPY], _downloaded(repo, CARD, commit))
    )
    steps = difflib.SequenceMatcher(None, before, now, autojunk=False).get_opcodes()
    changed = [step for step in steps if step[0] != "equal"]
    if not changed:
        return ()
    _, first, last, at, until = changed[0]
    said = visible(shortened(" ".join(now[at:until]), _SHOWN)) or "nothing"
    was = visible(shortened(" ".join(before[first:last]), _SHOWN)) or "nothing"
    places = "one place" if len(changed) == 1 else f"{len(changed)} places"
    return (f"its card was changed after it was pushed, in {places}; line {at + 1} is now: {said} (was: {was})",)
