"""What every test shares: a home folder of its own, and models."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

# How long an example takes says nothing: the first one imports what the tested code uses.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

if TYPE_CHECKING:
    from support.team_server import TeamServer
    from support.tiny_models import TinyModels
    from support.tried import Tried

    from caa_registry.models.model import Model


@pytest.fixture(scope="session", autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    # Nothing may read or touch the home of who runs the tests, or depend on its environment.
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("CAA_", "AWS_", "HF_", "HUGGING_FACE_", "TRANSFORMERS_")):
                patch.delenv(name)
        patch.setenv("CAA_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hub")))
        # A machine without OpenBLAS says so once, which would be on the stderr of whichever test came first.
        patch.setattr(logging.getLogger("caa_registry.models.weights"), "level", logging.ERROR)
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Repeat how much the tests tried, which pytest keeps to itself where they pass."""
    reports = [each for some in terminalreporter.stats.values() for each in some if isinstance(each, pytest.TestReport)]
    told = {
        f"{report.nodeid.partition('::')[2]}: {value}"
        for report in reports
        for name, value in report.user_properties
        if name == "tried"
    }
    if told:
        terminalreporter.section("how much was tried")
        for line in sorted(told):
            terminalreporter.line(line)


@pytest.fixture
def tried(record_property: Callable[[str, object], None]) -> Tried:
    """Tells how much a test tried."""
    return partial(record_property, "tried")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyModels:
    """Tiny random models by family: ``tiny("qwen2")``."""
    from support.tiny_models import TinyModels

    return TinyModels(tmp_path_factory.mktemp("tiny-models"))


@pytest.fixture(scope="session")
def team() -> Iterator[TeamServer]:
    """A PostgreSQL server with users and passwords."""
    from support.team_server import TeamServer

    server = TeamServer()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def demo() -> Model:
    """The model that ships with the package."""
    from caa_registry.models.loading import load

    return load("demo")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and models beside the repository."""
    folder = Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("the real data and models are not here (../shared beside the repository)")
    return folder
