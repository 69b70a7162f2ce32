"""What a listing asks the database does not depend on how much it lists, and the answer is what was written."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from catalog.registry_fixtures import new_postgres, new_sqlite

from caa_registry.catalog import models as t
from caa_registry.catalog.integrity.row_digests import digest_of_rows
from caa_registry.registry.opening import open as open_registry
from caa_registry.registry.registry import Registry

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))
from registry_rows import DIAMONDS, SHARED, TOP, Filled, counted, fill

SIZES = (100, 600)
NOW = datetime(2024, 8, 5, tzinfo=UTC)

LISTINGS: dict[str, Callable[[Registry], Any]] = {
    "vectors": lambda registry: registry.vectors.ls(),
    "a page of vectors": lambda registry: registry.vectors.ls(limit=10),
    "vectors of a behavior": lambda registry: registry.vectors.ls(behavior="behavior1", all_versions=True),
    "vectors of a model": lambda registry: registry.vectors.ls(model="model-1", limit=5),
    "models": lambda registry: registry.models.ls(),
    "aliases": lambda registry: registry.aliases.ls(),
    "a page of aliases": lambda registry: registry.aliases.ls(limit=10),
    "evaluations": lambda registry: registry.evaluations.ls(),
    "a page of evaluations": lambda registry: registry.evaluations.ls(limit=10),
    "evaluations of a vector": lambda registry: registry.evaluations.ls("bench/v00000:v1"),
    "leaderboard": lambda registry: registry.evaluations.leaderboard(),
    "leaderboard of a behavior and a model": lambda registry: registry.evaluations.leaderboard(
        behavior="behavior1", model="model-1"
    ),
    "evidence of vectors": lambda registry: registry.evaluations.evidence(registry.vectors.ls()),
    "lineage of a dataset": lambda registry: registry.lineage(f"dataset:{SHARED}"),
    "lineage of diamonds": lambda registry: registry.lineage(f"dataset:{TOP}"),
    "a recall": lambda registry: registry.datasets.recall(f"dataset:{SHARED}", why="", dry_run=True),
}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def sized(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[tuple[Registry, Filled]]]:
    """A registry of each size, with what it was filled with."""
    opened = []
    for size in SIZES:
        folder = tmp_path_factory.mktemp(f"size-{size}")
        url = new_sqlite(folder) if request.param == "sqlite" else new_postgres()
        registry = open_registry(url, actor="ada", create=False)
        opened.append((registry, fill(registry, size)))
    yield opened
    for registry, _ in opened:
        registry.close()


@pytest.mark.parametrize("name", LISTINGS)
def test_the_number_of_statements_does_not_grow(sized: list[tuple[Registry, Filled]], name: str) -> None:
    counts = []
    for registry, _ in sized:
        with counted() as statements:
            LISTINGS[name](registry)
        counts.append(len(statements))
    assert counts[0] == counts[1] <= 25


def test_nor_does_it_grow_with_recalls(sized: list[tuple[Registry, Filled]]) -> None:
    registry, _ = sized[0]
    counts = []
    for id in (None, 7, 10, 13):  # one more recall each time
        if id is not None:
            registry.datasets.recall(f"bench/d{id}/behavior{id - 1}", why="bad")
        with counted() as statements:
            registry.vectors.ls()
        counts.append(len(statements))
    for id in (7, 10, 13):
        registry.datasets.recall(f"bench/d{id}/behavior{id - 1}", why="good", lift=True)
    assert len(set(counts)) == 1


def test_what_is_listed_is_what_was_written(sized: list[tuple[Registry, Filled]]) -> None:
    for registry, filled in sized:
        newest = registry.vectors.ls()
        assert [v.name for v in newest] == [f"bench/v{i:05}" for i in range(filled.names)]
        assert {(v.number, v.model.name, v.aliases, len(v.layers)) for v in newest} == {(4, "model-0", (), 4)}
        every = registry.vectors.ls(all_versions=True)
        assert (len(every), every.total) == (filled.versions, filled.versions)
        assert [(v.name, v.number) for v in every[:5]] == [
            ("bench/v00000", 1), ("bench/v00000", 2), ("bench/v00000", 3), ("bench/v00000", 4), ("bench/v00001", 1)
        ]  # fmt: skip
        assert sum(bool(v.quarantined) for v in every) == filled.quarantined > 0
        of_behavior = registry.vectors.ls(behavior="behavior1", all_versions=True)
        assert {v.behavior for v in of_behavior} == {"behavior1"}
        assert list(of_behavior) == [v for v in every if v.behavior == "behavior1"]
        assert len(of_behavior) == filled.of_behavior > 0
        page = registry.vectors.ls(behavior="behavior1", all_versions=True, limit=3)
        assert (list(page), page.total) == (list(of_behavior[:3]), filled.of_behavior)
        assert [m.vectors for m in registry.models.ls()] == [2 * filled.names, filled.names, filled.names]
        aliases = registry.aliases.ls(limit=2)
        assert [(a.reference, a.target) for a in aliases] == [
            (f"bench/v0000{i}:best", f"bench/v0000{i}:v1") for i in (0, 1)
        ]
        assert aliases.total == filled.names


def test_evaluations_are_listed_with_their_scores_and_ranked(sized: list[tuple[Registry, Filled]]) -> None:
    for registry, filled in sized:
        every = registry.evaluations.ls()
        assert [e.id for e in every] == list(range(1, filled.versions + 1)) and every.total == filled.versions
        assert sum(bool(e.quarantined) for e in every) == filled.quarantined
        assert {s.condition for e in every for s in e.scores} == {"vector"}
        assert registry.evaluations.get(5).of() == every[4].of() != []
        page = registry.evaluations.ls(limit=3)
        assert (list(page), page.total) == (list(every[-3:]), filled.versions)
        assert registry.evaluations.ls(every[7].vector) == [every[7]]
        best = registry.evaluations.leaderboard(behavior="behavior1")
        assert len(best) == filled.of_behavior
        # Version i has a steerability of i at layer 2, and so it has at every dose up to 0.05.
        assert [(s.evidence.score.layer, s.evidence.score.value) for s in best] == [
            (2, s.evidence.evaluation.id - 1) for s in best
        ]
        ranks = [(s.vector.model.name, -s.evidence.score.value) for s in best]
        assert ranks == sorted(ranks) and {(s.dose, s.sides, s.reason) for s in best} == {(0.05, "both", "")}
        assert {s.evidence.score.metric for s in best} == {"log_odds_at_0.05"}
        assert {s.evidence.evaluation.behavior for s in best} == {s.vector.behavior for s in best} == {"behavior1"}
        for model in ("model-0", "model-1", "model-2"):
            of_model = registry.evaluations.leaderboard(behavior="behavior1", model=model)
            assert of_model == [s for s in best if s.vector.model.name == model]
            assert [s.rank for s in of_model] == list(range(1, len(of_model) + 1))
        # The alias best of every other name, which points at its first version, was set by a calibration.
        calibrated = {s.vector.reference for s in best if s.verdict == "passed"}
        assert calibrated == {s.vector.reference for s in best if s.vector.id % 2 == 0 and s.vector.number == 1}
        vectors = registry.vectors.ls(behavior="behavior1", all_versions=True)
        evidence = registry.evaluations.evidence(vectors)
        assert {d: (e.score.layer, e.score.value, e.evaluation.id) for d, e in evidence.items()} == {
            s.vector.digest: (2, s.evidence.score.value, s.evidence.evaluation.id) for s in best
        }
        # No other scores than those of the statistic are read.
        assert {s.metric for e in evidence.values() for s in e.evaluation.scores} == {"steerability"}
        assert registry.evaluations.leaderboard(behavior="nothing") == []


def test_all_passes_of_a_judge_are_read_at_once(sized: list[tuple[Registry, Filled]]) -> None:
    registry, _ = sized[0]
    counts, judge = [], {"kind": "human", "name": "ada"}
    for passes in (2, 9):
        with registry.database.write() as session:
            for _ in range(passes):
                given = t.Judgement(
                    evaluation_id=1,
                    judge=judge,
                    judge_digest="sha256:0",
                    ratings_digest=digest_of_rows("rating", [(0, 7.0, "7")]),
                    created_at=NOW,
                )
                session.add(given)
                session.flush()
                session.add(t.Rating(judgement_id=given.id, position=0, evaluation_id=1, value=7.0, reply="7"))
        with counted() as statements:
            judgements = registry.evaluations.judgements(1)
        assert [j.ratings for j in judgements] == [{0: 7.0} for _ in judgements]
        counts.append((len(judgements), len(statements)))
    assert [number for number, _ in counts] == [2, 11] and counts[0][1] == counts[1][1]


def test_a_name_is_found_on_every_model_that_it_was_computed_on(sized: list[tuple[Registry, Filled]]) -> None:
    for registry, filled in sized:
        for model, number in (("model-0", 4), ("model-1", 2), ("model-2", 3)):
            versions = registry.vectors.ls(model=model)
            assert (len(versions), {v.number for v in versions}) == (filled.names, {number})


def test_a_lineage_holds_every_node_once(sized: list[tuple[Registry, Filled]]) -> None:
    for registry, filled in sized:
        down = registry.lineage(f"dataset:{SHARED}")
        assert len(down.nodes) == filled.nodes and next(iter(down.nodes.values())) == down.root
        vectors = [node for node in down.outputs(down.root) if node.kind == "vector"]
        assert len(vectors) == filled.of_shared
        assert {tuple(node.kind for node in down.outputs(vector)) for vector in vectors} == {("evaluation",)}
        assert {node.run.kind for node in down.nodes.values() if node.run} == {"import", "compute", "evaluate"}
        up = registry.lineage(f"dataset:{TOP}")
        assert len(up.nodes) == 3 * DIAMONDS + 1
        assert [len(node.inputs) for node in up.nodes.values()] == [2, 1, 1] * DIAMONDS + [0]
        assert all(not node.outputs for node in up.nodes.values())


@pytest.mark.parametrize("filter", ["", "x\x00y", "\udcff", "BEHAVIOR1", "d5/behavior4", "%", "behavior_", "ehavior1"])
def test_a_filter_that_fits_nothing_lists_nothing(sized: list[tuple[Registry, Filled]], filter: str) -> None:
    registry, _ = sized[0]
    assert registry.vectors.ls(behavior=filter) == registry.vectors.ls(model=filter) == []
