from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from catalog.registry_fixtures import new_sqlite
from cli.command_line import caa
from registry.registry_support import jsonl, letters
from support.hub_server import HubServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.tiny_models import TinyModels


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of an empty registry, which the commands use."""
    path = Path(new_sqlite(tmp_path).removeprefix("sqlite:///"))
    monkeypatch.setenv("CAA_REGISTRY", str(path))
    return path


@pytest.fixture(scope="session")
def tiny_folder(tiny: TinyModels) -> Path:
    return tiny.folder("llama")


@pytest.fixture(scope="session")
def other_folder(tiny: TinyModels) -> Path:
    """A model of other weights."""
    return tiny.folder("llama", seed=1)


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Path:
    """The file of a registry with a dataset and a vector ``team/s``, questions, an alias and an evaluation."""
    folder = tmp_path_factory.mktemp("filled")
    path = Path(new_sqlite(folder).removeprefix("sqlite:///"))
    generate = jsonl(folder / "generate.jsonl", letters(4))
    test = jsonl(folder / "test.jsonl", letters(4, about="«ünï 🙂»"))
    asked = jsonl(folder / "asked.jsonl", [{"question": "Why?"}])
    with pytest.MonkeyPatch.context() as patch:
        # Activations that an earlier test had read with other pairs differ in their last digits.
        patch.setenv("CAA_HOME", str(folder / "home"))
        for command in (
            ["dataset", "import", "--name", "team/s", "--split", f"generate={generate}", "--split", f"test={test}"],
            ["dataset", "import", asked, "--name", "team/questions"],
            ["vector", "compute", "team/s", "--dataset", "team/s", "--model", tiny_folder],
            ["eval", "propensity", "team/s", "--layers", "1", "--multipliers", "-1,0,1"],
            ["alias", "set", "team/s:v1", "best", "--layer", "1", "--multiplier", "2"],
        ):
            result = caa("--registry", path, *command)
            assert result.code == 0, result.err
    return path


@pytest.fixture
def full(
    filled: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A copy of ``filled``, which the commands use, with nothing in any cache."""
    monkeypatch.setenv("CAA_HOME", str(tmp_path_factory.mktemp("home")))
    path = tmp_path / "full.db"
    shutil.copy(filled, path)
    monkeypatch.setenv("CAA_REGISTRY", str(path))
    return path


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server
