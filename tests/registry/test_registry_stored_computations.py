"""What was computed and stored by earlier releases: the same numbers today, and records that still read."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from support.stored_computations import CASES, STORED, compute_all, evaluations, largest_difference, scores

from caa_registry.digests import digest_object
from caa_registry.models.model import Model
from caa_registry.registry.opening import open as open_registry
from caa_registry.registry.records import Recipe
from caa_registry.registry.registry import Registry


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return open_registry(str(tmp_path_factory.mktemp("stored") / "registry.db"), actor="ada")


@pytest.fixture(scope="module")
def computed(registry: Registry, demo: Model) -> list[dict[str, object]]:
    return compute_all(registry, demo)


@pytest.mark.parametrize("place", range(len(CASES)))
def test_vectors_are_those_of_before(computed: list[dict[str, object]], place: int) -> None:
    found, stored = computed[place], STORED["vectors"][place]
    for key in ("dataset_digest", "fingerprint", "recipe"):
        assert found[key] == stored[key]
    # Another BLAS adds up in another order; scripts/check_stored.py compares the bits under the same.
    norms = found["norms"]
    assert isinstance(norms, dict) and norms.keys() == stored["norms"].keys()
    assert all(math.isclose(norms[layer], norm, rel_tol=1e-4) for layer, norm in stored["norms"].items())


@pytest.mark.parametrize("name", STORED["scores"])
def test_scores_are_those_of_before(
    registry: Registry, demo: Model, computed: list[dict[str, object]], name: str
) -> None:
    evaluation = evaluations(registry, demo)[name]()
    assert largest_difference(scores(evaluation), STORED["scores"][name]) < 1e-4
    if name == "open-ended":
        assert [answer.text for answer in registry.evaluations.answers(evaluation)] == STORED["texts"]


@pytest.mark.parametrize("stored", STORED["vectors"], ids=lambda stored: str(stored["seed"]))
def test_a_stored_recipe_keeps_its_json_and_its_digest(stored: dict[str, object]) -> None:
    given = stored["recipe"]
    assert isinstance(given, dict)
    recipe = Recipe.from_json(given, "v:v1").to_json()
    assert recipe == given and list(recipe) != []
    identity = {
        "tensors": stored["tensor_digest"],
        "dataset": stored["dataset_digest"],
        "model": stored["fingerprint"],
        "recipe": recipe,
    }
    assert digest_object("vector", identity) == stored["digest"]


def test_a_changed_score_is_seen(tmp_path: Path) -> None:
    stored = STORED["scores"]["propensity"]
    changed = [[*row[:3], row[3] + 1e-3, *row[4:]] for row in stored]
    assert largest_difference(stored, stored) == 0
    assert largest_difference(changed, stored) == pytest.approx(1e-3, rel=1e-6)
    assert largest_difference(stored[1:], stored) == math.inf
