"""Free memory: the system's, or what the limits of control groups leave."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from caa_registry.models import memory

GB = 10**9


def group(folder: Path, limit: str, used: int, names: tuple[str, str], stat: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in zip((*names, "memory.stat"), (f"{limit}\n", f"{used}\n", stat), strict=True):
        (folder / name).write_text(value)


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 64 GB free and no limit. ``cgroup`` says which groups this process is in."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=64 * GB))
    monkeypatch.setattr(memory, "_V2", dataclasses.replace(memory._V2, mount=tmp_path / "v2"))
    monkeypatch.setattr(memory, "_V1", dataclasses.replace(memory._V1, mount=tmp_path / "v1"))
    monkeypatch.setattr(memory, "_OWN_GROUPS", tmp_path / "cgroup")
    return tmp_path


V2 = ("memory.max", "memory.current")
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes")


def test_this_machine_has_some() -> None:
    assert 10**6 < memory.free_memory() <= psutil.virtual_memory().total


def test_without_control_groups_it_is_the_system(groups: Path) -> None:
    assert memory.free_memory() == 64 * GB


def test_the_tightest_limit_above_the_process_holds(groups: Path) -> None:
    (groups / "cgroup").write_text("0::/user/job\n")
    group(groups / "v2/user/job", "max", GB, V2, "")
    group(groups / "v2/user", str(8 * GB), 5 * GB, V2, "anon 7\ninactive_file 1000000000\nactive_file 500000000\n")
    assert memory.free_memory() == 4_500_000_000, "cached files are given up when memory is needed"
    group(groups / "v2/user/job", str(2 * GB), GB, V2, "")
    assert memory.free_memory() == GB
    group(groups / "v2/user/job", str(2 * GB), 3 * GB, V2, "")
    assert memory.free_memory() == 0


def test_the_first_version_of_control_groups(groups: Path) -> None:
    # In a container the path is the host's; its own limit stands at the mount.
    (groups / "cgroup").write_text("5:devices:/\n4:cpu,memory:/docker/0123\n0::/\n")
    group(groups / "v1", str(3 * GB), GB, V1, "inactive_file 5\ntotal_inactive_file 250000000\n")
    assert memory.free_memory() == 2_250_000_000
    group(groups / "v1", "9223372036854771712", GB, V1, "")
    assert memory.free_memory() == 64 * GB


def test_a_path_outside_its_mount_and_files_of_nonsense_are_passed_over(groups: Path) -> None:
    (groups / "cgroup").write_text("0::/../../elsewhere\n")
    group(groups / "v2", "plenty", GB, V2, "")
    assert memory.free_memory() == 64 * GB
