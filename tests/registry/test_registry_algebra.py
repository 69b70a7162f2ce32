"""Vectors made of vectors, and which are near each other."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from catalog.registry_fixtures import DIALECTS, new_postgres, new_sqlite
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from registry.registry_support import counts
from sqlalchemy import select

from caa_registry.catalog import models as t
from caa_registry.errors import ModelMismatchError, NotFoundError, UsageError
from caa_registry.formats.card import Card
from caa_registry.formats.writing import write_vectors
from caa_registry.registry.opening import open as open_registry
from caa_registry.registry.records import CombinedOrigin, PlanSettings
from caa_registry.registry.registry import Registry
from caa_registry.registry.vectors.algebra.operations import combined
from caa_registry.vectors import LayerVector, VectorSet

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))

from many_vectors import fill

if TYPE_CHECKING:
    from support.tiny_models import TinyModels

    from caa_registry.models.model import Model
    from caa_registry.registry.records import DatasetVersion, VectorVersion

ROWS = arrays.arrays(np.float64, st.tuples(st.integers(2, 4), st.just(5)), elements=st.floats(-1e3, 1e3, width=32))


@pytest.fixture
def two(registry: Registry, pairs: DatasetVersion, model: Model) -> tuple[VectorVersion, VectorVersion]:
    first = registry.vectors.compute("team/a", dataset=pairs, model=model)
    return first, registry.vectors.compute("team/b", dataset=pairs, model=model, method="pca")


def numbers(registry: Registry, version: VectorVersion, layer: int) -> Any:
    return registry.vectors.layer(version, layer).values.astype(np.float64)


@pytest.mark.parametrize(
    ("operation", "texts", "expected"),
    [
        ("sum", ["team/a", "team/b:v1:-0.5"], lambda a, b: a - 0.5 * b),
        ("sum", ["team/a:2"], lambda a, b: 2 * a),
        ("mean", ["team/a:3", "team/b:1"], lambda a, b: (3 * a + b) / 4),
        ("difference", ["team/a", "team/b:2"], lambda a, b: a - 2 * b),
        ("interpolate", ["team/a", "team/b:0.25"], lambda a, b: 0.75 * a + 0.25 * b),
        ("normalize", ["team/a:-3"], lambda a, b: -3 * a / np.linalg.norm(a)),
        ("orthogonalize", ["team/a", "team/b"], lambda a, b: a - b * (a @ b) / (b @ b)),
    ],
)
def test_what_is_made_layer_by_layer(
    registry: Registry, two: tuple[VectorVersion, VectorVersion], operation: Any, texts: list[str], expected: Any
) -> None:
    version = registry.vectors.combine("team/made", texts, operation=operation)
    assert version.layer_numbers == two[0].layer_numbers
    for layer in version.layer_numbers:
        a, b = (numbers(registry, each, layer) for each in two)
        made, wanted = registry.vectors.layer(version, layer).values, expected(a, b)
        np.testing.assert_allclose(made, wanted, rtol=1e-6, atol=1e-6 * np.linalg.norm(a))
    assert isinstance(version.origin, CombinedOrigin) and version.behavior == "pairs" and version.recipe is None
    again = registry.vectors.combine("team/made", texts, operation=operation)
    assert again.existing and again.reference == version.reference
    assert not registry.fsck().damage


@settings(max_examples=100, deadline=None)
@given(rows=ROWS)
def test_nothing_lies_along_what_it_was_orthogonalized_against(rows: Any) -> None:
    left = combined("orthogonalize", list(rows), [1.0] * len(rows))
    for other in rows[1:]:
        assert abs(left @ other) <= 1e-7 * max(1.0, np.linalg.norm(rows[0]) * np.linalg.norm(other))
    assert np.linalg.norm(left) <= np.linalg.norm(rows[0]) * (1 + 1e-9)


def test_its_lineage_names_its_parts_and_recalls_reach_it(
    registry: Registry, two: tuple[VectorVersion, VectorVersion]
) -> None:
    version = registry.vectors.combine("team/made", [(two[0], 1.0), (two[1], -1.0)])
    root = registry.lineage("vector:team/made").root
    assert root.run is not None and root.run.kind == "combine" and sum("vector" in key for key in root.inputs) == 2
    assert dict(root.run.parameters)["terms"] == ["team/a:v1", "team/b:v1:-1.0"]
    card = registry.reports.card(version)
    assert "caa vector combine team/made team/a:v1 team/b:v1:-1.0 --operation sum" in card
    with pytest.raises(UsageError, match="team/made"):
        registry.delete("vector:team/a:v1")
    registry.datasets.recall("team/pairs", why="wrong labels")
    assert "wrong labels" in registry.vectors.get("team/made").quarantined
    registry.delete("vector:team/made:v1")
    assert registry.vectors.combine("team/made", [(two[0], 1.0), (two[1], -1.0)]).number == 1


def test_leaks_are_told_of_what_its_parts_were_made_from(
    registry: Registry, two: tuple[VectorVersion, VectorVersion], pairs: DatasetVersion, model: Model
) -> None:
    version = registry.vectors.combine("team/made", ["team/a", "team/b"])
    new = registry.evaluations.propensity(version, dataset=pairs, model=model, layers=[1])
    old = registry.evaluations.propensity(version, dataset=pairs, split="generate", model=model, layers=[1])
    assert (new.leaked, new.leaks_unknown, new.null) == (0, False, "isotropic")
    assert (old.leaked, old.leaks_unknown) == (4, False)


@pytest.mark.parametrize(
    ("vectors", "operation", "said"),
    [
        (["team/a"], "mean", "at least two"),
        (["team/a"], "difference", "two vectors"),
        (["team/a", "team/b", "team/a"], "interpolate", "two vectors"),
        (["team/a:2", "team/b"], "interpolate", "only the second"),
        (["team/a", "team/b:2"], "orthogonalize", "no weight"),
        (["team/a:1", "team/b:-1"], "mean", "add up to 0"),
        (["team/a", "team/b"], "normalize", "one vector"),
        ([], "sum", "at least"),
        (["team/a"], "product", "no operation"),
        (["team/a:1e400"], "sum", "not a finite|multiplier"),
    ],
)
def test_what_cannot_be_combined_is_refused_and_leaves_nothing(
    registry: Registry, two: tuple[VectorVersion, VectorVersion], vectors: list[str], operation: Any, said: str
) -> None:
    before = counts(registry)
    with pytest.raises(UsageError, match=said):
        registry.vectors.combine("team/made", vectors, operation=operation)
    with pytest.raises((UsageError, NotFoundError)):
        registry.vectors.combine("Not a name", ["team/a"])
    assert counts(registry) == before


def test_other_layers_and_other_models_are_refused(
    registry: Registry, two: tuple[VectorVersion, VectorVersion], pairs: DatasetVersion, tiny: TinyModels
) -> None:
    some = registry.vectors.compute("team/some", dataset=pairs, model=tiny("llama"), layers=[1])
    other = registry.vectors.compute("team/other", dataset=pairs, model=tiny("llama", seed=1))
    with pytest.raises(UsageError, match="--layers"):
        registry.vectors.combine("team/made", ["team/a", "team/some"])
    assert registry.vectors.combine("team/made", ["team/a", "team/some"], layers=[1]).layer_numbers == [1]
    with pytest.raises(UsageError, match="has no layer 2"):
        registry.vectors.combine("team/made", ["team/a", "team/some"], layers=[1, 2])
    with pytest.raises(ModelMismatchError):
        registry.vectors.combine("team/made", ["team/a", "team/other"])
    with pytest.raises(ModelMismatchError, match="--transfer"):
        registry.vectors.compare("team/a", other)
    near = registry.vectors.compare("team/a", other, transfer=True)
    assert [each.layer for each in near] == other.layer_numbers
    assert [each.layer for each in registry.vectors.compare("team/a", some)] == [1]
    assert {each.version.reference for each in registry.vectors.similar("team/a", layer=1)} >= {"team/some:v1"}
    assert not any(each.version.name == "team/other" for each in registry.vectors.similar("team/a", layer=1))


def test_a_vector_is_carried_to_another_quantization(
    registry: Registry, pairs: DatasetVersion, tiny: TinyModels, tmp_path: Path
) -> None:
    from mlx_lm import convert

    folder = tiny.folder("llama")
    convert(str(folder), mlx_path=str(tmp_path / "q8"), quantize=True, q_bits=8, q_group_size=32)
    own = registry.vectors.compute("team/full", dataset=pairs, model=folder)
    there = registry.vectors.compute("team/q8", dataset=pairs, model=tmp_path / "q8")
    with pytest.raises(ModelMismatchError):
        registry.vectors.compare(own, there)
    with pytest.raises(UsageError, match="multiplier"):
        registry.evaluations.transfer(own, there, multipliers=[])
    found = registry.evaluations.transfer(own, there, layers=[1, 2])
    assert [each.layer for each in found.near] == [1, 2]
    assert all(each.cosine is not None and each.cosine > 0.9 for each in found.near)
    assert found.carried.model == found.there.model == there.model
    assert (found.carried.settings.verdict, found.there.settings.verdict) == ("same-architecture", "exact")
    assert {each.layer for each in found.compared} == {1, 2}
    for each in found.compared:
        assert each.difference.value == pytest.approx(each.one - each.other, abs=1e-9)
    with registry.database.read() as session:
        assert "apply-to-mismatched-model" in {event.action for event in session.scalars(select(t.Event))}


def test_nothing_left_is_said(
    registry: Registry, two: tuple[VectorVersion, VectorVersion], caplog: pytest.LogCaptureFixture
) -> None:
    version = registry.vectors.combine("team/zero", ["team/a", "team/a"], operation="difference")
    assert "nothing is left" in caplog.text
    with pytest.raises(UsageError, match="points nowhere"):
        registry.vectors.similar(version, layer=1)
    assert not any(each.version.name == "team/zero" for each in registry.vectors.similar("team/a", layer=1))
    assert registry.vectors.compare("team/zero", "team/a")[0].cosine is None


@pytest.fixture(params=DIALECTS)
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    url = new_sqlite(tmp_path) if request.param == "sqlite" else new_postgres()
    with open_registry(url, actor="ada", create=False) as opened:
        fill(opened, 30, layers=2)
        yield opened


def test_the_nearest_are_those_of_the_product_with_all(filled: Registry) -> None:
    registry = filled
    names = [f"bench/v{number}" for number in range(30)]

    def check(layer: int) -> None:
        there = [version.reference for version in registry.vectors.ls(all_versions=True) if version.name in names]
        rows = {name: numbers(registry, registry.vectors.get(name), layer) for name in there}
        asked = rows.pop("bench/v3:v1")
        expected = {
            name: float(asked @ row / np.linalg.norm(asked) / np.linalg.norm(row)) for name, row in rows.items()
        }
        best = sorted(expected, key=lambda name: -abs(expected[name]))[:7]
        found = registry.vectors.similar("bench/v3", layer=layer, limit=7)
        assert [each.version.reference for each in found] == best
        assert [each.cosine for each in found] == pytest.approx([expected[name] for name in best], abs=1e-12)
        assert all(each.noise == registry.vectors.get("bench/v0").layers[0].quality.split_half_cosine for each in found)

    check(0)
    check(1)
    check(1)
    best = registry.vectors.similar("bench/v3", layer=1, limit=1)[0].version
    registry.delete(f"vector:{best.reference}")
    check(1)
    registry.undelete(f"vector:{best.reference}")
    fill(registry, 5, first=30, layers=2)
    names += [f"bench/v{number}" for number in range(30, 35)]
    check(1)
    with pytest.raises(UsageError, match="--layer"):
        registry.vectors.similar("bench/v3")
    with pytest.raises(UsageError, match="no layer 9"):
        registry.vectors.similar("bench/v3", layer=9)


def given_vectors(registry: Registry, model: Model, folder: Path, rows: dict[str, Any]) -> None:
    """Imported vectors of one layer, by name."""
    for name, row in rows.items():
        path = folder / f"{name}.safetensors"
        vectors = VectorSet.of([LayerVector(1, np.asarray(row, np.float32))])
        write_vectors(vectors, path, Card(), format="safetensors")
        registry.vectors.import_(path, name=f"given/{name}", model=model)


def test_directions_that_differ_by_rounding_are_one(registry: Registry, model: Model, tmp_path: Path) -> None:
    a, b = np.random.default_rng(1).standard_normal((2, model.d_model)).astype(np.float32)
    given_vectors(registry, model, tmp_path, {"a": a, "b": b, "b3": b * np.float32(0.3)})
    one = registry.vectors.combine("t/one", ["given/a", "given/b"], operation="orthogonalize")
    two = registry.vectors.combine("t/two", ["given/a", "given/b", "given/b3"], operation="orthogonalize")
    np.testing.assert_allclose(numbers(registry, one, 1), numbers(registry, two, 1), atol=1e-5)


@pytest.mark.filterwarnings("error")
def test_vectors_of_any_length_are_found(registry: Registry, model: Model, tmp_path: Path) -> None:
    a, other = np.random.default_rng(2).standard_normal((2, model.d_model)).astype(np.float32)
    rows = {"a": a, "long": a * np.float32(1e25), "short": other * np.float32(1e-25), "other": other, "zero": a * 0}
    given_vectors(registry, model, tmp_path, rows)
    first, *rest = registry.vectors.similar("given/a")
    assert first.version.name == "given/long" and first.cosine == pytest.approx(1, abs=1e-6)
    cosines = {each.version.name: each.cosine for each in rest}
    assert cosines.keys() == {"given/short", "given/other"}
    assert cosines["given/short"] == pytest.approx(cosines["given/other"], abs=1e-6)


def test_a_number_that_is_an_alias_is_no_weight(registry: Registry, two: tuple[VectorVersion, VectorVersion]) -> None:
    registry.aliases.set("vector:team/a:v1", "2")
    before = counts(registry)
    with pytest.raises(UsageError, match="may be the alias '2', or a weight"):
        registry.vectors.combine("team/made", ["team/a:2"])
    with pytest.raises(UsageError, match="not a finite number"):
        registry.vectors.combine("team/made", [("team/a", "2")])  # type: ignore[list-item]
    for behavior in ("x\0y", "\udcff", "Not A Name"):
        with pytest.raises(UsageError):
            registry.vectors.combine("team/made", ["team/a"], behavior=behavior)
    with pytest.raises(UsageError, match="add up to 0"):
        registry.vectors.combine("team/made", [("team/a", 0.1), ("team/b", 0.2), ("team/a", -0.3)], operation="mean")
    with pytest.raises(UsageError, match="float32"):
        registry.vectors.combine("team/made", [("team/a", 3e38), ("team/b", 3e38)])
    assert counts(registry) == before
    digest = registry.vectors.get("team/a").digest
    assert registry.vectors.combine("team/made", [f"team/a@{digest}", "team/b:2"]).number == 1
    assert registry.vectors.combine("team/made", ["team/a:2:1"]).number == 2


def test_a_plan_of_a_combined_vector_can_be_met(
    registry: Registry, two: tuple[VectorVersion, VectorVersion], pairs: DatasetVersion, model: Model
) -> None:
    registry.vectors.combine("team/made", ["team/a", "team/b"])
    settings = PlanSettings(draws=19, conditions=("null",))
    plan = registry.plans.make(
        "team/p", "team/made", dataset=pairs, split="test", layers=[1], model=model, settings=settings
    )
    assert plan.terms.settings.controls == ("isotropic",)
    outcome = registry.plans.outcome(registry.plans.run("team/p", model=model))
    assert outcome.conditions[0].figure.startswith("p = ")


def test_what_ran_on_another_model_speaks_for_no_vector(
    registry: Registry, two: tuple[VectorVersion, VectorVersion], pairs: DatasetVersion, tiny: TinyModels
) -> None:
    there = registry.vectors.compute("team/there", dataset=pairs, model=tiny("llama", seed=1))
    with pytest.raises(UsageError, match="both vectors have layers"):
        registry.evaluations.transfer(two[0], there, layers=[9])
    with pytest.raises(UsageError, match="one multiplier"):
        registry.evaluations.transfer(two[0], there, multipliers=[1])
    assert not registry.evaluations.ls()
    registry.evaluations.transfer(two[0], there, layers=[1])
    assert registry.evaluations.evidence([two[0]]) == {}
    assert {ranked.evidence.vector.name for ranked in registry.evaluations.leaderboard()} == {"team/there"}


def test_a_card_makes_it_again(registry: Registry, two: tuple[VectorVersion, VectorVersion]) -> None:
    version = registry.vectors.combine("team/made", ["team/a", "team/b:-1"], layers=[1], behavior="mixed")
    assert "--operation sum --layers 1 --behavior mixed" in registry.reports.card(version)
