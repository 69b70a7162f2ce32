"""A folder, pushed to a repository of the Hugging Face hub as one commit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from caa_registry.errors import HubError, UsageError
from caa_registry.hub.client import check_endpoint, check_private, client_errors, translated
from caa_registry.hub.names import RepoKind, is_commit

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_GIVEN_BY_THE_HUB = {".gitattributes", "README.md"}


@dataclass(frozen=True)
class Upload:
    """The files ``names`` of ``folder``, to ``branch`` of ``repo``, which are made where they are missing.

    ``own``: files that an earlier push may have put there, which are removed unless they are pushed again. ``mark``:
    the file without which a repository is left alone; ``None``: any may be changed. ``public``: whether everybody may
    see a new repository; of one that is there, whether it may be one that everybody sees.
    """

    folder: Path
    names: Sequence[str]
    kind: RepoKind
    repo: str
    branch: str
    own: re.Pattern[str]
    message: str
    mark: str | None = None
    public: bool = False


def upload(asked: Upload) -> str:
    """Commit the files, all or none; the commit.

    Raises ``HubError``, and ``UsageError`` for a repository that is public where that was not said, or that holds
    something else.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    where = f"hf:{asked.repo}"
    check_endpoint(where)
    api = HfApi()
    try:
        api.create_repo(asked.repo, repo_type=asked.kind, private=not asked.public, exist_ok=True)
        if asked.branch != "main":
            api.create_branch(asked.repo, branch=asked.branch, repo_type=asked.kind, exist_ok=True)
        stale = [name for name in _present(api, asked) if asked.own.fullmatch(name) and name not in asked.names]
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            *(CommitOperationAdd(path_in_repo=name, path_or_fileobj=asked.folder / name) for name in asked.names),
            *(CommitOperationDelete(path_in_repo=name) for name in stale),
        ]
        commit = api.create_commit(
            asked.repo, operations, commit_message=asked.message, repo_type=asked.kind, revision=asked.branch
        ).oid
    except client_errors() as error:
        raise translated(error, where, asked.kind) from error
    if not is_commit(commit):
        raise HubError(f"{where}: the hub gave no commit for it", "Look at the repository.")
    return str(commit)


def _present(api: HfApi, asked: Upload) -> list[str]:
    """The files that are there. Raises ``UsageError`` where they may not be replaced."""
    info_of = api.dataset_info if asked.kind == "dataset" else api.model_info
    info = info_of(asked.repo, revision=asked.branch)
    check_private(asked.repo, info.private, public=asked.public)
    names = [sibling.rfilename for sibling in info.siblings or []]
    others = [name for name in names if name not in _GIVEN_BY_THE_HUB]
    if asked.mark is not None and others and asked.mark not in names:
        raise UsageError(
            f"hf:{asked.repo} holds something else, such as {others[0]}",
            "Choose a new repository: what is there would lose its card.",
        )
    return names
