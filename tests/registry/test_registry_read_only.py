"""What may not be written is said before any work: before a model runs and before a source is read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from catalog.registry_fixtures import new_sqlite
from registry.registry_support import dump, jsonl, letters

import caa_registry as caa
from caa_registry.errors import RegistryError
from caa_registry.registry.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from caa_registry.models.model import Model


def never(done: int, total: int) -> None:
    raise AssertionError("it has begun")


WAYS: dict[str, Callable[[Registry, Model], object]] = {
    "import": lambda registry, model: registry.datasets.import_("no/such/file.jsonl", name="team/x"),
    "compute": lambda registry, model: registry.vectors.compute(
        "team/v", dataset="team/p", model=model, layers=[1], method="pca", progress=never
    ),
    "propensity": lambda registry, model: registry.evaluations.propensity(
        "team/v", dataset="team/p", split="test", model=model, layers=[1], multipliers=[1.0], progress=never
    ),
    "verify": lambda registry, model: registry.vectors.verify("team/v", recompute=True, progress=never),
    "push": lambda registry, model: registry.datasets.push("team/p", "hf:team/none"),
    "run": lambda registry, model: registry.run("a step").__enter__(),
}


@pytest.mark.parametrize("way", WAYS)
def test_it_is_said_before_any_work(way: str, model: Model, tmp_path: Path) -> None:
    url = new_sqlite(tmp_path)
    sources = {name: jsonl(tmp_path / f"{name}.jsonl", letters(4, about=name)) for name in ("generate", "test")}
    with caa.open(url) as registry:
        registry.datasets.import_(sources, name="team/p")
        registry.vectors.compute("team/v", dataset="team/p", model=model)
    before = dump(url)
    with caa.open(url, read_only=True) as registry, pytest.raises(RegistryError, match="is opened read-only"):
        WAYS[way](registry, model)
    assert dump(url) == before
