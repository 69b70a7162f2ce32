"""How much memory is free, and how much of it a computation may use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from caa_registry import settings


@dataclass(frozen=True)
class _Kind:
    """Where one version of control groups keeps its figures."""

    mount: Path
    limit: str
    used: str
    # Cached files count as used, and are given up when memory is needed.
    cached: tuple[str, ...]


_V2 = _Kind(Path("/sys/fs/cgroup"), "memory.max", "memory.current", ("inactive_file", "active_file"))
_V1 = _Kind(
    Path("/sys/fs/cgroup/memory"),
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    ("total_inactive_file", "total_active_file"),
)
_OWN_GROUPS = Path("/proc/self/cgroup")


def allowed_memory() -> int:
    """Bytes beside the weights that a computation may use: as ``CAA_MEMORY`` or the settings file says, else a quarter
    of what is free."""
    given = settings.memory()
    return free_memory() // 4 if given is None else given


def spare_memory(unread: int = 0) -> int:
    """Bytes beside the weights that one text may take: as ``CAA_MEMORY`` or the settings file says, else all that is
    free when the weights of which ``unread`` bytes are not in memory yet have been read."""
    given = settings.memory()
    return max(0, free_memory() - unread) if given is None else given


def free_memory() -> int:
    """Bytes that can be used without swapping: the system's, or what a container's limit leaves.

    With Metal it is the same memory that the GPU uses.
    """
    import psutil

    return max(0, min([int(psutil.virtual_memory().available), *_left_by_limits()]))


def _left_by_limits() -> list[int]:
    """What the limit of each control group above this process leaves, in bytes. Empty where there is no limit."""
    left = []
    for kind, folder in _groups():
        try:
            limit = (folder / kind.limit).read_text(encoding="ascii").strip()
            if limit == "max":
                continue
            used = int((folder / kind.used).read_text(encoding="ascii"))
            stat = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines())
            left.append(int(limit) - used + sum(int(stat.get(name, 0)) for name in kind.cached))
        except (OSError, ValueError):
            continue  # the root of a tree states no limit, and a container may not see its own folder
    return left


def _groups() -> Iterator[tuple[_Kind, Path]]:
    """The control groups of this process up to the root, since the limits of all of them hold."""
    try:
        lines = _OWN_GROUPS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0":
            kind = _V2
        elif "memory" in controllers.split(","):
            kind = _V1
        else:
            continue
        folder = kind.mount / path.strip("/")
        yield kind, folder
        while folder != kind.mount and kind.mount in folder.parents:
            folder = folder.parent
            yield kind, folder
