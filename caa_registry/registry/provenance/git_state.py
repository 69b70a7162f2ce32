"""The state of the git repository that a run was started from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

# A large repository on a slow disk must not hold up what is recorded.
_MOST_SECONDS = 5


def git_state() -> dict[str, Any] | None:
    """The commit that is checked out, and whether tracked files differ from it (``dirty``); ``None`` where there is no
    git or no commit.

    Of the folder that the running script is in, where it is a script of the user's; else of the current folder.
    """
    git = shutil.which("git")
    if git is None:
        return None
    # A repository's own settings must start no program, and nothing is written.
    command = [git, "-c", "core.fsmonitor=false", "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    command.append("--ignore-submodules=all")
    try:
        done = subprocess.run(
            command,
            cwd=_folder(),
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_MOST_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    commits = [line.removeprefix("# branch.oid ") for line in lines if line.startswith("# branch.oid ")]
    if not commits or commits[0] == "(initial)":
        return None
    return {"commit": commits[0], "dirty": any(not line.startswith("#") for line in lines)}


def _folder() -> Path | None:
    """Where the user's script is; ``None``, the current folder, for a command and an interactive session."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    if script is None:
        return None
    path = Path(script).resolve()
    # ``caa`` and ``python -m caa_registry``, pytest, notebooks' kernels: what is installed is not the user's.
    installed = [Path(sys.prefix).resolve(), Path(__file__).resolve().parents[2]]
    return None if any(map(path.is_relative_to, installed)) else path.parent
