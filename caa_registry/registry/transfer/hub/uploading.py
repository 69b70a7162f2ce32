"""A folder, pushed to a repository as one commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from caa_registry.errors import HubError, UsageError
from caa_registry.hub import check_endpoint, check_private, client_errors, is_commit, translated
from caa_registry.registry.transfer.hub.layout import CARD, OWN, SUMS

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_GIVEN_BY_THE_HUB = {".gitattributes", CARD}


@dataclass(frozen=True)
class Upload:
    """The files ``names`` of ``folder``, to ``branch`` of ``repo``. ``public``: where the repository is new, whether
    everybody may see it; else what it is taken to be."""

    folder: Path
    names: Sequence[str]
    repo: str
    branch: str
    public: bool
    message: str


def upload(asked: Upload) -> str:
    """Commit the files, all or none, and take away what an earlier push put there and this one does not; the commit.

    Raises ``HubError``, and ``UsageError`` for a repository that is public where that was not said, or that holds
    something else.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    where = f"hf:{asked.repo}"
    check_endpoint(where)
    api = HfApi()
    try:
        api.create_repo(asked.repo, repo_type="model", private=not asked.public, exist_ok=True)
        if asked.branch != "main":
            api.create_branch(asked.repo, branch=asked.branch, repo_type="model", exist_ok=True)
        present = _present(api, asked)
        stale = [name for name in present if OWN.fullmatch(name) and name not in asked.names]
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            *(CommitOperationAdd(path_in_repo=name, path_or_fileobj=asked.folder / name) for name in asked.names),
            *(CommitOperationDelete(path_in_repo=name) for name in stale),
        ]
        commit = api.create_commit(
            asked.repo, operations, commit_message=asked.message, repo_type="model", revision=asked.branch
        ).oid
    except client_errors() as error:
        raise translated(error, where, "model") from error
    if not is_commit(commit):
        raise HubError(f"{where}: the hub gave no commit for it", "Look at the repository.")
    return str(commit)


def _present(api: HfApi, asked: Upload) -> list[str]:
    """The files that are there. Raises ``UsageError`` where they may not be replaced."""
    info = api.model_info(asked.repo, revision=asked.branch)
    check_private(asked.repo, info.private, public=asked.public)
    names = [sibling.rfilename for sibling in info.siblings or []]
    others = [name for name in names if name not in _GIVEN_BY_THE_HUB]
    if others and SUMS not in names:
        raise UsageError(
            f"hf:{asked.repo} holds something else, such as {others[0]}",
            "Choose a new repository: what is there would lose its card.",
        )
    return names
