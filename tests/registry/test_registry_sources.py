"""The source of a dataset version: every form that was ever stored is read, and gives back the JSON that is stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from registry.registry_support import jsonl, letters
from sqlalchemy import text
from support.resealed import reseal

from caa_registry.catalog import models as t
from caa_registry.digests import canonical_json
from caa_registry.errors import RegistryError
from caa_registry.pairs.source import Source
from caa_registry.registry.records import DatasetVersion
from caa_registry.registry.registry import Registry

# As the releases since the first stored them.
STORED: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("stored_sources.json").read_text("utf-8"))


@pytest.mark.parametrize("form", STORED)
def test_what_was_stored_is_read_and_given_back(form: str) -> None:
    source = Source.from_json(STORED[form])
    assert canonical_json(source.to_json()) == canonical_json(STORED[form])


def test_what_a_source_says_is_typed() -> None:
    source = Source.from_json(STORED["several sources of a hub"])
    assert (source.repo, source.limit, source.split) == ("team/pairs", 2, None)
    assert [(part.split, part.files[0].rows) for part in source.sources] == [("generate", 2), ("test", 2)]
    relabelled = Source.from_json(STORED["operation relabel"])
    assert relabelled.operation is not None and relabelled.operation.name == "relabel"
    assert relabelled.why == "a test" and source.why == ""
    seed = Source.from_json(STORED["seed set"])
    assert seed.card is not None and seed.card.swapped() == relabelled.card
    assert seed.behavior == relabelled.behavior == "caution"


def _store(registry: Registry, version: DatasetVersion, source: dict[str, Any]) -> None:
    with registry.database.write() as session:
        session.execute(text("DROP TRIGGER keep_dataset_version_update"))
        query = text("UPDATE dataset_version SET source = :source WHERE id = :id")
        session.execute(query, {"source": json.dumps(source), "id": version.id})
        reseal(session, t.DatasetVersion)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"uri": 3}, "uri"),
        ({"files": [{"name": "a", "digest": "sha256:1", "split": "test"}]}, "files[0].rows"),
        ({"sources": [{"format": "csv"}]}, "sources[0].uri"),
        ({"operation": {"name": "merge"}}, "operation.parameters"),
        ({"form": 2}, "form"),
    ],
)
def test_what_cannot_be_read_names_version_and_key(
    registry: Registry, tmp_path: Path, change: dict[str, Any], key: str
) -> None:
    version = registry.datasets.import_(jsonl(tmp_path / "a.jsonl", letters(2)), name="team/a")
    _store(registry, version, {**version.source.to_json(), **change})
    with pytest.raises(RegistryError) as caught:
        registry.datasets.get("team/a")
    assert "the source of team/a:v1 (revision" in caught.value.message and f"'{key}'" in caught.value.message
