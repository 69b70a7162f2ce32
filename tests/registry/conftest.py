from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from catalog.registry_fixtures import new_sqlite, url
from registry.registry_support import jsonl, letters

from caa_registry.registry.opening import open as open_registry
from caa_registry.registry.records import DatasetVersion
from caa_registry.registry.registry import Registry

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))

from damage import make

if TYPE_CHECKING:
    from support.tiny_models import TinyModels

    from caa_registry.models.model import Model

__all__ = ["url"]


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with some of everything that it can hold, to be read and copied."""
    path = tmp_path_factory.mktemp("whole") / "registry.db"
    make(path)
    return path


@pytest.fixture(autouse=True)
def _own_activations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A test that counts what is read must not find what another has read.
    monkeypatch.setenv("CAA_HOME", str(tmp_path / "caa-home"))


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """A fresh SQLite registry."""
    with open_registry(new_sqlite(tmp_path), actor="ada", create=False) as opened:
        yield opened


@pytest.fixture
def model(tiny: TinyModels) -> Model:
    return tiny("llama")


@pytest.fixture
def pairs(registry: Registry, tmp_path: Path) -> DatasetVersion:
    """Four A/B pairs to compute from and four to score on, as ``team/pairs``."""
    sources = {
        "generate": jsonl(tmp_path / "generate.jsonl", letters(4)),
        "test": jsonl(tmp_path / "test.jsonl", letters(4, about="that")),
    }
    return registry.datasets.import_(sources, name="team/pairs")


@pytest.fixture
def unwritable(tmp_path: Path, whole: Path) -> Iterator[Path]:
    """A registry in a folder in which nothing can be written; for root that takes a disk that is mounted so."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    mounted = os.geteuid() == 0
    if (
        mounted
        and subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True, check=False).returncode
    ):
        pytest.skip("this root may not mount a disk")
    try:
        path = Path(shutil.copy(whole, folder / "registry.db"))
        if mounted:
            subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        else:
            folder.chmod(0o555)
        yield path
    finally:
        if mounted:
            subprocess.run(["umount", folder], check=True)
        else:
            folder.chmod(0o755)
