"""The real data (read in place, never copied), a hub, and files to write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.hub_server import HubServer

DATA = Path(__file__).parents[2].parent / "shared" / "data"

Write = Callable[[str, str | bytes], str]


def _folder(name: str) -> Path:
    folder = DATA / name
    if not folder.is_dir():
        pytest.skip(f"the real data is not here (../shared/data/{name} beside the repository)")
    return folder


@pytest.fixture
def caa_data() -> Path:
    return _folder("caa")


@pytest.fixture
def anthropic_data() -> Path:
    return _folder("anthropic-evals")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file and gives its path as a source."""

    def write_file(name: str, content: str | bytes) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        return str(path)

    return write_file


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server
