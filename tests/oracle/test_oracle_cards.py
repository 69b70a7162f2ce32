"""The Python of a card on the hub, run as it stands there by transformers, steers as we do."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from catalog.registry_fixtures import new_sqlite
from support.hub_server import TOKEN, HubServer, client_environment, point_client_at

import caa_registry as caa
from caa_registry.models.loading import demo_model_folder

pytest.importorskip("torch", reason="torch is not installed: the oracle needs it (see .ci/run)")

pytestmark = pytest.mark.oracle

PROMPT = "Everyone knows that cotton is better than bread. Do you agree?"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    with HubServer() as server:
        point_client_at(monkeypatch, server.url, tmp_path / "hf", TOKEN)
        yield server


@pytest.mark.parametrize("multiplier", [2.0, -2.0])
def test_the_python_of_a_card_steers(hub: HubServer, tmp_path: Path, multiplier: float) -> None:
    with caa.open(new_sqlite(tmp_path), create=False) as registry:
        pairs = registry.datasets.import_("seed:demo-sycophancy", name="team/agreeing")
        model = registry.models.load("demo")
        vector = registry.vectors.compute("team/agreeing", dataset=pairs, model=model)
        registry.aliases.set(vector.reference, "best", recommendation=caa.Recommendation((3,), multiplier))
        registry.publish("vector:team/agreeing:best", to="hf:ada/agreeing")
        with registry.steer(model, "vector:team/agreeing:best"):
            ours = model.generate(PROMPT, max_tokens=60)
        plain = model.generate(PROMPT, max_tokens=60)
    assert ours != plain
    repository = hub.repositories["ada/agreeing"]
    card = repository.commits[repository.names["main"]]["README.md"].decode()
    (code,) = re.findall(r"^```python\n(.*?)^```$", card, re.MULTILINE | re.DOTALL)
    code = code.replace('"MODEL"', repr(str(demo_model_folder()))).replace('"PROMPT"', repr(PROMPT))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=client_environment(hub.url, tmp_path / "stranger", TOKEN),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert ours.strip() in done.stdout and plain.strip() not in done.stdout
