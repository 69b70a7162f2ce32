from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from catalog.registry_fixtures import database, sqlite_database, url

from caa_registry.registry.opening import open as open_registry

__all__ = ["database", "sqlite_database", "url"]


@pytest.fixture
def unwritable_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder of blobs, which holds ``b"abc"``, on a disk that is mounted to be read only where this is root."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = os.geteuid() == 0
    if mounted and subprocess.run(["mount", "-t", "tmpfs", "tmpfs", disk], capture_output=True, check=False).returncode:
        pytest.skip("this root may not mount a disk")
    try:
        with open_registry(str(tmp_path / "maker.db"), blobs=str(disk / "blobs")) as registry:
            registry.blobs.put(b"abc")
        if mounted:
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        else:
            for folder in [path for path in disk.rglob("*") if path.is_dir()]:
                folder.chmod(0o500)
        yield disk / "blobs"
    finally:
        if mounted:
            subprocess.run(["umount", disk], check=True)
        else:
            for folder in [path for path in disk.rglob("*") if path.is_dir()]:
                folder.chmod(0o700)
