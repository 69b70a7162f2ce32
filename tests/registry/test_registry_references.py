"""References: every form finds its version, and what fits two things or none is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from registry.registry_support import jsonl, letters

from caa_registry.errors import NotFoundError, UsageError
from caa_registry.models.model import Model
from caa_registry.registry.records import DatasetVersion, Recommendation
from caa_registry.registry.registry import Registry


@pytest.fixture
def both(registry: Registry, pairs: DatasetVersion, model: Model, tmp_path: Path) -> Registry:
    """A dataset and a vector of the name ``team/pairs``; the dataset has a second version."""
    registry.vectors.compute("team/pairs", dataset=pairs, model=model)
    registry.datasets.import_(jsonl(tmp_path / "more.jsonl", letters(5)), name="team/pairs")
    return registry


def test_every_form_of_a_reference(both: Registry) -> None:
    first, second = both.datasets.get("team/pairs:v1"), both.datasets.get("team/pairs:v2")
    both.aliases.set("dataset:team/pairs:v1", "stable")
    forms = {
        "team/pairs": 2,
        "team/pairs:latest": 2,
        "team/pairs:v1": 1,
        "team/pairs:stable": 1,
        "dataset:team/pairs": 2,
        "dataset:team/pairs:v1": 1,
        f"team/pairs@{first.digest}": 1,
        f"team/pairs@{first.digest[:15]}": 1,
        f"team/pairs:v2@{second.digest[:19]}": 2,
        f"team/pairs:stable@{first.digest[:19]}": 1,
    }
    assert {form: both.datasets.get(form).number for form in forms} == forms
    assert both.datasets.get(second) is second
    assert both.vectors.get("vector:team/pairs").reference == "team/pairs:v1"


def test_tag_and_digest_that_disagree_are_an_error(both: Registry) -> None:
    second = both.datasets.get("team/pairs:v2")
    with pytest.raises(UsageError, match="tag and digest disagree"):
        both.datasets.get(f"team/pairs:v1@{second.digest[:19]}")
    both.aliases.set("dataset:team/pairs:v1", "stable")
    with pytest.raises(UsageError, match="tag and digest disagree"):
        both.datasets.get(f"team/pairs:stable@{second.digest}")


def test_what_is_not_there_is_said_with_what_is(both: Registry) -> None:
    with pytest.raises(NotFoundError, match="dataset team/pairs has no version v3") as caught:
        both.datasets.get("team/pairs:v3")
    assert caught.value.hint == "It has v1 to v2."
    with pytest.raises(NotFoundError, match="dataset team/pairs has no alias 'best'") as caught:
        both.datasets.get("team/pairs:best")
    assert "It has none" in caught.value.hint and "caa alias set" in caught.value.hint
    both.aliases.set("dataset:team/pairs:v1", "stable")
    with pytest.raises(NotFoundError) as caught:
        both.datasets.get("team/pairs:best")
    assert caught.value.hint == "Its aliases: stable."
    with pytest.raises(NotFoundError, match="has no version sha256:00000000"):
        both.datasets.get("team/pairs@sha256:00000000")
    with pytest.raises(NotFoundError, match="there is no vector team/pear") as caught:
        both.vectors.get("team/pear")
    assert caught.value.hint == "Did you mean team/pairs?"


def test_the_other_kind_is_named(registry: Registry, pairs: DatasetVersion) -> None:
    with pytest.raises(NotFoundError, match="there is no vector team/pairs") as caught:
        registry.vectors.get("team/pairs")
    assert "team/pairs is a dataset" in caught.value.hint
    with pytest.raises(UsageError, match="names a dataset, and a vector is needed here"):
        registry.vectors.get("dataset:team/pairs")


def test_a_name_of_two_things_has_to_say_which(both: Registry) -> None:
    for reference in ("team/pairs", "team/pairs:v1", "team/pairs:v2"):
        with pytest.raises(UsageError, match="is a dataset and a vector") as caught:
            both.lineage(reference)
        assert caught.value.hint == f"Write dataset:{reference} or vector:{reference}."
    assert both.lineage("dataset:team/pairs").root.reference == "team/pairs:v2"
    assert both.lineage("vector:team/pairs").root.reference == "team/pairs:v1"


def test_an_alias_or_a_digest_of_one_thing_decides(both: Registry) -> None:
    both.aliases.set("vector:team/pairs", "best", Recommendation((1,)))
    assert both.lineage("team/pairs:best").root.kind == "vector"
    assert both.lineage(f"team/pairs@{both.vectors.get('team/pairs').digest[:19]}").root.kind == "vector"
    assert both.lineage(f"team/pairs@{both.datasets.get('team/pairs').digest[:19]}").root.kind == "dataset"
    with pytest.raises(NotFoundError, match="neither the dataset nor the vector team/pairs has an alias 'worst'"):
        both.aliases.remove("team/pairs:worst")
    both.aliases.set("dataset:team/pairs", "best")
    with pytest.raises(UsageError, match="is a dataset and a vector"):
        both.lineage("team/pairs:best")


def test_only_vectors_take_layers_so_a_layer_decides(both: Registry) -> None:
    assert both.aliases.set("team/pairs:v1", "best", Recommendation((1,))).kind == "vector"
    with pytest.raises(UsageError, match="is a dataset and a vector"):
        both.aliases.set("team/pairs:v1", "best")
    with pytest.raises(UsageError, match="is a dataset; layers and multipliers are recommended for vectors"):
        both.aliases.set("dataset:team/pairs:v1", "best", Recommendation((1,)))


@pytest.mark.parametrize(
    "reference", ["", ":v1", "a:", "a@", "a@sha256:12", "a@md5:00000000", "a:v1:v2", "A", "a b", "a:v0", "a//b", "ä"]
)
def test_what_is_no_reference_is_refused(registry: Registry, reference: str) -> None:
    with pytest.raises(UsageError):
        registry.datasets.get(reference)
    with pytest.raises(UsageError):
        registry.lineage(reference)
