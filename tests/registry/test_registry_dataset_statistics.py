"""The statistics of a version: what it holds, what it shares, where it is used."""

from __future__ import annotations

from pathlib import Path

import pytest
from registry.registry_support import jsonl, letters
from sqlalchemy import text
from support.resealed import reseal

from caa_registry.catalog import models as t
from caa_registry.models.model import Model
from caa_registry.registry.opening import open as open_registry
from caa_registry.registry.records import DatasetVersion, PropensitySettings


def test_where_a_dataset_is_used_and_what_it_shares(url: str, tmp_path: Path, model: Model) -> None:
    with open_registry(url, create=False) as registry:
        rows = letters(6)
        pairs = registry.datasets.import_(jsonl(tmp_path / "all.jsonl", rows), name="team/all")
        registry.datasets.import_(jsonl(tmp_path / "few.jsonl", rows[:2]), name="team/few")
        # Only the newest version of another dataset counts, and none of its own.
        registry.datasets.import_(jsonl(tmp_path / "four.jsonl", rows[:4]), name="team/few")
        registry.datasets.import_(jsonl(tmp_path / "five.jsonl", rows[:5]), name="team/all")
        registry.datasets.import_(jsonl(tmp_path / "else.jsonl", letters(3, about="that")), name="team/else")
        vector = registry.vectors.compute("team/v", dataset=pairs, model=model)
        scores = registry.evaluations.propensity(
            vector, dataset=pairs, split="generate", model=model, settings=PropensitySettings(controls=())
        )
        found = registry.datasets.statistics("team/all:v1")
        assert [(other.reference, other.shared) for other in found.nearest] == [("team/few:v2", 4)]
        assert found.vectors == ("team/v:v1",) and found.evaluations == (scores.id,)
        assert [(split.split, split.rows) for split in found.splits] == [("generate", 6)]
        assert registry.datasets.statistics("team/else").nearest == ()


def test_versions_of_an_older_registry_have_figures_too(pairs: DatasetVersion, tmp_path: Path) -> None:
    (path,) = tmp_path.glob("*.db")
    with open_registry(str(path), create=False) as registry:
        stored = registry.datasets.statistics(pairs).splits
        with registry.database.write() as session:
            session.execute(text("DROP TRIGGER keep_dataset_version_update"))
            session.execute(text("UPDATE dataset_version SET statistics = NULL"))
            reseal(session, t.DatasetVersion)
        assert registry.datasets.statistics(pairs).splits == stored
        assert registry.datasets.get(pairs.reference).splits == pairs.splits == {"generate": 4, "test": 4}


def test_a_split_that_is_not_there(pairs: DatasetVersion, tmp_path: Path) -> None:
    from caa_registry.errors import UsageError

    (path,) = tmp_path.glob("*.db")
    with open_registry(str(path), create=False) as registry:
        assert len(registry.datasets.pairs(pairs, "test", limit=2)) == 2
        with pytest.raises(UsageError, match="no split 'dev'"):
            registry.datasets.pairs(pairs, "dev", limit=2)
